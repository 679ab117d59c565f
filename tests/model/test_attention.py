"""What positions see promises the same results in every form: masks, runs of keys, blocks for a GPU's kernel."""

import pytest
import torch
from torch import Tensor

from weixing.data.borders import attention_mask
from weixing.model import attention
from weixing.model.encoder import Encoder
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

B, T, V = 3, 256, 90
KEEP = torch.tensor([[0, 255, 130, 130], [5, 6, 127, 128], [1, 0, 0, 200]])
BORDERS = ([40, 41, 250], [], [128])  # where a row's documents begin, besides 0


@pytest.fixture
def encoder() -> Encoder:
    encoder = Encoder(Shape(3, 128, vocabulary_size=V, positions=T))
    initialise(encoder, "bert")
    return encoder


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def seen() -> tuple[Tensor, Tensor]:
    first, last = torch.zeros(B, T, dtype=torch.int64), torch.full((B, T), T)
    for row, borders in enumerate(BORDERS):
        for border in borders:
            first[row, border:], last[row, :border] = border, last[row, :border].clamp(max=border)
    return first, last


def results(encoder: Encoder, function, ids: Tensor, seen, keep: Tensor | None) -> list[Tensor]:
    hidden = function(ids, None, seen, None, keep)
    weight = torch.rand(hidden.shape, generator=torch.Generator().manual_seed(2))
    return [hidden.detach(), *torch.autograd.grad((hidden * weight).sum(), list(encoder.parameters()))]


def assert_near(own: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(own, expected, strict=True):
        assert (a - b).norm() <= 2e-6 * b.norm().clamp(min=1.0)


@pytest.mark.parametrize("keep", [None, KEEP], ids=["all", "some"])
def test_runs_of_keys_say_what_a_mask_says(encoder, ids, seen, keep):
    mask = attention_mask(*seen)
    assert not mask.all()
    assert_near(results(encoder, encoder, ids, seen, keep), results(encoder, encoder, ids, mask, keep))


# The kernels exist on a GPU alone; torch's own definition of flex_attention and of its gradient does not care where it
# runs, but for the check that is taken out.
@pytest.mark.parametrize("keep", [None, KEEP], ids=["all", "some"])
def test_blocks_say_it_too_with_every_gradient_compiled_in_one_piece(encoder, ids, seen, keep, monkeypatch):
    expected = results(encoder, encoder, ids, seen, keep)
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    monkeypatch.setattr(attention, "in_blocks", lambda first, dropout: True)
    compiled = torch.compile(encoder, backend="aot_eager", fullgraph=True, dynamic=False)
    assert_near(results(encoder, compiled, ids, seen, keep), expected)


def test_blocks_leave_out_what_no_query_of_theirs_sees(seen):
    blocks = attention.block_mask(*seen).to_dense()[:, 0]
    assert blocks.tolist() == [[[1, 1], [1, 1]], [[1, 1], [1, 1]], [[1, 0], [0, 1]]]


def test_on_a_cpu_and_uncompiled_there_are_no_blocks(seen):
    assert not attention.in_blocks(seen[0], 0.0)
    mask, last = attention.masks(seen, KEEP, 0.0)
    assert mask.shape == (B, 1, T, T)
    assert last.shape == (B, 1, KEEP.shape[1], T)
    on_gpu = type("OnGpu", (), {"is_cuda": True, "shape": (B, T)})
    assert not attention.in_blocks(on_gpu, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.compiler.is_compiling", lambda: True)
        assert attention.in_blocks(on_gpu, 0.0)
        assert not attention.in_blocks(on_gpu, 0.1)
        assert not attention.in_blocks(seen[0], 0.0)
        assert not attention.in_blocks(type("Short", (), {"is_cuda": True, "shape": (B, 128)}), 0.0)
