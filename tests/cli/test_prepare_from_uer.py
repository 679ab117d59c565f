"""`weixing prepare --from-uer` promises: a dataset that UER-py made can be trained on; options that it leaves no choice
in are refused."""

import json
from pathlib import Path

import pytest

from weixing.cli.main import run

GOLDEN = Path(__file__).parents[1] / "golden" / "uer"
COMMAND = ["prepare", str(GOLDEN / "mlm_dynamic_seq64.pt"), "--from-uer"]
VOCABULARY = ["--vocab", str(GOLDEN / "vocab.txt")]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dataset_of_uer_becomes_shards_that_a_model_is_trained_on(capsys):
    assert run([*COMMAND, *VOCABULARY, "--out", "shards", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done.pop("seconds") > 0
    assert done == {"documents": 400, "tokens": 44_821, "rows": 868, "bytes_in": 133_080, "seconds_tokenizing": 0,
                    "output": "shards"}  # fmt: skip
    assert run(["pretrain", "--data", "shards", "--model", "1/64", "--steps", "3", "--batch-size", "8", "--out", "run",
                "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["tokens"] == 3 * 8 * 64


@pytest.mark.parametrize(
    "options", [["--layout", "uer"], ["--seq-length", "64"], ["--seq-length", "64", "--overwrite"]]
)
def test_options_that_say_what_the_dataset_is_are_accepted(options, capsys):
    assert run([*COMMAND, *VOCABULARY, "--out", "shards", *options]) == 0
    assert "868 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([*VOCABULARY, "--layout", "packed"], "--layout packed with --from-uer"),
        ([*VOCABULARY, "--whole-words", "--workers", "1"], "--whole-words, --workers with --from-uer"),
        ([*VOCABULARY, "--documents", "line"], "--documents with --from-uer"),
        ([*VOCABULARY, "--seq-length", "128"], "sequence length is 64, not 128 as --seq-length says"),
        ([], "--from-uer without --vocab"),
        (["--vocab", "small.txt"], "beyond the vocabulary of 104 entries"),
    ],
)
def test_options_that_contradict_the_dataset_are_refused(work, tiny_vocabulary, options, named, capsys):
    small = Path("small.txt")
    small.write_text("".join(f"{token}\n" for token in tiny_vocabulary.tokens[:104]), encoding="utf-8")
    assert run([*COMMAND, "--out", "shards", *options]) == 2
    assert named in capsys.readouterr().err
    assert list(work.iterdir()) == [work / "small.txt"]


def test_a_text_is_no_dataset(capsys):
    Path("corpus.txt").write_text("微型\n", encoding="utf-8")
    assert run(["prepare", "corpus.txt", "--from-uer", *VOCABULARY, "--out", "shards"]) == 2
    assert (
        "corpus.txt: record 1, which begins at byte 0: it begins with 0xe5, not with PROTO" in capsys.readouterr().err
    )
