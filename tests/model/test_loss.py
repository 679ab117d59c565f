"""The masked-LM loss: the fused form against the plain one, the plain one against torch."""

import pytest
import torch
import torch.nn.functional as F

from weixing.model.loss import tied_cross_entropy

N, H, V = 37, 64, 1_003


def example(scale: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(N, H, generator=generator)
    vectors = scale * torch.randn(V, H, generator=generator)
    bias = torch.randn(V, generator=generator)
    # Numbers that bf16 holds exactly, so that both forms multiply the same ones.
    return [t.bfloat16().float().requires_grad_() for t in (x, vectors, bias)]


LABELS = torch.arange(N) * 17 % V
WEIGHTS = (torch.arange(N) % 5 > 0).float()


# Even logits, usual ones, and some hundreds apart, which bf16 with its eight bits rounds by whole numbers.
@pytest.mark.parametrize(("scale", "tolerance"), [(0.0, 5e-3), (0.05, 5e-3), (3.0, 5e-2)])
def test_the_fused_form_has_the_loss_and_gradients_of_the_plain_one(scale, tolerance):
    torch.set_num_threads(2)
    results = []
    for fused in (False, True):
        tensors = example(scale)
        with torch.autocast("cpu", torch.bfloat16, enabled=fused):
            loss = tied_cross_entropy(*tensors, LABELS, WEIGHTS)
        (loss / 30).backward()
        results.append([loss.detach(), *(t.grad for t in tensors)])
    for plain, fast in zip(*results, strict=True):
        assert (fast - plain).norm() <= tolerance * plain.norm()


def test_the_plain_form_is_torchs_cross_entropy_of_the_weighted_positions():
    x, vectors, bias = example(0.05)
    loss = tied_cross_entropy(x, vectors, bias, LABELS, WEIGHTS)
    kept = WEIGHTS.bool()
    expected = F.cross_entropy((x @ vectors.t() + bias)[kept], LABELS[kept], reduction="sum")
    torch.testing.assert_close(loss, expected)


def test_positions_of_no_weight_have_no_gradient():
    x, vectors, bias = example(0.05)
    with torch.autocast("cpu", torch.bfloat16):
        tied_cross_entropy(x, vectors, bias, LABELS, WEIGHTS).backward()
    assert (x.grad[WEIGHTS == 0] == 0).all()
    assert (x.grad[WEIGHTS == 1].abs().sum(1) > 0).all()


def test_an_infinite_logit_gives_a_loss_that_is_not_finite():
    x, vectors, bias = example(0.05)
    with torch.no_grad():
        bias[5] = float("inf")
    with torch.autocast("cpu", torch.bfloat16):
        assert not tied_cross_entropy(x, vectors, bias, LABELS, WEIGHTS).isfinite()
