"""`weixing fill-mask` and `weixing features`."""

import json
from pathlib import Path

import numpy as np
import pytest

import weixing
from weixing.cli.main import run

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
    keys = ["texts", "tokens", "seconds", "texts_per_second", "backend", "precision", "shape", "output"]
    assert list(report) == keys
    assert (report["backend"], report["precision"]) == ("compiled", "float32")
    assert (report["texts"], report["tokens"], report["shape"]) == (4, 4 + 2 + 6 + 24, [4, 128])
    assert report["texts_per_second"] == pytest.approx(4 / report["seconds"], rel=0.05)
    assert report["output"] == str(out)
    np.testing.assert_array_equal(np.load(out), weixing.load(str(folder)).features(LINES, "cls"))


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_backend_and_precision_are_those_that_were_asked_for_and_are_told(
    backend: str, precision: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    arguments = ["features", "你好世界", "--model", str(folder), "--out", str(out), "--backend", backend]
    assert run([*arguments, "--precision", precision, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    model = weixing.load(str(folder), backend, precision)
    assert (report["backend"], report["precision"]) == (model.backend.name, model.precision)
    np.testing.assert_array_equal(np.load(out), model.features(["你好世界"]))
    assert run([*arguments, "--precision", precision, "--overwrite"]) == 0
    assert f", mean, {model.precision} → " in capsys.readouterr().out


def test_fill_mask_takes_a_precision(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fill-mask", "首都是[MASK]京。", "--model", str(folder), "--json"]
    for precision in ("float32", "bf16"):
        assert run([*arguments, "--precision", precision]) == 0
        expected = weixing.load(str(folder), precision=precision).fill_mask("首都是[MASK]京。")
        assert json.loads(capsys.readouterr().out) == expected


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
        (["features", "你好", "--out", "x.npy", "--backend", "abacus"], "auto or torch or compiled"),
        (["features", "你好", "--out", "x.npy", "--precision", "int8"], "'int8'"),
        (["fill-mask", "[MASK]", "--precision", "int8"], "'int8'"),
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


def test_a_failed_write_leaves_nothing_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert run(["features", "你好", "--model", str(folder), "--out", str(tmp_path / "vectors.npy")]) == 2
    assert list(tmp_path.iterdir()) == []
