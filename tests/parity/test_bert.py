"""Hidden states, logits, loss, every gradient and every dropout against transformers' BertForMaskedLM."""

import pytest
import torch
import torch.nn.functional as F
import transformers

from weixing.formats.bert import AnyModel, bert_of
from weixing.formats.huggingface_keys import key_table_of, to_hugging_face
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

VOCABULARY_SIZE = 160
SHAPES = ["2/128", "4/256", "6/128", "8/512", "2/768", "12/768", "3/192"]


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def config_of(shape: Shape, dropout: float = 0.0) -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=shape.vocabulary_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation="eager",
    )


def their_weights(ours: AnyModel) -> dict[str, torch.Tensor]:
    bert = bert_of(ours)
    return to_hugging_face(key_table_of(bert), bert.state_dict())


def both(name: str, dropout: float = 0.0) -> tuple[MaskedLanguageModel, transformers.BertForMaskedLM]:
    """Our model with weights of which none is 0 or 1, and theirs with the same."""
    layers, hidden = map(int, name.split("/"))
    ours = MaskedLanguageModel(Shape(layers, hidden, VOCABULARY_SIZE), dropout)
    initialise(ours, "uer", seed=3)
    theirs = transformers.BertForMaskedLM(config_of(ours.encoder.shape, dropout))
    result = theirs.load_state_dict(their_weights(ours), strict=False)
    assert result.unexpected_keys == []
    assert all("decoder" in key for key in result.missing_keys)
    return ours, theirs


def a_batch() -> dict[str, torch.Tensor]:
    """Three rows of 16, the second half padding, with two token types and three positions to predict in each."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, VOCABULARY_SIZE, (3, 16), generator=generator)
    attention = torch.ones(3, 16, dtype=torch.bool)
    ids[1, 8:], attention[1, 8:] = 0, False
    token_types = torch.zeros_like(ids)
    token_types[:, 6:] = 1
    predict = torch.tensor([[1, 9, 15], [0, 3, 7], [2, 4, 8]])
    return {"ids": ids, "attention": attention, "token_types": token_types, "predict": predict}


@pytest.mark.parametrize("name", SHAPES)
def test_hidden_states_logits_loss_and_every_gradient_equal_transformers(name: str) -> None:
    ours, theirs = both(name)
    ids, attention, token_types, predict = a_batch().values()
    targets = (ids.gather(1, predict) + 1) % VOCABULARY_SIZE
    labels = torch.full_like(ids, -100).scatter(1, predict, targets)

    expected = theirs(ids, attention.long(), token_types, labels=labels, output_hidden_states=True)
    hidden = ours.encoder(ids, token_types, attention)
    logits = ours(ids, token_types, attention)
    loss = F.cross_entropy(ours(ids, token_types, attention, predict=predict).flatten(0, 1), targets.flatten())
    assert relative_difference(hidden[attention], expected.hidden_states[-1][attention]) < 1e-5
    assert relative_difference(logits[attention], expected.logits[attention]) < 1e-5
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)

    loss.backward()
    expected.loss.backward()
    gradients = to_hugging_face(key_table_of(bert_of(ours)), {name: p.grad for name, p in ours.named_parameters()})
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    assert gradients.keys() == their_gradients.keys()
    for key, gradient in their_gradients.items():
        if key.endswith("key.bias"):  # it moves all scores of a query alike: its gradient is 0 but for rounding
            assert max(gradient.abs().max(), gradients[key].abs().max()) < 1e-7, key
        else:
            assert relative_difference(gradients[key], gradient) < 1e-5, key


def test_dropout_falls_in_the_same_places_in_the_same_order() -> None:
    ours, theirs = both("2/128", dropout=0.2)
    ids, attention, token_types, _ = a_batch().values()
    torch.manual_seed(11)
    logits = ours.train()(ids, token_types, attention)
    torch.manual_seed(11)
    expected = theirs.train()(ids, attention.long(), token_types).logits
    assert relative_difference(logits[attention], expected[attention]) < 1e-5


def test_a_classifier_equals_transformers() -> None:
    shape = Shape(2, 128, VOCABULARY_SIZE)
    ours = Classifier(Encoder(shape), labels=5)
    initialise(ours, "uer")
    config = config_of(shape)
    config.num_labels = 5
    theirs = transformers.BertForSequenceClassification(config).eval()
    theirs.load_state_dict(their_weights(ours))
    ids, attention, token_types, _ = a_batch().values()
    expected = theirs(ids, attention.long(), token_types).logits
    assert relative_difference(ours(ids, token_types, attention), expected) < 1e-5
