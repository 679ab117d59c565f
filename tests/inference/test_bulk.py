"""Files of any size: the same bytes after a kill, memory that does not grow, every line its row."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import weixing
from weixing.cli import main
from weixing.errors import UserError
from weixing.inference import bulk, lines
from weixing.inference.bulk import Request, classify_file, features_of_file, tokens_of_file
from weixing.inference.model import Model

CLASSES = "single_label_classification"
CHARACTERS = "中国的首都是北南京上海你好世界一二三四五六七八九十"


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return weixing.load(str(folder), precision="float32")


@pytest.fixture(scope="module")
def classifier(classifiers: dict[str, Path]) -> Model:
    return weixing.load(str(classifiers[CLASSES]), precision="float32")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CHUNK_LINES", 10)


def random_texts(count: int) -> list[str]:
    random = np.random.default_rng(count)
    return ["".join(random.choice(list(CHARACTERS), random.integers(0, 9))) for _ in range(count - 1)] + ["你好"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(random_texts(47)) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_rows_are_in_the_order_of_the_lines_whatever_the_chunks(model, texts, tmp_path, pooling, small_chunks) -> None:
    done = features_of_file(model, Request(texts, tmp_path / "out.npy", batch_tokens=40), pooling)
    expected = model.features(random_texts(47), pooling)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
    assert (done.texts, done.bad, done.earlier) == (47, 0, 0)
    assert done.tokens == sum(len(text) + 2 for text in random_texts(47))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "texts.txt"]


def test_parquet_has_the_same_rows(model, texts, tmp_path, small_chunks) -> None:
    features_of_file(model, Request(texts, tmp_path / "out.npy"), "mean")
    features_of_file(model, Request(texts, tmp_path / "out.parquet"), "mean")
    column = parquet.read_table(tmp_path / "out.parquet")["vector"]
    np.testing.assert_array_equal(np.array(column.to_pylist(), np.float32), np.load(tmp_path / "out.npy"))


def test_every_token_has_its_vector_in_an_npz(model, texts, tmp_path, small_chunks) -> None:
    tokens_of_file(model, Request(texts, tmp_path / "out.npz"))
    expected = model.features(random_texts(47), "tokens")
    with np.load(tmp_path / "out.npz") as arrays:
        assert list(arrays) == [str(number) for number in range(47)]
        for number, matrix in enumerate(expected):
            np.testing.assert_allclose(arrays[str(number)], matrix, atol=1e-5)


def test_labels_are_those_of_classify_as_json_lines_and_as_tsv(classifier, texts, tmp_path, small_chunks) -> None:
    expected = classifier.classify(random_texts(47))
    classify_file(classifier, Request(texts, tmp_path / "out.jsonl"), None)
    classify_file(classifier, Request(texts, tmp_path / "all.jsonl"), 3)
    classify_file(classifier, Request(texts, tmp_path / "out.tsv"), None)
    best = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    every = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    header, *rows = (tmp_path / "out.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "label\tscore"
    for ranked, one, all_three, row in zip(expected, best, every, rows, strict=True):
        assert one["labels"] == [{"label": ranked[0]["label"], "score": pytest.approx(ranked[0]["score"], abs=1e-5)}]
        assert [each["label"] for each in all_three["labels"]] == [each["label"] for each in ranked]
        assert row.split("\t") == [ranked[0]["label"], f"{one['labels'][0]['score']:.6g}"]


def test_pairs_are_read_from_two_columns(classifier, tmp_path) -> None:
    (tmp_path / "pairs.tsv").write_text("text_b\tlabel\ttext_a\n北京\t1\t中国\n\t0\t你好\n", encoding="utf-8")
    classify_file(classifier, Request(tmp_path / "pairs.tsv", tmp_path / "out.jsonl"), 3)
    found = [json.loads(line)["labels"] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    for ours, expected in zip(found, classifier.classify(["中国", "你好"], ["北京", ""]), strict=True):
        assert ours == [each | {"score": pytest.approx(each["score"], abs=1e-5)} for each in expected]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.txt.gz"
    content = [text.encode() for text in random_texts(47)]
    content[13], content[30], content[31] = b"\xff\xfe", b"a\xe4", b"\xe4\xb8"
    path.write_bytes(gzip.compress(b"\n".join(content)))
    return path


def test_a_bad_line_stops_the_run_with_its_number_and_what_was_done_may_be_gone_on_with(
    model, damaged, tmp_path, small_chunks
) -> None:
    request = Request(damaged, tmp_path / "out.npy")
    with pytest.raises(UserError, match=r"damaged\.txt\.gz:14: byte 1 of this line is not UTF-8.*--skip-bad"):
        features_of_file(model, request, "mean")
    assert not (tmp_path / "out.npy").exists()
    done = features_of_file(model, request._replace(resume=True, skip_bad=True), "mean")
    assert done.earlier == 10
    assert np.load(tmp_path / "out.npy").shape == (47, 128)


def test_a_skipped_line_has_an_empty_row_and_is_told_by_number(
    model, classifier, damaged, tmp_path, small_chunks, capsys
) -> None:
    request = Request(damaged, tmp_path / "out.npy", skip_bad=True)
    done = features_of_file(model, request, "mean")
    assert (done.texts, done.bad, done.bad_lines) == (47, 3, [14, 31, 32])
    assert "3 lines could not be read and have empty rows: 14, 31, 32\n" in capsys.readouterr().err
    vectors = np.load(tmp_path / "out.npy")
    assert np.flatnonzero(np.isnan(vectors).any(1)).tolist() == [13, 30, 31]
    assert np.isnan(vectors[[13, 30, 31]]).all()
    features_of_file(model, request._replace(out=tmp_path / "out.parquet"), "mean")
    column = parquet.read_table(tmp_path / "out.parquet")["vector"]
    assert [number for number in range(47) if not column[number].is_valid] == [13, 30, 31]
    tokens_of_file(model, request._replace(out=tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as arrays:
        assert [number for number in range(47) if not len(arrays[str(number)])] == [13, 30, 31]
    classify_file(classifier, request._replace(out=tmp_path / "out.jsonl"), None)
    values = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [number for number, value in enumerate(values) if "error" in value] == [13, 30, 31]
    assert values[13] == {"error": "byte 1 of this line is not UTF-8"}
    classify_file(classifier, request._replace(out=tmp_path / "out.tsv"), None)
    rows = (tmp_path / "out.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    assert [number for number, row in enumerate(rows) if row == "\t"] == [13, 30, 31]


def test_of_many_bad_lines_the_first_are_told_by_number(model, tmp_path, small_chunks, capsys) -> None:
    (tmp_path / "bad.txt").write_bytes("你好\n".encode() + b"\xff\n" * 30)
    done = features_of_file(model, Request(tmp_path / "bad.txt", tmp_path / "out.npy", skip_bad=True), "mean")
    assert done.bad == 30
    assert done.bad_lines == list(range(2, 22))
    assert "30 lines could not be read and have empty rows: 2, 3, " in (said := capsys.readouterr().err)
    assert said.endswith("20, 21, …\n")


def test_texts_that_are_too_long_are_counted_and_said_once(model, tmp_path, small_chunks, capsys) -> None:
    (tmp_path / "long.txt").write_text(("北京" * 30 + "\n") * 25 + "你好\n", encoding="utf-8")
    features_of_file(model, Request(tmp_path / "long.txt", tmp_path / "out.npy"), "mean")
    said = [line for line in capsys.readouterr().err.splitlines() if "cut" in line]
    assert said == ["25 of 26 texts cut to the first 22 tokens, all that the model can read"]


def test_blank_lines_alone_are_no_texts_and_leave_nothing(model, tmp_path, small_chunks) -> None:
    (tmp_path / "blank.txt").write_text("\n \n" * 20, encoding="utf-8")
    for make, name in ((features_of_file, "out.npy"), (lambda *given: tokens_of_file(*given[:2]), "out.npz")):
        with pytest.raises(UserError, match="no text in this file"):
            make(model, Request(tmp_path / "blank.txt", tmp_path / name), "mean")
    assert [path.name for path in tmp_path.iterdir()] == ["blank.txt"]


def stopped_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> Callable[[], None]:
    """Lets the run stop in the midst of the chunk after so many."""
    pool, calls = Model.pool, []

    def stop(*given: object, **more: object) -> object:
        calls.append(1)
        if len(calls) > chunks:
            raise KeyboardInterrupt
        return pool(*given, **more)

    monkeypatch.setattr(Model, "pool", stop)
    return monkeypatch.undo


@pytest.mark.parametrize("stopped", [1, 3, 4])
@pytest.mark.parametrize("name", ["out.npy", "out.parquet", "out.jsonl", "out.tsv"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(classifier, tmp_path, monkeypatch, name, stopped) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(random_texts(47)), encoding="utf-8")

    def run(out: Path, resume: bool = False) -> bulk.Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "CHUNK_LINES", 10)
            request = Request(path, out, batch_tokens=40, resume=resume)
            if name.endswith((".npy", ".parquet")):
                return features_of_file(classifier, request, "cls")
            return classify_file(classifier, request, None)

    run(tmp_path / "whole" / name)
    undo = stopped_after(monkeypatch, stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / name)
    undo()
    assert not (tmp_path / name).exists()
    assert run(tmp_path / name, resume=True).earlier == 10 * stopped
    assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, "texts.txt", "whole"])


@pytest.mark.parametrize("change", ["texts", "pooling", "batch_tokens", "model"])
def test_a_part_of_other_texts_or_settings_is_not_gone_on_with(
    model, classifier, texts, tmp_path, monkeypatch, small_chunks, change
) -> None:
    request = Request(texts, tmp_path / "out.npy")
    undo = stopped_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        features_of_file(model, request, "mean")
    undo()
    monkeypatch.setattr(lines, "CHUNK_LINES", 10)
    if change == "texts":
        texts.write_text("\n".join(random_texts(47)[::-1]) + "\n", encoding="utf-8")
    request = request._replace(resume=True, batch_tokens=50 if change == "batch_tokens" else 4096)
    with pytest.raises(UserError, match="Resume with the same settings and files"):
        features_of_file(classifier if change == "model" else model, request, "cls" if change == "pooling" else "mean")


KILLED = """
import sys, time
from weixing.cli.main import main
from weixing.inference import lines, model
lines.CHUNK_LINES, pool = 100, model.Model.pool
def slow(*given, **more):
    time.sleep(0.3)
    return pool(*given, **more)
