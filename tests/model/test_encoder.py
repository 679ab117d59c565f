"""The encoder and its heads against themselves: masks, positions, predicted positions, dropout."""

import pytest
import torch

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

SHAPE = Shape(2, 128, vocabulary_size=90, positions=40)


@pytest.fixture
def model() -> MaskedLanguageModel:
    model = MaskedLanguageModel(SHAPE)
    initialise(model, "uer")
    return model


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, SHAPE.vocabulary_size, shape, generator=torch.Generator().manual_seed(1))


def test_two_documents_packed_in_a_row_and_isolated_have_the_hidden_states_that_they_have_alone(
    model: MaskedLanguageModel,
) -> None:
    first, second = random_ids(1, 9), random_ids(1, 14)
    document = torch.tensor([[0] * 9 + [1] * 14])
    packed = model.encoder(
        torch.cat([first, second], 1),
        attention=document[:, :, None] == document[:, None, :],
        positions=torch.cat([torch.arange(9), torch.arange(14)])[None],
    )
    torch.testing.assert_close(packed[:, :9], model.encoder(first), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(packed[:, 9:], model.encoder(second), rtol=1e-5, atol=1e-6)


def test_padding_does_not_change_a_text(model: MaskedLanguageModel) -> None:
    ids = random_ids(2, 12)
    attention = torch.ones(2, 12, dtype=torch.bool)
    attention[1, 7:] = False
    torch.testing.assert_close(model(ids, attention=attention)[1, :7], model(ids[1:, :7])[0], rtol=1e-5, atol=1e-6)


def test_saying_nothing_means_the_first_token_type_all_tokens_real_and_positions_from_0(
    model: MaskedLanguageModel,
) -> None:
    ids = random_ids(3, 10)
    everything = torch.ones(3, 10, dtype=torch.bool)
    explicit = model(ids, torch.zeros_like(ids), everything, torch.arange(10).expand(3, 10))
    torch.testing.assert_close(model(ids), explicit, rtol=1e-5, atol=1e-6)
    with pytest.raises(AssertionError):  # the three inputs do matter
        torch.testing.assert_close(model(ids, torch.ones_like(ids)), explicit, rtol=1e-3, atol=1e-3)


def test_the_head_at_the_predicted_positions_alone_is_the_full_head_there(model: MaskedLanguageModel) -> None:
    ids, predict = random_ids(2, 11), torch.tensor([[0, 10, 3], [5, 5, 2]])
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(model(ids, predict=predict), model(ids)[rows, predict], rtol=1e-5, atol=1e-6)


def test_a_position_that_may_see_nothing_gives_numbers_and_finite_gradients(model: MaskedLanguageModel) -> None:
    ids = random_ids(1, 8)
    attention = torch.ones(1, 8, 8, dtype=torch.bool)
    attention[:, 6:] = attention[:, :, 6:] = False
    logits = model(ids, attention=attention)
    logits[:, :6].logsumexp(-1).sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_dropout_works_in_training_alone_and_can_be_changed_everywhere(model: MaskedLanguageModel) -> None:
    ids = random_ids(2, 10)
    assert torch.equal(model.train()(ids), model.eval()(ids))
    model.encoder.set_dropout(0.3)
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))
    model.encoder.set_dropout(0.0)
    assert torch.equal(model(ids), model(ids))


def test_bfloat16_autocast_runs_forward_and_backward_near_float32(model: MaskedLanguageModel) -> None:
    ids = random_ids(2, 16)
    attention = torch.ones(2, 16, dtype=torch.bool)
    attention[0, 9:] = False
    exact = model(ids, attention=attention)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(ids, attention=attention)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.02)
    rough.float().square().mean().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_the_decoder_is_the_token_embedding_stored_once(model: MaskedLanguageModel) -> None:
    ids = torch.tensor([[3, 4, 5]])
    before = model(ids)
    with torch.no_grad():
        model.encoder.embeddings.token.weight[7] += 1.0  # not in the text, so that no hidden state moves
    moved = (model(ids) != before).any(0).any(0)
    assert moved.nonzero().tolist() == [[7]]
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == SHAPE.parameters


def test_a_classifier_reads_the_first_token_and_gives_a_score_for_each_label() -> None:
    classifier = Classifier(Encoder(SHAPE), labels=3)
    initialise(classifier)
    ids = random_ids(4, 9)
    first = classifier.encoder(ids)[:, 0]
    expected = torch.tanh(first @ classifier.dense.weight.T) @ classifier.output.weight.T
    torch.testing.assert_close(classifier(ids), expected, rtol=1e-5, atol=1e-6)
    assert classifier(ids).shape == (4, 3)


@pytest.mark.parametrize("form", ["none", "padding", "documents"])
def test_keeping_some_positions_gives_their_hidden_states_and_every_gradient_of_the_whole(
    model: MaskedLanguageModel, form: str
) -> None:
    ids, keep = random_ids(3, 12), torch.tensor([[0, 11, 3, 3], [5, 6, 2, 0], [1, 0, 0, 0]])
    attention = None
    if form == "padding":
        attention = torch.arange(12).expand(3, 12) < torch.tensor([[12], [9], [4]])
    elif form == "documents":
        document = torch.tensor([[0] * 5 + [1] * 7, [0] * 12, [0] * 2 + [1] * 10])
        attention = document[:, :, None] == document[:, None, :]
    weight = torch.rand(3, 4, SHAPE.hidden, generator=torch.Generator().manual_seed(2))
    results = []
    for some in (False, True):
        model.zero_grad()
        if some:
            hidden = model.encoder(ids, attention=attention, keep=keep)
        else:
            hidden = model.encoder(ids, attention=attention)[torch.arange(3)[:, None], keep]
        (hidden * weight).sum().backward()
        results.append([hidden.detach(), *(p.grad.clone() for p in model.encoder.parameters())])
    for whole, kept in zip(*results, strict=True):
        torch.testing.assert_close(kept, whole, rtol=1e-5, atol=1e-5)
