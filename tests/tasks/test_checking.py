"""Complete, partial, altered, missing: small stand-ins of the six, whose sizes and sums are known; and the six."""

from dataclasses import replace
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.tasks.catalogue import CATALOGUE, NAMED, NamedTask, Part
from weixing.tasks.checking import check, digest, load_named
from weixing.tasks.files import read_examples

TRAIN = "label\ttext_a\n1\t好\n0\t坏\n1\t妙\n"
DEV = "label\ttext_a\n0\t差\n1\t棒\n"
JSON = '{"label": 1, "sentence": "好"}\n{"label": 0, "sentence": "坏"}\n{"label": "1", "sentence": "妙"}\n'


@pytest.fixture
def put(tmp_path: Path):
    """Writes a file of the task ``book_review`` and returns the folder of its folder."""

    def put(name: str, content: str, folder: str = "book_review") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(content, encoding="utf-8", newline="")
        return tmp_path

    return put


@pytest.fixture
def data(put) -> Path:
    put("train.tsv", TRAIN)
    return put("dev.tsv", DEV)


@pytest.fixture
def task(data: Path) -> NamedTask:
    """``book_review``, had it been published with three and two rows."""
    parts = [read_examples(data / "book_review" / f"{split}.tsv") for split in ("train", "dev")]
    train, dev = (Part(len(examples), None, digest(examples)) for examples in parts)
    return replace(CATALOGUE["book_review"], train=train, dev=dev)


def states(task: NamedTask, data: Path) -> tuple[str, str]:
    """The state by the check and by loading, which must agree, and the one finding."""
    found = check(task, data)
    loaded = load_named(task, data)
    assert (loaded.data, loaded.data_note) == (found.state, "; ".join(found.findings))
    return found.state, loaded.data_note


def test_the_rows_as_published_are_complete_in_any_form(task: NamedTask, data: Path, put) -> None:
    assert states(task, data) == ("complete", "")
    put("train.tsv", "\ufeff" + TRAIN.replace("\n", "\r\n"))
    assert states(task, data) == ("complete", "")
    (data / "book_review" / "train.tsv").unlink()
    put("train.json", JSON)
    assert states(task, data) == ("complete", "")


def test_fewer_rows_are_partial_and_counted(task: NamedTask, data: Path, put) -> None:
    put("train.tsv", "label\ttext_a\n1\t好\n0\t坏\n")
    assert states(task, data) == ("partial", "train has 2 of 3 rows (train.tsv)")
    put("dev.tsv", "label\ttext_a\n0\t差\n")
    assert states(task, data)[1] == "train has 2 of 3 rows (train.tsv); dev has 1 of 2 rows (dev.tsv)"


def test_another_name_will_do_if_it_is_the_only_one(task: NamedTask, data: Path, put) -> None:
    (data / "book_review" / "train.tsv").rename(data / "book_review" / "train_partial.tsv")
    assert states(task, data) == ("complete", "")
    put("train_more.tsv", TRAIN)
    with pytest.raises(UserError, match="several files may be train: train_more"):
        load_named(task, data)
    assert check(task, data).state == "altered"


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (TRAIN.replace("妙", "秒"), "train has 3 rows as published, but others (train.tsv)"),
        (TRAIN.replace("1\t妙", "0\t妙"), "train has 3 rows as published, but others (train.tsv)"),
        (TRAIN + "0\t糟\n", "train has 4 rows, more than 3 (train.tsv): another edition?"),
        (TRAIN.replace("1\t妙", "2\t妙"), "train.tsv:4 has the label '2', which book_review has not: another edition?"),
    ],
)
def test_other_rows_are_altered(task: NamedTask, data: Path, put, content: str, finding: str) -> None:
    put("train.tsv", content)
    assert states(task, data) == ("altered", finding)


def test_where_no_sum_is_known_as_many_rows_are_complete(task: NamedTask, data: Path, put) -> None:
    task = replace(task, train=Part(3))
    put("train.tsv", TRAIN.replace("妙", "秒"))
    assert states(task, data) == ("complete", "")


def test_a_stand_in_serves_only_where_there_is_no_training_file(task: NamedTask, data: Path, put) -> None:
    task = replace(task, stand_ins=("test.tsv",))
    put("test.tsv", TRAIN)
    assert states(task, data) == ("complete", "")
    (data / "book_review" / "train.tsv").unlink()
    assert states(task, data) == ("partial", "train is test.tsv, 3 rows, in place of 3")


