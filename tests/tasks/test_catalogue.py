"""The catalogue of the six: what is in it agrees with itself and with the published table."""

import re

import pytest

from weixing.reporting.table import SIX_TASKS
from weixing.tasks.catalogue import CATALOGUE, NamedTask
from weixing.tasks.labels import label_order

SIX = pytest.mark.parametrize("task", CATALOGUE.values(), ids=CATALOGUE)


def test_they_are_those_of_the_published_table_in_its_order() -> None:
    assert tuple(CATALOGUE) == SIX_TASKS


@SIX
def test_labels_are_in_the_order_of_ids_that_custom_files_get(task: NamedTask) -> None:
    assert tuple(task.labels) == label_order(task.labels)


@SIX
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


@SIX
def test_quirks_are_one_line_each(task: NamedTask) -> None:
    assert all("\n" not in quirk and quirk.endswith(".") for quirk in task.quirks)
