"""A family promises what each shape would come to alone, one stream of batches, one step to resume at, clear errors."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from weixing.errors import UserError
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.training.family import Family, FamilyUpdate
from weixing.training.family_start import pretrain_family
from weixing.training.pretraining import Run
from weixing.training.runlog import read_metrics
from weixing.training.start import pretrain
from weixing.training.update import Update
from weixing.zoo import Shape

OPTIONS = (
    *("--data", "--model", "--init", "--recipe", "--steps", "--batch-size", "--micro-batch-size", "--learning-rate"),
    *("--matrix-learning-rate", "--masking-rate", "--masking-unit", "--shuffle-window", "--seed", "--precision"),
    *("--no-compile", "--eval-data", "--report-every", "--eval-every", "--save-every", "--keep"),
    *("--teacher", "--teacher-share"),
)
EXPORT = partial(export_masked_lm, overwrite=True)
SHAPES = ["2/64", "1/128"]


def options(shards: Path | None, **given) -> dict:
    values = {"--data": shards, **{"--" + name.replace("_", "-"): value for name, value in given.items()}}
    return {option: values.get(option) for option in OPTIONS}


def family(shards: Path | None, output: Path, models=SHAPES, *, resume=False, **given):
    return pretrain_family(
        options(shards, **given), models, output, load=load_masked_lm, export=EXPORT, device_name="cpu", resume=resume
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, tiny_vocabulary) -> str:
    """A model with likes and dislikes, in a folder."""
    model = MaskedLanguageModel(Shape(1, 64, len(tiny_vocabulary), 32))
    initialise(model, "bert", 3)
    with torch.no_grad():
        model.encoder.embeddings.token.weight.mul_(8)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    export_masked_lm(model, tiny_vocabulary, folder)
    return str(folder)


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def untimed(run: Path) -> list[dict]:
    return [
        {key: value for key, value in report.items() if key not in ("seconds", "tokens_per_second")}
        for report in read_metrics(run)
    ]


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
def test_without_a_teacher_each_shape_becomes_what_it_becomes_alone_bit_for_bit(tiny_shards, tmp_path, recipe):
    given = {"steps": 5, "batch_size": 4, "recipe": recipe, "eval_data": tiny_shards, "eval_every": 2}
    done = family(tiny_shards, tmp_path / "family", **given)
    for shape, one in zip(SHAPES, done, strict=True):
        run, alone = Path(one.output), tmp_path / shape.replace("/", "-")
        assert run == tmp_path / "family" / shape.replace("/", "x")
        pretrain(
            options(tiny_shards, model=shape, **given), alone, load=load_masked_lm, export=EXPORT, device_name="cpu"
        )
        assert weights(run) == weights(alone)
        assert untimed(run) == untimed(alone)


def test_all_shapes_are_taught_the_same_targets_of_the_same_batch(tiny_shards, tmp_path, teacher, monkeypatch):
    batches, learn = [], Update.learn

    def note(self, batch, seed):
        batches.append(batch)
        return learn(self, batch, seed)

    monkeypatch.setattr(Update, "learn", note)
    family(tiny_shards, tmp_path / "family", teacher=teacher, teacher_share=0.25, steps=3, batch_size=4)
    assert len(batches) == 6
    for one, other in zip(batches[::2], batches[1::2], strict=True):
        assert one is other
        assert 0.05 < one.soft.shares.sum(2).mean() < 0.25
    settings = json.loads((tmp_path / "family" / "1x128" / "run.json").read_text())["settings"]
    assert (settings["teacher"], settings["teacher_share"], settings["family"]) == (teacher, 0.25, SHAPES)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the project may catch it."""


@pytest.mark.parametrize("kill_at", [0, 1, 5, 9])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_killed_family_resumes_at_one_step_as_if_never_stopped(
    tiny_shards, tmp_path, monkeypatch, teacher, kill_at, behind
):
    given = {"teacher": teacher, "steps": 12, "batch_size": 4, "save_every": 2, "report_every": 3, "eval_every": 4,
             "eval_data": tiny_shards}  # fmt: skip
    family(tiny_shards, tmp_path / "whole", **given)
    step = Family._step

    def step_until_killed(self):
        if self.first.done.step == kill_at:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Family, "_step", step_until_killed)
        with pytest.raises(Killed):
            family(tiny_shards, tmp_path / "killed", **given)
    if behind:  # the last checkpoint of one run was not written to its end
        saved = sorted((tmp_path / "killed" / "1x128" / "checkpoints").iterdir())
        shutil.rmtree(saved[-1])
    family(None, tmp_path / "killed", [], resume=True)
    for shape in ("2x64", "1x128"):
        assert weights(tmp_path / "whole" / shape) == weights(tmp_path / "killed" / shape)
        assert untimed(tmp_path / "whole" / shape) == untimed(tmp_path / "killed" / shape)


