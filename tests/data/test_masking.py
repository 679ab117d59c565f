"""Masking promises: the exact count, the 80/10/10 shares, units drawn whole, nothing special ever touched."""

import itertools

import numpy as np
import pytest
import torch

from weixing.data.masking import LONGEST_SPAN, SPAN_SUCCESS, MaskedRows, Masking


def rows_of(vocabulary, lengths, T=128, seed=0) -> torch.Tensor:
    """[rows, T]: [CLS], ordinary tokens, [SEP], padding; `lengths` count both specials."""
    random = np.random.default_rng(seed)
    ids = np.full((len(lengths), T), vocabulary.pad_id)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = random.integers(104, len(vocabulary), length)
        row[0], row[length - 1] = vocabulary.cls_id, vocabulary.sep_id
    return torch.from_numpy(ids)


def mask(vocabulary, ids, rate=0.15, unit="token", seed=0, words=None) -> MaskedRows:
    return Masking(vocabulary, rate=rate, unit=unit)(ids, torch.Generator().manual_seed(seed), words)


@pytest.mark.parametrize("unit", ["token", "span", "word"])
def test_every_row_masks_exactly_the_rounded_share_of_its_tokens(tiny_vocabulary, unit):
    lengths = [*range(3, 129), 128, 128]
    ids = rows_of(tiny_vocabulary, lengths)
    words = torch.rand(ids.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    masked = mask(tiny_vocabulary, ids, unit=unit, words=words)
    expected = [max(1, round(0.15 * length)) for length in lengths]
    assert masked.weights.sum(1).tolist() == expected
    assert masked.positions.shape[1] == 19


def test_labels_are_the_original_tokens_and_nothing_else_changes(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128, 40, 3])
    masked = mask(tiny_vocabulary, ids)
    used = masked.weights.bool()
    assert torch.equal(ids.gather(1, masked.positions)[used], masked.labels[used])
    untouched = torch.ones_like(ids, dtype=torch.bool)
    for row in range(3):
        chosen = masked.positions[row][used[row]]
        assert len(chosen.unique()) == len(chosen)
        untouched[row, chosen] = False
    assert torch.equal(masked.ids[untouched], ids[untouched])


def test_special_tokens_are_never_predicted(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128] * 50)
    ids[:, 30], ids[:, 31] = tiny_vocabulary.sep_id, tiny_vocabulary.cls_id
    for unit in ("token", "span"):
        masked = mask(tiny_vocabulary, ids, rate=0.9, unit=unit)
        never = {tiny_vocabulary.cls_id, tiny_vocabulary.sep_id, tiny_vocabulary.pad_id}
        assert never.isdisjoint(masked.labels[masked.weights.bool()].tolist())


def test_at_rate_one_every_ordinary_position_is_predicted(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128, 17, 3])
    masked = mask(tiny_vocabulary, ids, rate=1.0)
    assert masked.weights.sum(1).tolist() == [126, 15, 1]
    for row, length in enumerate([128, 17, 3]):
        used = masked.weights[row].bool()
        assert masked.positions[row][used].tolist() == list(range(1, length - 1))


def test_a_row_with_nothing_to_predict_has_no_weight(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [2])
    masked = mask(tiny_vocabulary, ids)
    assert masked.weights.sum() == 0
    assert torch.equal(masked.ids, ids)


def test_replacements_are_eighty_ten_ten_and_positions_uniform(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128] * 8_000)
    masked = mask(tiny_vocabulary, ids)
    now = masked.ids.gather(1, masked.positions)
    drawn = now.numel()  # 152,000
    is_mask = (now == tiny_vocabulary.mask_id).sum().item() / drawn
    kept = (now == masked.labels).sum().item() / drawn
    ordinary = len(tiny_vocabulary) - 4
    assert is_mask == pytest.approx(0.8, abs=0.005)
    assert kept == pytest.approx(0.1 + 0.1 / ordinary, abs=0.004)
    counts = torch.bincount(masked.positions.flatten(), minlength=128)[1:127].double()
    expected = drawn / 126
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 190  # 125 degrees of freedom: above this with probability 2e-4
    random_ids = now[(now != tiny_vocabulary.mask_id) & (now != masked.labels)]
    assert {tiny_vocabulary.pad_id, tiny_vocabulary.cls_id, tiny_vocabulary.sep_id}.isdisjoint(random_ids.tolist())
    assert len(random_ids.unique()) > 0.99 * ordinary


def test_whole_words_are_masked_whole_but_for_the_last_one_drawn(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128] * 200)
    words = torch.zeros(ids.shape, dtype=torch.bool)
    words[:, 2:127:2] = True  # words of two tokens from position 1 on
    masked = mask(tiny_vocabulary, ids, unit="word", words=words)
    for positions in masked.positions.tolist():
        halves = [position for position in positions if (position - 1 ^ 1) + 1 not in positions]
        assert len(halves) == 1  # 19 positions of two-token words: one word is cut


def test_spans_have_the_stated_mean_length_and_one_draw_each(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [512] * 400, T=512)
    masked = mask(tiny_vocabulary, ids, unit="span")
    runs, mixed = [], 0
    for row, positions in enumerate(masked.positions.tolist()):
        now = (masked.ids[row, positions] == tiny_vocabulary.mask_id).tolist()
        run = 1
        for before, after, same in zip(positions, positions[1:], itertools.pairwise(now), strict=False):
            if after == before + 1:
                run += 1
                mixed += same[0] != same[1]
            else:
                runs.append(run)
                run = 1
        runs.append(run)
    weights = [SPAN_SUCCESS * (1 - SPAN_SUCCESS) ** length for length in range(LONGEST_SPAN)]
    mean = sum(weight * (length + 1) for length, weight in enumerate(weights)) / sum(weights)
    # Neighbouring spans drawn both make longer runs, and with them some runs of mixed draws.
    assert mean < np.mean(runs) < 1.35 * mean
    assert mixed < 0.08 * sum(runs)


def test_the_seed_decides_everything(tiny_vocabulary):
    ids = rows_of(tiny_vocabulary, [128] * 4)
    one, same, other = (mask(tiny_vocabulary, ids, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.ids, same.ids)
    assert not torch.equal(one.ids, other.ids)
