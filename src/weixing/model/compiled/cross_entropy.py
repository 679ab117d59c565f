"""Compiled loop of the masked-LM loss and its gradient. Pure: it works in place on arrays that it is given."""

import numpy as np

from weixing.model.compiled.numbers import compiled, exponentials, load, store

ONE = np.float32(1)


@compiled
def cross_entropy_rows(logits, bias, labels, weights, losses, bias_gradient):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Replace each row of logits by the gradient of its weighted cross entropy, and write the loss.

    Args:
        logits: numbers [N, V], without the bias; afterwards ``weight · (softmax(logits + bias) - onehot)``.
        bias: float32 [V].
        labels: int64 [N].
        weights: float32 [N].
        losses: float32 [N], written: ``-weight · log softmax[label]``.
        bias_gradient: float32 [V], added to.
    """
    count, size = logits.shape
    values = np.empty(size, np.float32)
    for n in range(count):
        row = logits[n]
        label, weight = labels[n], weights[n]
        target = load(row, label) + bias[label]
        total, top = exponentials(row, bias, ONE, values)
        losses[n] = weight * (np.log(total) + top - target)
        scale = weight / total
        values[label] -= total  # so that the label's own gradient is weight · (softmax - 1)
        for j in range(size):
            gradient = values[j] * scale
            bias_gradient[j] += gradient
            store(row, j, gradient)
