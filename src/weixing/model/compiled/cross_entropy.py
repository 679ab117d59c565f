"""Compiled loops of the masked-LM loss and its gradient, and of what a teacher says. Pure: they work in place."""

import numpy as np

from weixing.model.compiled.numbers import compiled, exponentials, load, store

ZERO, ONE = np.float32(0), np.float32(1)


@compiled
def cross_entropy_rows(logits, bias, labels, weights, losses, bias_gradient, soft_entries=None, soft_shares=None):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Replace each row of logits by the gradient of its weighted cross entropy, and write the loss.

    Args:
        logits: numbers [N, V], without the bias; afterwards ``weight · (softmax(logits + bias) - onehot)``.
        bias: float32 [V].
        labels: int64 [N].
        weights: float32 [N].
        losses: float32 [N], written: ``-weight · log softmax[label]``.
        bias_gradient: float32 [V], added to.
        soft_entries, soft_shares: int64, float32 [N, K], targets beside the labels (`weixing.model.soft_targets`), or
            None: onehot becomes ``(1 - sum of shares) · onehot + shares``, in the loss as well.
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
        if soft_entries is None:
            values[label] -= total  # so that the label's own gradient is weight · (softmax - 1)
        else:
            rest, lower = ONE, ZERO
            for k in range(soft_entries.shape[1]):
                entry, share = soft_entries[n, k], soft_shares[n, k]
                rest -= share
                lower += share * (target - load(row, entry) - bias[entry])
                values[entry] -= share * total
            values[label] -= rest * total
            losses[n] += weight * lower
        for j in range(size):
            gradient = values[j] * scale
            bias_gradient[j] += gradient
            store(row, j, gradient)


@compiled
def likely_entries_of_rows(logits, bias, least, entries, shares):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Of each row, the entries whose probability is at least `least`; of more than K, the K likeliest.

    Args:
        logits: numbers [N, V], without the bias.
        bias: float32 [V].
        least: float32.
        entries: int64 [N, K], written: columns, 0 where a place is unused.
        shares: float32 [N, K], written: probabilities, 0 where a place is unused.
    """
    count, size = logits.shape
    places = entries.shape[1]
    values = np.empty(size, np.float32)
    likely = np.empty(size, np.int64)
    for n in range(count):
        total, _ = exponentials(logits[n], bias, ONE, values)
        limit = least * total
        found = 0
        for j in range(size):
            if values[j] >= limit:
                likely[found] = j
                found += 1
        if found > places:
            order = np.argsort(-values[likely[:found]])[:places]
            likely[:places] = likely[order]
            found = places
        for k in range(places):
            used = k < found
            entries[n, k] = likely[k] if used else 0
            shares[n, k] = values[likely[k]] / total if used else ZERO
