"""The compiled classifier promises the loss, the gradients and the logits of the plain one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.parameters import Gradients, Weights
from weixing.model.heads import Classifier

LABELS = torch.tensor([2, 0, 1, 2])


@pytest.fixture(params=["2/128", "2/64/32/96"])
def model(model_of, request) -> Classifier:
    torch.manual_seed(5)
    return Classifier(model_of(request.param).encoder, labels=3)


@pytest.fixture
def rows(ask):
    rows = ask("padding").rows
    return rows._replace(asked=np.zeros((len(rows.ids), 1), np.int64))


def plain_logits(model, rows):
    ids, _, kinds, _, last, _ = map(torch.from_numpy, rows)
    return model(ids, kinds, torch.arange(ids.shape[1]) < last)


def mean_of_four(labels):
    return lambda logits: F.cross_entropy(logits, labels, reduction="sum") / 4


@pytest.mark.parametrize("parts", [[slice(0, 4)], [slice(0, 3), slice(3, 4)]])
def test_loss_and_every_gradient_are_those_of_autograd(model, rows, dtype, difference, parts):
    buffers = Buffers(dtype)
    gradients = Gradients({name: torch.zeros_like(p) for name, p in model.named_parameters()}, buffers)
    own = ClassifierPass(model, Weights(model, dtype), gradients, buffers)
    for _ in range(2):  # the first is forgotten
        gradients.begin()
        loss = sum(own.add_gradients(rows.some(part), mean_of_four(LABELS[part])) for part in parts)
        gradients.finish()
    expected = F.cross_entropy(plain_logits(model, rows), LABELS)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6 if dtype == torch.float32 else 0.01)
    limit = 1e-5 if dtype == torch.float32 else 0.05
    for name, p in model.named_parameters():
        assert difference(gradients.sums[name].tensor, p.grad) < limit, name


def test_logits_are_those_of_the_plain_classifier_without_dropout(model, rows, dtype):
    buffers = Buffers(dtype)
    gradients = Gradients({name: torch.zeros_like(p) for name, p in model.named_parameters()}, buffers)
    own = ClassifierPass(model, Weights(model, dtype), gradients, buffers)
    own.add_gradients(rows, mean_of_four(LABELS), dropout=0.5, key=3)
    tolerance = 2e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(own.logits(rows), plain_logits(model, rows).detach(), rtol=tolerance, atol=tolerance)
