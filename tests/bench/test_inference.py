"""The section `inference` measures what is there, holds it against the targets, and tells what is not there."""

from types import SimpleNamespace

import numpy as np

from bench import inference
from bench.inference import EXACT, THEIRS, cases
from bench.setting import Setting
from weixing.inference.choosing import WAYS


class MadeUp:
    """Inputs whose readings are made up."""

    def __init__(self, folder, rates, accuracies, vectors):
        self.folder, self.rates, self.accuracies, self.vectors, self.task = folder, rates, accuracies, vectors, "task"

    def first_texts(self, count):
        return f"texts-{count}.txt"

    def model(self, shape):
        return "model"

    def classifier(self, shape):
        return "classifier"

    def run(self, command):
        name = command[5]
        if command[3] == "features":
            np.save(self.folder / command[-1], self.vectors[name])

        result = {"texts_per_second": self.rates[name], "dev_accuracy": self.accuracies[name]}
        return SimpleNamespace(command=" ".join(command), result=result)


def measure(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "ways_here", lambda: [way for way in WAYS if " ".join(way) in names])
    monkeypatch.setattr(inference, "choose", lambda *_: ("compiled", "int16"))
    names = [EXACT, "compiled int16", "onnx-int8 int8"]
    rates = {EXACT: 3.0, "compiled int16": 7.0, "onnx-int8 int8": 5.0, THEIRS: 1.0}
    accuracies = {EXACT: 90.0, "compiled int16": 90.1, "onnx-int8 int8": 89.5, THEIRS: 90.0}
    exact = np.eye(4)
    vectors = {EXACT: exact, "compiled int16": exact, "onnx-int8 int8": exact + 0.1, THEIRS: exact}
    inputs = MadeUp(tmp_path, rates, accuracies, vectors)
    made = cases(Setting(inputs, "no UER-py", 2, False, True))
    return {name: run() for name, run in made.items()}


def test_the_targets_are_for_what_auto_takes_and_for_int8(tmp_path, monkeypatch):
    made = measure(tmp_path, monkeypatch)
    assert list(made) == ["vectors 4/256", "labels 4/256"]
    vectors = {check.name: check for check in made["vectors 4/256"].checks}
    assert vectors["vectors 4/256, compiled float32"].target is None
    assert vectors["vectors 4/256, compiled int16"].value == 7
    assert vectors["vectors 4/256, compiled int16"].met
    assert not vectors["vectors 4/256, onnx-int8 int8"].met
    assert vectors["vectors 4/256, compiled int16, least cosine to compiled float32"].met
    assert not vectors["vectors 4/256, onnx-int8 int8, least cosine to compiled float32"].met
    assert f"vectors 4/256, {EXACT}, least cosine to {EXACT}" not in vectors
    labels = {check.name: check for check in made["labels 4/256"].checks}
    assert labels["labels 4/256, compiled int16, dev accuracy - compiled float32's (size)"].met
    lost = labels["labels 4/256, onnx-int8 int8, dev accuracy - compiled float32's (size)"]
    assert (lost.value, lost.met) == (0.5, False)


def test_ways_that_are_not_here_are_named_with_the_reason(tmp_path, monkeypatch):
    skipped = measure(tmp_path, monkeypatch)["vectors 4/256"].skipped
    assert set(skipped) == {"compiled bf16", "torch float32", "torch bf16", "onnx float32"}
