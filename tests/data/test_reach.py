"""Reach promises the ids that the rows hold, special tokens always among them, and which of them are rare."""

import numpy as np
import pytest
import torch

from weixing.data import reach
from weixing.data.masking import Masking
from weixing.data.reach import reach_of
from weixing.data.shards import ShardSet


@pytest.fixture(params=[1 << 16, 7], ids=["all rows at once", "seven rows at once"])
def shards(request, tiny_shards, monkeypatch) -> ShardSet:
    monkeypatch.setattr(reach, "ROWS_AT_ONCE", request.param)
    return ShardSet(tiny_shards)


def test_entries_are_the_ids_of_the_rows_and_the_special_ones(shards):
    ids = shards.rows(np.arange(len(shards)))
    assert reach_of(shards).entries.tolist() == sorted({*ids.ravel().tolist(), *shards.vocabulary.special_ids})
    assert shards.vocabulary.mask_id not in ids  # which makes the second half of it matter


def test_the_rarest_are_the_ordinary_entries_that_occur_least(shards, monkeypatch):
    monkeypatch.setattr(reach, "RAREST", 10)
    counts = np.bincount(shards.rows(np.arange(len(shards))).ravel(), minlength=len(shards.vocabulary))
    found = reach_of(shards)
    others = np.setdiff1d(found.entries, [*found.rarest, *shards.vocabulary.special_ids])
    assert len(found.rarest) == 10
    assert not set(found.rarest.tolist()) & set(shards.vocabulary.special_ids)
    assert counts[found.rarest].min() > 0
    assert counts[found.rarest].max() <= counts[others].min()


def test_random_replacements_are_drawn_from_the_reached_entries_alone_and_from_all_of_these(tiny_vocabulary):
    entries = np.array([*tiny_vocabulary.special_ids, 110, 150, 403])
    masking = Masking(tiny_vocabulary, rate=0.5, drawn_from=np.sort(entries))
    ids = torch.full((200, 32), 120)
    masked = masking(ids, torch.Generator().manual_seed(1)).ids
    # [UNK] is an ordinary token here; [PAD], [CLS] and [SEP] are never drawn.
    assert set(masked.unique().tolist()) == {120, tiny_vocabulary.mask_id, tiny_vocabulary.unk_id, 110, 150, 403}
