"""Loss, gradients and logits of a text classifier for some rows, on one CPU core.

The head is small: torch's autograd differentiates it as it stands in `weixing.model.heads`.
Shapes: B rows, H hidden units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.model.compiled.buffers import Buffers, numbers
from weixing.model.compiled.encoder import CompiledEncoder, Gradients, Rows, Weights
from weixing.model.heads import Classifier

ENCODER = "encoder."


class ClassifierPass:
    """The passes of `weixing.model.heads.Classifier` for one thread.

    Args:
        model: the plain model.
        weights: its own.
        gradients: where its gradients are summed.
        buffers: this thread's memory.
    """

    def __init__(self, model: Classifier, weights: Weights, gradients: Gradients, buffers: Buffers) -> None:
        self.model, self.gradients = model, gradients
        self.encoder = CompiledEncoder(model.encoder, weights, gradients, buffers, ENCODER)
        self.head = {name: p for name, p in model.named_parameters() if not name.startswith(ENCODER)}

    def add_gradients(self, rows: Rows, labels: Tensor, weight: float, dropout: float = 0.0, key: int = 0) -> float:
        """Add the gradients of `weight` times the sum of the cross entropies, which is returned.

        Args:
            rows: with `asked` [B, 1], the first position of each.
            labels: int64 [B].
            weight: of each row.
            dropout, key: as in `CompiledEncoder.forward`.
        """
        hidden = self.encoder.forward(rows, dropout, key)
        with torch.enable_grad():
            first = hidden.tensor.float().requires_grad_()
            loss = weight * F.cross_entropy(self.model.classify(first), labels, reduction="sum")
            outer, *inner = torch.autograd.grad(loss, [first, *self.head.values()])
        for name, gradient in zip(self.head, inner, strict=True):
            total = self.gradients.sum(name)
            total += gradient.numpy()
        self.encoder.backward(numbers(outer.to(hidden.tensor.dtype)))
        return loss.item()

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """Logits [B, labels] without dropout; `rows` as in `add_gradients`."""
        self.encoder.forward(rows)
        return self.model.classify(self.encoder.exact.tensor.float())
