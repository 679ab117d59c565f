"""The compiled encoder's forward pass gives the hidden states of the plain encoder."""

import pytest
import torch

from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.encoder import CompiledEncoder
from weixing.model.compiled.parameters import Weights

TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 0.08}  # of numbers of size 1; bf16 rounds at every step


@pytest.mark.parametrize("form", ["whole", "both", "empty"])
@pytest.mark.parametrize("shape", ["1/64", "3/192", "2/64/32/96", "2/64/16/400"])
@pytest.mark.parametrize("everywhere", [True, False])
def test_hidden_states_are_those_of_the_plain_encoder_at_all_positions_or_at_those_asked(
    model_of, ask, dtype, shape, form, everywhere
):
    encoder, questions = model_of(shape).encoder, ask(form)
    rows = questions.rows._replace(asked=None) if everywhere else questions.rows
    passes = CompiledEncoder(encoder, Weights(encoder, dtype), None, Buffers(dtype))
    own = passes.forward(rows)
    ids, positions, kinds = map(torch.from_numpy, rows[:3])
    with torch.no_grad():
        expected = encoder(
            ids, kinds, questions.attention, positions, None if everywhere else torch.from_numpy(rows.asked)
        )
    assert own.tensor.dtype == dtype
    # A padded position that sees nothing of its own document holds no promise.
    seen = questions.attention.any(2)
    seen = seen if everywhere else seen.gather(1, torch.from_numpy(rows.asked))
    difference = (own.tensor.view(expected.shape).float() - expected)[seen]
    assert difference.abs().max() < TOLERANCE[dtype]
    assert own.tensor.isfinite().all()
    # Kept unrounded as well, of which the hidden states are the rounding.
    assert passes.exact.tensor.dtype == torch.float32
    assert torch.equal(passes.exact.tensor.to(dtype), own.tensor)


def test_a_forward_pass_needs_no_memory_for_gradients_and_can_be_asked_again(model_of, ask):
    encoder, rows = model_of("2/64").encoder, ask("padding").rows
    own = CompiledEncoder(encoder, Weights(encoder, torch.float32), None, Buffers(torch.float32))
    first = own.forward(rows).tensor.clone()
    own.forward(ask("documents", seed=2, rows=9).rows, dropout=0.5, key=3)
    assert torch.equal(own.forward(rows).tensor, first)
