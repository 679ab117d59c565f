"""The compiled softmax of the attention against torch: what a query sees, dropout, gradients."""

import numpy as np
import pytest
import torch

from weixing.model.compiled.attention import softmax_backward, softmax_forward

R, QUERIES, KEYS = 3, 7, 41
SCALE, KEY = np.float32(0.125), np.uint32(99)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ranges() -> tuple[np.ndarray, np.ndarray]:
    """Of all lengths from 1 to all; some begin at 0, some end at the end."""
    generator = np.random.default_rng(2)
    first = generator.integers(0, KEYS, (R, QUERIES))
    last = generator.integers(first + 1, KEYS + 1)
    first[0], last[1] = 0, KEYS
    last[0, 0], last[0, 1], first[1, 0] = 1, KEYS, KEYS - 1
    return first, last


def softmax(scores: torch.Tensor, first: np.ndarray, last: np.ndarray) -> torch.Tensor:
    place = torch.arange(KEYS)
    seen = (place >= torch.from_numpy(first)[..., None]) & (place < torch.from_numpy(last)[..., None])
    return (float(SCALE) * scores).masked_fill(~seen, float("-inf")).softmax(2)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("size", [1.0, 100.0, 3000.0])  # the last: sums of exponentials overflow and vanish
def test_probabilities_and_gradients_are_autograds(of, dtype, rounding, size, p):
    first, last = ranges()
    scores, dropped, outer = of(size * random(R, QUERIES, KEYS)), of(torch.full((R, QUERIES, KEYS), 7.0)), None
    exact = scores.tensor.float().requires_grad_()
    expected = softmax(exact, first, last)
    softmax_forward(scores.array, SCALE, first, last, dropped.array, np.float32(p), KEY)
    torch.testing.assert_close(scores.tensor.float().abs(), expected.detach(), **rounding)

    used = expected
    if p:
        kept = ~scores.tensor.signbit()
        used = expected * kept / (1 - p)
        torch.testing.assert_close(dropped.tensor.float(), used.detach(), rtol=2 * rounding["rtol"], atol=1e-6)
    else:
        assert (dropped.tensor == 7).all()  # not touched
    outer = of(random(R, QUERIES, KEYS, seed=3))
    used.backward(outer.tensor.float())
    dropped.tensor.fill_(7.0)
    softmax_backward(outer.array, scores.array, SCALE, first, last, dropped.array, np.float32(p))
    torch.testing.assert_close(
        outer.tensor.float(), exact.grad, rtol=4 * rounding["rtol"], atol=rounding["atol"] * float(SCALE) * 4
    )
    if p:  # written anew, for the values' gradient
        torch.testing.assert_close(dropped.tensor.float(), used.detach(), rtol=4 * rounding["rtol"], atol=1e-6)


def test_what_a_query_does_not_see_is_nothing_even_if_it_is_not_a_number(of):
    first, last = ranges()
    place = np.arange(KEYS)
    unseen = torch.from_numpy((place < first[..., None]) | (place >= last[..., None]))
    for p in (0.0, 0.3):
        scores = of(random(R, QUERIES, KEYS).masked_fill(unseen, float("nan")))
        dropped = of(torch.zeros(R, QUERIES, KEYS))
        softmax_forward(scores.array, SCALE, first, last, dropped.array, np.float32(p), KEY)
        gradient = of(random(R, QUERIES, KEYS, seed=3).masked_fill(unseen, float("nan")))
        softmax_backward(gradient.array, scores.array, SCALE, first, last, dropped.array, np.float32(p))
        for result in (scores, dropped, gradient):
            assert (result.tensor[unseen] == 0).all()
            assert result.tensor.isfinite().all()


def test_a_query_that_sees_nothing_gets_zeros(of):
    nothing = np.full((R, QUERIES), 5)
    scores, dropped = of(random(R, QUERIES, KEYS)), of(torch.ones(R, QUERIES, KEYS))
    softmax_forward(scores.array, SCALE, nothing, nothing, dropped.array, np.float32(0.1), KEY)
    assert (scores.tensor == 0).all()
    assert (dropped.tensor == 0).all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_not_hidden(of, wrong):
    scores = random(1, 1, KEYS)
    scores[..., 4] = wrong
    numbers = of(scores)
    all_keys = np.zeros((1, 1), np.int64), np.full((1, 1), KEYS)
    softmax_forward(numbers.array, SCALE, *all_keys, numbers.array, np.float32(0), KEY)
    assert not numbers.tensor.isfinite().all()


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_probabilities_are_dropped_at_the_stated_rate_another_set_for_another_key(of, p):
    shape = 20, 40, 128
    everything = np.zeros(shape[:2], np.int64), np.full(shape[:2], shape[2])
    masks = []
    for key in (1, 2, 1):
        scores, dropped = of(random(*shape)), of(torch.zeros(shape))
        softmax_forward(scores.array, SCALE, *everything, dropped.array, np.float32(p), np.uint32(key))
        masks.append(scores.tensor.signbit())
        assert torch.equal(dropped.tensor == 0, masks[-1])
    assert torch.equal(masks[0], masks[2])
    limit = 5 / masks[0].numel() ** 0.5
    assert masks[0].float().mean() == pytest.approx(p, abs=limit)
    assert (masks[0] & masks[1]).float().mean() == pytest.approx(p * p, abs=limit)
