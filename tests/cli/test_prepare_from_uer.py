"""`weixing prepare --from-uer` promises: a dataset in UER-py's form can be trained on; options that it leaves no choice
in are refused."""

import json
import pickle
from pathlib import Path

import pytest

from weixing.cli.main import run

SEQUENCE_LENGTH = 64
COMMAND = ["prepare", "mlm.pt", "--from-uer"]
VOCABULARY = ["--vocab", "vocab.txt"]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A folder, the current one, where nothing is yet but the inputs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lines(tiny_corpus) -> list[str]:
    """Documents of Hanzi, each one token of the vocabulary."""
    return tiny_corpus.read_text(encoding="utf-8").splitlines()


@pytest.fixture(autouse=True)
def records(work, lines, tiny_vocabulary) -> list[bytes]:
    """What UER-py's preprocess.py --dynamic_masking --data_processor mlm makes of them; mlm.pt holds it."""
    records = []
    for line in lines:
        ids = [tiny_vocabulary.id_of(token) for token in ("[CLS]", *line, "[SEP]")]
        for begin in range(0, len(ids), SEQUENCE_LENGTH):
            src = ids[begin : begin + SEQUENCE_LENGTH]
            records.append(pickle.dumps(((src, SEQUENCE_LENGTH - len(src)), [len(src)]), protocol=4))
    (work / "mlm.pt").write_bytes(b"".join(records))
    tiny_vocabulary.write(work / "vocab.txt")
    return records


def test_a_dataset_of_uer_becomes_shards_that_a_model_is_trained_on(capsys, work, records, lines):
    assert run([*COMMAND, *VOCABULARY, "--out", "shards", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done.pop("seconds") > 0
    assert done == {
        "documents": 200, "tokens": sum(len(line) + 2 for line in lines), "rows": len(records),
        "bytes_in": (work / "mlm.pt").stat().st_size, "seconds_tokenizing": 0, "output": "shards",
    }  # fmt: skip
    assert run(["pretrain", "--data", "shards", "--model", "1/64", "--steps", "3", "--batch-size", "8", "--out", "run",
                "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["tokens"] == 3 * 8 * SEQUENCE_LENGTH


def test_the_shards_are_those_of_the_corpus_itself(work, tiny_corpus):
    assert run([*COMMAND, *VOCABULARY, "--out", "theirs"]) == 0
    assert (
        run(["prepare", str(tiny_corpus), *VOCABULARY, "--layout", "uer", "--seq-length", "64", "--out", "ours"]) == 0
    )
    rows = [(work / name / "rows-00000.bin").read_bytes() for name in ("theirs", "ours")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "options", [["--layout", "uer"], ["--seq-length", "64"], ["--seq-length", "64", "--overwrite"]]
)
def test_options_that_say_what_the_dataset_is_are_accepted(options, records, capsys):
    assert run([*COMMAND, *VOCABULARY, "--out", "shards", *options]) == 0
    assert f"{len(records)} rows" in capsys.readouterr().out


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
    (work / "small.txt").write_text("".join(f"{token}\n" for token in tiny_vocabulary.tokens[:104]), encoding="utf-8")
    assert run([*COMMAND, "--out", "shards", *options]) == 2
    assert named in capsys.readouterr().err
    assert {path.name for path in work.iterdir()} == {"mlm.pt", "vocab.txt", "small.txt"}


def test_a_text_is_no_dataset(capsys):
    Path("corpus.txt").write_text("微型\n", encoding="utf-8")
    assert run(["prepare", "corpus.txt", "--from-uer", *VOCABULARY, "--out", "shards"]) == 2
    assert (
        "corpus.txt: record 1, which begins at byte 0: it begins with 0xe5, not with PROTO" in capsys.readouterr().err
    )