def test_a_damaged_checkpoint_of_one_run_sends_all_back_to_the_one_before(
    tiny_shards, tmp_path, monkeypatch, teacher, capsys
):
    given = {"teacher": teacher, "steps": 8, "batch_size": 4, "save_every": 2}
    family(tiny_shards, tmp_path / "whole", **given)
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    file = tmp_path / "damaged" / "2x64" / "checkpoints" / "step-0000008" / "state.pt"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    family(None, tmp_path / "damaged", [], resume=True)
    assert "resuming from" in (said := capsys.readouterr().err)
    assert said.count("step-0000006") == 2
    for shape in ("2x64", "1x128"):
        assert weights(tmp_path / "whole" / shape) == weights(tmp_path / "damaged" / shape)


def test_without_a_step_in_common_a_family_is_not_resumed(tiny_shards, tmp_path):
    family(tiny_shards, tmp_path / "family", steps=2, batch_size=4)
    shutil.rmtree(tmp_path / "family" / "2x64" / "checkpoints")
    with pytest.raises(UserError, match="no step of which every run"):
        family(None, tmp_path / "family", [], resume=True)


def test_a_stop_saves_every_run_at_the_same_step(tiny_shards, tmp_path, monkeypatch):
    after = Run.after_step
    monkeypatch.setattr(
        Run, "after_step", lambda self, signal, due: after(self, 15 if self.done.step == 3 else None, due)
    )
    done = family(tiny_shards, tmp_path / "family", steps=9, batch_size=4)
    assert [(one.steps, one.stopped_by) for one in done] == [(3, 15), (3, 15)]
    for shape in ("2x64", "1x128"):
        run = tmp_path / "family" / shape
        assert (run / "checkpoints" / "step-0000003").is_dir()
        assert json.loads((run / "run.json").read_text())["ended"]["why"] == "SIGTERM"


def test_a_run_of_a_family_is_not_resumed_alone(tiny_shards, tmp_path):
    family(tiny_shards, tmp_path / "family", steps=1, batch_size=4)
    given = options(None)
    with pytest.raises(UserError, match=f"pretrain-family --out {tmp_path / 'family'} --resume"):
        pretrain(given, tmp_path / "family" / "2x64", load=load_masked_lm, export=EXPORT, resume=True)


@pytest.mark.parametrize(
    ("models", "given", "message"),
    [
        (["2/64", "2/64"], {}, "none twice"),
        ([], {}, "--models"),
        (["2/64", "2/xl"], {}, "no shape is called '2/xl'"),
        (SHAPES, {"keep": 2}, "3 or more"),
        (SHAPES, {"teacher": "2/128"}, "--teacher 2/128 names a shape"),
        (SHAPES, {"teacher": "builtin"}, "is not the one that the shards"),
        (SHAPES, {"teacher": "builtin", "teacher_share": 1.5}, "--teacher-share 1.5"),
        (SHAPES, {"teacher_share": 0.5}, "without a teacher"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(tiny_shards, tmp_path, models, given, message):
    with pytest.raises(UserError, match=message):
        family(tiny_shards, tmp_path / "family", models, steps=1, batch_size=4, **given)
    assert not (tmp_path / "family").exists()


def test_on_resuming_other_shapes_another_teacher_and_other_settings_are_refused(tiny_shards, tmp_path, teacher):
    copy = tmp_path / "teacher"
    shutil.copytree(teacher, copy)
    family(tiny_shards, tmp_path / "family", teacher=str(copy), steps=2, batch_size=4)
    for models, given, message in (
        (["2/64"], {}, "other shapes"),
        ([], {"teacher": "builtin"}, "--teacher builtin"),
        ([], {"batch_size": 8}, "--batch-size 8"),
    ):
        with pytest.raises(UserError, match=message):
            family(None, tmp_path / "family", models, resume=True, **given)
    other, vocabulary = load_masked_lm(teacher)
    initialise(other, "bert", 4)
    export_masked_lm(other, vocabulary, copy, overwrite=True)
    with pytest.raises(UserError, match="no longer the teacher"):
        family(None, tmp_path / "family", [], resume=True)


def test_several_processes_are_refused(tiny_shards, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one process"):
        family(tiny_shards, tmp_path / "family", steps=1)


def test_an_update_of_a_family_has_the_optimizers_of_all():
    updates = [Update(None, None, optimizers, None) for optimizers in (["a", "b"], ["c"])]
    assert FamilyUpdate(updates, None).optimizers == ["a", "b", "c"]
