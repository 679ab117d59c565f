"""Loss, gradients and logits of a classifier for some rows, on one CPU core.

Head and loss are small: torch's autograd differentiates them as they stand in `weixing.model.heads` and as they are
given. Shapes: B rows, M asked positions a row (1 of a classifier of texts, all T of one of tokens), H hidden units.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from weixing.model.compiled.buffers import Buffers, numbers
from weixing.model.compiled.encoder import CompiledEncoder, Gradients, Rows, Weights
from weixing.model.heads import AnyClassifier

ENCODER = "encoder."


class ClassifierPass:
    """The passes of a classifier in `weixing.model.heads` for one thread.

    Args:
        model: the plain model.
        weights: its own.
        gradients: where its gradients are summed, or None: logits alone.
        buffers: this thread's memory.
    """

    def __init__(self, model: AnyClassifier, weights: Weights, gradients: Gradients | None, buffers: Buffers) -> None:
        self.model, self._gradients = model, gradients
        self.encoder = CompiledEncoder(model.encoder, weights, gradients, buffers, ENCODER)
        self.head = {name: p for name, p in model.named_parameters() if not name.startswith(ENCODER)}

    @property
    def gradients(self) -> Gradients:
        """Where gradients are summed, which must be there."""
        assert self._gradients
        return self._gradients

    def add_gradients(self, rows: Rows, loss: Callable[[Tensor], Tensor], dropout: float = 0.0, key: int = 0) -> float:
        """Add the gradients of a loss, which is returned.

        Args:
            rows: with `asked` [B, 1], the first position of each; or None, where each token is classified.
            loss: logits [B·M, labels] → what is differentiated, a scalar.
            dropout, key: as in `CompiledEncoder.forward`.
        """
        hidden = self.encoder.forward(rows, dropout, key)
        with torch.enable_grad():
            x = hidden.tensor.float().requires_grad_()
            value = loss(self.model.classify(x))
            outer, *inner = torch.autograd.grad(value, [x, *self.head.values()])
        for name, gradient in zip(self.head, inner, strict=True):
            total = self.gradients.sum(name)
            total += gradient.numpy()
        self.encoder.backward(numbers(outer.to(hidden.tensor.dtype)))
        return value.item()

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """Logits [B·M, labels] without dropout; `rows` as in `add_gradients`."""
        self.encoder.forward(rows)
        return self.model.classify(self.encoder.exact.tensor.float())
