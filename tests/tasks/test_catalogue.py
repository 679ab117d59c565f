"""The catalogue of the six: what is in it agrees with itself and with the published table."""

import re
from importlib import resources

import pytest

from weixing.tasks.catalogue import CATALOGUE, NAMED, NamedTask
from weixing.tasks.labels import label_order

EACH = pytest.mark.parametrize("task", NAMED.values(), ids=NAMED)


def test_they_are_those_of_the_published_table_in_its_order() -> None:
    text = resources.files("weixing.reporting").joinpath("published_scores.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0].split(",") == ["model", "layers", "hidden", "score", *CATALOGUE]


def test_the_variant_of_tnews_has_its_data_and_other_rows() -> None:
    tnews, variant = NAMED["tnews"], NAMED["tnews_keywords"]
    assert (variant.folder, variant.text, variant.labels) == ("tnews", "sentence,keywords", tnews.labels)
    for part, other in ((tnews.train, variant.train), (tnews.dev, variant.dev)):
        assert (part.rows, part.sha256) == (other.rows, other.sha256)
        assert part.rows_sha256 != other.rows_sha256


@EACH
def test_labels_are_in_the_order_of_ids_that_custom_files_get(task: NamedTask) -> None:
    assert tuple(task.labels) == label_order(task.labels)


@EACH
def test_sums_are_sha256_and_every_part_has_rows(task: NamedTask) -> None:
    for part in (task.train, task.dev, task.test):
        assert part.rows > 0
        for total in (part.sha256, part.rows_sha256):
            assert total is None or re.fullmatch("[0-9a-f]{64}", total)


def test_label_counts_and_pairs_are_those_of_the_papers() -> None:
    counts = {name: (len(task.labels), task.pairs) for name, task in CATALOGUE.items()}
    assert counts == {
        "book_review": (2, False),
        "chnsenticorp": (2, False),
        "lcqmc": (2, True),
        "tnews": (15, False),
        "iflytek": (119, False),
        "ocnli": (3, True),
    }


@EACH
def test_quirks_are_one_line_each(task: NamedTask) -> None:
    assert all("\n" not in quirk and quirk.endswith(".") for quirk in task.quirks)