model.Model.pool = slow
main()
"""


def test_after_kill_9_the_program_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path, monkeypatch) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.npy"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in random_texts(1500)), encoding="utf-8")
    arguments = ["features", "--input", str(source), "--model", str(folder), "--json"]
    command = [sys.executable, "-c", KILLED, *arguments, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    state, end = tmp_path / ".out.npy.part.json", time.monotonic() + 120
    while not (state.exists() and json.loads(state.read_text())["done"]["texts"] >= 300):
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not out.exists()
    monkeypatch.setattr(lines, "CHUNK_LINES", 100)
    assert main.run([*arguments, "--out", str(out), "--resume"]) == 0
    assert main.run([*arguments, "--out", str(tmp_path / "whole.npy")]) == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert len(np.load(out)) == 1500


def test_memory_does_not_grow_with_the_file(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lines, "CHUNK_LINES", 500)
    peaks = []
    for count in (2_000, 20_000):
        path = tmp_path / f"{count}.txt"
        path.write_text("你\n" * count, encoding="utf-8")
        tracemalloc.start()
        try:
            features_of_file(model, Request(path, tmp_path / f"{count}.npy"), "mean")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert np.load(tmp_path / f"{count}.npy", mmap_mode="r").shape == (count, 128)
    assert peaks[1] < peaks[0] + 500_000  # the vectors of 18,000 more are 9.2 MB