def test_a_table_without_a_header_is_known_by_its_first_line(task: NamedTask, data: Path, put) -> None:
    dev = replace(task.dev, rows_sha256=None)
    train = replace(task.train, rows_sha256=None)
    pairs = replace(task, pairs=True, columns=("1", "2", "3"), train=train, dev=dev)
    put("train.tsv", "甲\t乙\t1\n丙\t丁\t0\n戊\t己\t0\n")
    put("dev.tsv", "label\ttext_a\ttext_b\n0\t差\t差\n1\t棒\t棒\n")
    loaded = load_named(pairs, data)
    assert (loaded.train.texts, loaded.train.second_texts) == (["甲", "丙", "戊"], ["乙", "丁", "己"])
    assert loaded.dev.second_texts == ["差", "棒"]
    assert loaded.data == "complete"


def test_a_task_of_pairs_is_refused_one_column(task: NamedTask, data: Path) -> None:
    pairs = replace(task, pairs=True)
    with pytest.raises(UserError, match=r"train.tsv: book_review has pairs of texts, this file has not. Accepted: "):
        load_named(pairs, data)
    assert check(pairs, data).state == "altered"


def test_labels_are_the_known_ones_though_training_lacks_some(task: NamedTask, data: Path, put) -> None:
    more = replace(task, labels={"0": None, "1": None, "2": None})
    put("dev.tsv", DEV.replace("1\t棒", "2\t棒"))
    loaded = load_named(more, data)
    assert loaded.labels == ("0", "1", "2")
    assert loaded.data == "altered"


def test_a_missing_folder_and_a_missing_file_are_named(task: NamedTask, data: Path) -> None:
    (data / "book_review" / "dev.tsv").unlink()
    found = check(task, data)
    assert (found.state, found.rows) == ("missing", {"train": 3})
    assert "there is no dev file of book_review. Accepted: dev.tsv" in found.findings[0]
    empty = data / "book_review"
    assert check(task, empty).findings == check(task, empty).findings[:1]
    with pytest.raises(UserError, match=r"there is no folder book_review. Accepted: .* https://github.com/dbiir"):
        load_named(task, empty)


def test_a_malformed_row_is_found_with_its_line(task: NamedTask, data: Path, put) -> None:
    put("dev.tsv", DEV + "1\t \n")
    found = check(task, data)
    assert found.state == "altered"
    assert f"{data / 'book_review' / 'dev.tsv'}:4: the text is empty (text_a)" in found.findings[0]


@pytest.mark.parametrize("folder", ["BOOK_REVIEW", "book_review_public"])
def test_folders_are_named_as_the_publishers_do(task: NamedTask, data: Path, folder: str) -> None:
    (data / "book_review").rename(data / folder)
    assert states(task, data) == ("complete", "")


def test_a_variant_reads_the_folder_of_the_other_and_joins_its_texts(put) -> None:
    row = '{"label": "%d", "sentence": "甲", "keywords": "乙,丙"}\n'
    put("train.json", row % 100 + row % 101, folder="tnews")
    data = put("dev.json", '{"label": "101", "sentence": "丁", "keywords": ""}\n', folder="tnews")
    task = load_named(NAMED["tnews_keywords"], data)
    assert (task.name, task.train.texts, task.dev.texts) == ("tnews_keywords", ["甲,乙,丙"] * 2, ["丁"])
    assert load_named(NAMED["tnews"], data).train.texts == ["甲"] * 2


COUNTS = {
    "book_review": (20_000, 8_000, "complete", ""),
    "chnsenticorp": (9_600, 1_200, "complete", ""),
    "lcqmc": (12_500, 8_802, "partial", "train is test.txt, 12,500 rows, in place of 238,766"),
    "tnews": (53_360, 10_000, "complete", ""),
    "iflytek": (5_753, 2_599, "partial", "train has 5,753 of 12,133 rows (train_partial.json)"),
    "ocnli": (50_437, 2_950, "complete", ""),
    "tnews_keywords": (53_360, 10_000, "complete", ""),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_six_load_as_they_lie_there(shared: Path, name: str) -> None:
    task = load_named(NAMED[name], shared / "data" / "tasks")
    assert (len(task.train), len(task.dev), task.data, task.data_note) == COUNTS[name]
    assert (task.train.second_texts is not None) == NAMED[name].pairs
    assert task.labels == tuple(NAMED[name].labels)


@pytest.mark.parametrize("name", COUNTS)
def test_the_sums_of_files_are_those_of_the_files(shared: Path, name: str) -> None:
    found = check(NAMED[name], shared / "data" / "tasks")
    for split, part in (("train", NAMED[name].train), ("dev", NAMED[name].dev)):
        if part.sha256 is not None:
            assert sha256_of(Path(found.files[split])) == part.sha256
