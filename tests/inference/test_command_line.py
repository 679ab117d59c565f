"""`weixing fill-mask`, `features`, `classify` and `bench-inference`."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import weixing
from weixing.cli.main import run
from weixing.inference.choosing import Way, choose
from weixing.inference.measuring import Measured

LINES = ["中国", "", "你好世界", "北京" * 20]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_fill_mask_prints_the_candidates_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fill-mask", "首都是[MASK]京。", "--model", str(folder), "--top-k", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == weixing.load(str(folder)).fill_mask("首都是[MASK]京。", 3)


def test_fill_mask_prints_a_line_for_each_candidate_and_a_heading_for_each_of_several_masks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fill-mask", "首都是[MASK]京。", "--model", str(folder), "--top-k", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.endswith("京 。") for line in lines)
    assert run(["fill-mask", "[MASK][MASK]", "--model", str(folder), "--top-k", "1"]) == 0
    assert [line[:8] for line in capsys.readouterr().out.splitlines()][::2] == ["[MASK] 1", "[MASK] 2"]


def test_features_writes_a_row_for_each_line_and_reports_what_it_did(
    folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    arguments = ["features", "--input", str(texts), "--model", str(folder), "--out", str(out)]
    assert run([*arguments, "--pooling", "cls", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    keys = ["texts", "tokens", "seconds", "texts_per_second", "backend", "precision", "bad_lines", "shape", "output"]
    assert list(report) == keys
    assert (report["backend"], report["precision"]) == choose("auto", "auto", torch.device("cpu"))
    assert (report["texts"], report["tokens"], report["shape"]) == (4, 4 + 2 + 6 + 24, [4, 128])
    assert report["texts_per_second"] == pytest.approx(4 / report["seconds"], rel=0.05)
    assert report["output"] == str(out)
    np.testing.assert_array_equal(np.load(out), weixing.load(str(folder)).features(LINES, "cls"))


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("torch", "float32"), ("compiled", "float32"), ("compiled", "int16"), ("onnx-int8", "auto"), ("auto", "auto")],
)
def test_backend_and_precision_are_those_that_were_asked_for_and_are_told(
    backend: str, precision: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    arguments = ["features", "你好世界", "--model", str(folder), "--out", str(out), "--backend", backend]
    assert run([*arguments, "--precision", precision, "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    model = weixing.load(str(folder), backend, precision)
    assert (report["backend"], report["precision"]) == (model.backend.name, model.precision)
    said = f"backend compiled, {model.precision} (chosen by auto; see: weixing bench-inference)\n"
    assert (said in output.err) == (backend == "auto")
    np.testing.assert_array_equal(np.load(out), model.features(["你好世界"]))
    assert run([*arguments, "--precision", precision, "--overwrite"]) == 0
    assert f", mean, {model.precision} → " in capsys.readouterr().out


def test_fill_mask_takes_a_backend_and_a_precision(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fill-mask", "首都是[MASK]京。", "--model", str(folder), "--json"]
    for backend, precision in (("compiled", "float32"), ("torch", "float32"), ("onnx-int8", "int8")):
        assert run([*arguments, "--backend", backend, "--precision", precision]) == 0
        expected = weixing.load(str(folder), backend, precision).fill_mask("首都是[MASK]京。")
        assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
def test_features_goes_on_and_skips_bad_lines_when_asked_to(
    pooling: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"q": "你好"}\n{"q": 3}\n', encoding="utf-8")
    out = tmp_path / ("out.npz" if pooling == "tokens" else "out.parquet")
    arguments = ["features", "--input", str(tmp_path / "bad.jsonl"), "--text", "q", "--model", str(folder)]
    arguments += ["--out", str(out), "--pooling", pooling, "--json"]
    assert run(arguments) == 2
    assert 'bad.jsonl:2: no text "q"' in capsys.readouterr().err
    assert run([*arguments, "--skip-bad"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["texts"], report["bad_lines"]) == (2, 1)
    assert out.exists()
    if pooling == "tokens":
        assert run([*arguments, "--resume"]) == 2
        assert "an .npz cannot be gone on with" in capsys.readouterr().err


def test_without_pyarrow_parquet_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run(["features", "你好", "--model", str(folder), "--out", str(tmp_path / "a.parquet")]) == 2
    assert "pip install 'weixing[parquet]'" in capsys.readouterr().err


def test_classify_prints_the_labels_that_hold(classifiers: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(classifiers["single_label_classification"])
    expected = weixing.load(folder).classify(["你好"])[0]
    assert run(["classify", "你好", "--model", folder]) == 0
    assert capsys.readouterr().out == f"{expected[0]['score']:8.4f}  {expected[0]['label']}\n"
    assert run(["classify", "你好", "--model", folder, "--top-k", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert run(["classify", "你好", "世界", "--model", folder, "--top-k", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == weixing.load(folder).classify(["你好"], ["世界"])[0]


def test_classify_writes_a_line_for_each_text_and_reports(
    classifiers: dict[str, Path], texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(classifiers["multi_label_classification"]), tmp_path / "labels.jsonl"
    assert run(["classify", "--input", str(texts), "--model", folder, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == [
        "texts",
        "tokens",
        "seconds",
        "texts_per_second",
        "backend",
        "precision",
        "bad_lines",
        "output",
    ]
    assert (report["texts"], report["tokens"], report["output"]) == (4, 4 + 2 + 6 + 24, str(out))
    found = [json.loads(line)["labels"] for line in out.read_text(encoding="utf-8").splitlines()]
    for labels, every in zip(found, weixing.load(folder).classify(LINES), strict=True):
        assert [each["label"] for each in labels] == [each["label"] for each in every if each["score"] >= 0.5]
    assert run(["classify", "--input", str(texts), "--model", folder, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_bench_inference_measures_ways_in_processes_of_their_own_and_says_what_auto_takes(
    folder: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("weixing.inference.measuring.ways_here", lambda: [Way("torch", "float32")])
    monkeypatch.setattr("weixing.inference.measuring.TRANSFORMERS", "no_such_library")
    arguments = ["bench-inference", "--model", str(folder), "--input", str(texts), "--seconds", "0"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["texts"] == 4
    assert report["auto"] == choose("auto", "auto", torch.device("cpu"))._asdict()
    assert report["quickest"] == {"backend": "torch", "precision": "float32"}
    (only,) = report["results"]
    assert only["texts_per_second"] > 0
    assert only["latency_ms"] > 0
    assert only["memory_mb"] > 50
    assert only["cosine"] == pytest.approx(1)


def test_bench_inference_prints_a_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        Measured("compiled", "float32", 100.0, 2.0, 300.0, 1.0),
        Measured("onnx-int8", "int8", 250.0, 1.0, 310.0, 0.9995),
        Measured("torch", "bf16", 900.0, 9.0, None, 0.99),
        Measured("transformers", "float32", 999.0, 9.0, 400.0, 1.0),
    ]
    monkeypatch.setattr("weixing.inference.measuring.measure", lambda *given: rows)
    monkeypatch.setattr("weixing.inference.choosing.has_int16", lambda: False)
    monkeypatch.setattr("weixing.inference.choosing.has_bf16", lambda device: False)
    assert run(["bench-inference", "--model", str(folder)]) == 0
    output = capsys.readouterr()
    _, first, second, third, fourth = output.out.splitlines()
    assert first.endswith("1.0000000  auto")
    assert second.endswith("0.9995000  quickest")
    assert third.endswith("0.9900000  too far from float32 for auto")
    assert fourth.endswith("1.0000000")
    assert output.err == "quicker here than what auto takes: --backend onnx-int8 --precision int8\n"


def test_features_of_one_text_are_the_mean_over_its_tokens(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.npy"
    assert run(["features", "你好", "--model", str(folder), "--out", str(out)]) == 0
    np.testing.assert_array_equal(np.load(out), weixing.load(str(folder)).features(["你好"], "mean"))


def test_token_vectors_go_into_an_npz_with_an_array_for_each_text(
    folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tokens.npz"
    arguments = ["features", "--input", str(texts), "--model", str(folder), "--out", str(out), "--pooling", "tokens"]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [4, None, 128]
    with np.load(out) as arrays:
        assert [arrays[str(number)].shape for number in range(4)] == [(4, 128), (2, 128), (6, 128), (24, 128)]


def test_an_output_that_exists_is_kept_unless_it_may_be_overwritten(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    out.write_text("precious")
    arguments = ["features", "你好", "--model", str(folder), "--out", str(out)]
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert run([*arguments, "--overwrite"]) == 0
    assert np.load(out).shape == (1, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fill-mask", "你好"], "no [MASK]"),
        (["fill-mask", "[MASK]", "--top-k", "0"], "top_k 0"),
        (["features", "--out", "x.npy"], "either a text or --input"),
        (["features", "你好", "--input", "texts.txt", "--out", "x.npy"], "not both"),
        (["features", "你好", "--out", "x.npz"], ".npy"),
        (["features", "你好", "--out", "x.npy", "--pooling", "tokens"], ".npz"),
        (["features", "你好", "--out", "x.npy", "--pooling", "max"], "'max'"),
        (["features", "你好", "--out", "x.npy", "--backend", "abacus"], "auto or compiled or torch or onnx"),
        (["features", "你好", "--out", "x.npy", "--precision", "int4"], "'int4'"),
        (
            ["features", "你好", "--out", "x.npy", "--backend", "torch", "--precision", "int8"],
            "'int8' of backend 'torch'",
        ),
        (["fill-mask", "[MASK]", "--precision", "int4"], "'int4'"),
        (["classify", "你好"], "no classifier of texts"),
        (["classify"], "either a text or --input"),
        (["classify", "--input", "latin.txt"], "--input and --out are needed together"),
        (["classify", "你好", "--out", "x.jsonl"], "--input and --out are needed together"),
        (["classify", "--input", "latin.txt", "--out", "x.csv"], ".jsonl or .tsv"),
        (["bench-inference", "--input", "nowhere.txt"], "nowhere.txt"),
        (["features", "--input", "nowhere.txt", "--out", "x.npy"], "nowhere.txt"),
        (["features", "--input", "empty.txt", "--out", "x.npy"], "empty.txt"),
        (["features", "--input", "latin.txt", "--out", "x.npy"], "latin.txt:2"),
    ],
)
def test_wrong_options_and_input_exit_with_2_and_one_message_and_write_nothing(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_bytes(b"\n\n")
    Path("latin.txt").write_bytes("好\nca".encode() + b"f\xe9\n")
    before = sorted(tmp_path.iterdir())
    assert run([*arguments, "--model", str(folder)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "Traceback" not in output.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_failed_write_leaves_nothing_behind(
    folder: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for given in (["你好"], ["--input", str(texts)]):
        assert run(["features", *given, "--model", str(folder), "--out", str(tmp_path / "vectors.npy")]) == 2
        assert list(tmp_path.iterdir()) == [texts]
