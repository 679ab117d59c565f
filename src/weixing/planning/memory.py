"""Memory of a pretraining run, part by part, in bytes. Pure; docs/planning.md has the formula in words.

Letters: L layers, H hidden and F feed-forward units, A heads, V trained vocabulary entries; B rows of a pass, T
positions, M predicted positions of a row, N = B·T, n = B·M.
"""

from dataclasses import dataclass, fields

from weixing.model.compiled.workers import MOST
from weixing.recipes import Recipe
from weixing.training.devices import Precision
from weixing.training.gradients import CHUNK_NUMBERS
from weixing.training.muon import orthogonalisation_interval
from weixing.zoo import Shape

WIDE = 4  # bytes of a float32: parameters, sums of gradients, states
CPU_BASE = 530_000_000  # interpreter, torch, compiled loops and what they keep, of Linux on x86-64: measured
CUDA_BASE = 1_000_000_000  # context, libraries and their workspaces: an assumption
EXPORTED_COPIES = 3  # of all parameters, while the finished model is written and read back
CUDA_LOGITS = 4096  # positions whose logits are made at a time (`weixing.model.cross_entropy`)


@dataclass(frozen=True)
class Memory:
    """Bytes of one device; of cores: of their one process.

    Args:
        base: what is there before any model.
        parameters: float32.
        copies: of matrices, in the type of the matrix products.
        gradients: float32, a set for each core or, on a GPU, two where an update has several micro-batches.
        optimizer: its states.
        activations: what a forward pass keeps for its backward pass, and what both work in.
        workspace: of an optimizer's update.
        checkpoint: the copy of parameters and states from which a thread writes them; on the host of a GPU, not here.
        saving: while the finished model is exported.
    """

    base: int
    parameters: int
    copies: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int
    checkpoint: int
    saving: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, part.name) for part in fields(self))


def training_memory(
    shape: Shape,
    recipe: Recipe,
    *,
    devices: int,
    cores: bool,
    precision: Precision,
    micro_batch_size: int | None = None,
    entries: int | None = None,
) -> Memory:
    """What one device needs at its worst moment.

    Args:
        shape: of the model.
        recipe: with the rows of the whole update under `batch_size`; every device has an equal share of them.
        devices: how many; cores: whether they are cores of one process, or GPUs with a process each.
        precision: of the matrix products.
        micro_batch_size: most rows of one forward pass; None: all that a device has.
        entries: vocabulary entries that are trained, where a recipe leaves out the others; None: all.
    """
    size = 2 if precision == "bf16" else WIDE
    matrices, vectors = matrix_parameters(shape), shape.parameters
    muon = recipe.optimizer == "muon"
    optimizer = 2 * WIDE * (vectors - matrices if muon else vectors)
    if muon:
        tokens = recipe.batch_size * recipe.sequence_length
        every = orthogonalisation_interval(shape, tokens, recipe.masking_rate, recipe.sequence_length)
        optimizer += matrices * (WIDE + (size if every > 1 else 0))
    chosen = entries if recipe.reached_only and entries else None
    share = -(-recipe.batch_size // devices)
    rows = min(micro_batch_size or share, share)
    if cores:
        workers = min(devices, MOST)
        share = -(-recipe.batch_size // workers)
        rows = pass_rows(shape, recipe, share, micro_batch_size or share)
        return Memory(
            base=CPU_BASE,
            parameters=WIDE * shape.parameters,
            copies=_cpu_copies(shape, size, chosen),
            gradients=workers * WIDE * shape.parameters,
            optimizer=optimizer,
            activations=workers * compiled_pass(shape, recipe, rows, size, chosen),
            workspace=workers * _one_orthogonalisation(shape, size) if muon else 0,
            checkpoint=WIDE * shape.parameters + optimizer,
            saving=EXPORTED_COPIES * WIDE * shape.parameters,
        )
    several = share > rows
    activations = _cuda_activations(shape, recipe, rows, size, chosen or shape.vocabulary_size)
    step = shape.layers * _one_orthogonalisation(shape, size) if muon else 3 * WIDE * shape.parameters
    return Memory(
        base=CUDA_BASE,
        parameters=WIDE * shape.parameters,
        copies=_all_matrices(shape) * size if size < WIDE else 0,
        gradients=(1 + several) * WIDE * shape.parameters,
        optimizer=optimizer,
        activations=activations,
        workspace=max(0, step - activations),  # an optimizer's turn comes when activations are gone
        checkpoint=0,
        saving=0,
    )


def matrix_parameters(shape: Shape) -> int:
    """Numbers in the matrices of the layers: what Muon updates."""
    return shape.layers * (4 * shape.hidden**2 + 2 * shape.hidden * shape.feed_forward)


def _all_matrices(shape: Shape) -> int:
    """The same with embeddings and head."""
    tables = shape.vocabulary_size + shape.positions + shape.token_types + shape.hidden
    return matrix_parameters(shape) + tables * shape.hidden


def _cpu_copies(shape: Shape, size: int, chosen: int | None) -> int:
    """Of matrices in bf16; where entries are chosen, of these alone, in any type."""
    if chosen is None:
        return _all_matrices(shape) * size if size < WIDE else 0
    others = _all_matrices(shape) - shape.vocabulary_size * shape.hidden
    return chosen * shape.hidden * size + (others * size if size < WIDE else 0)


def _one_orthogonalisation(shape: Shape, size: int) -> int:
    """Of the largest matrix: ahead and stacked in float32, then two in the products' type, X and what it becomes."""
    return (2 * WIDE + 2 * size) * shape.hidden * shape.feed_forward


def pass_rows(shape: Shape, recipe: Recipe, share: int, most: int) -> int:
    """Rows that a core computes at a time of its share of an update (`weixing.training.gradients`)."""
    at_once = min(most, max(1, CHUNK_NUMBERS // (recipe.sequence_length * shape.hidden)))
    return -(-share // -(-share // at_once))


def predicted_positions(recipe: Recipe) -> int:
    """M of a full row (`weixing.data.masking`)."""
    return max(1, round(recipe.masking_rate * recipe.sequence_length))


def compiled_pass(shape: Shape, recipe: Recipe, rows: int, size: int, entries: int | None = None) -> int:
    """Bytes that one core's passes over so many rows work in (`weixing.model.compiled`): to the byte.

    Args:
        size: bytes of a number of the matrix products.
        entries: as in `training_memory`.
    """
    L, H, F, A, T = shape.layers, shape.hidden, shape.feed_forward, shape.heads, recipe.sequence_length
    V, M, drops = entries or shape.vocabulary_size, predicted_positions(recipe), recipe.dropout > 0
    N, n = rows * T, rows * M
    widest = N if L > 1 else n  # positions of the layer that has most
    kept = (L - 1) * (11 * N * H + 2 * N * F + A * N * T)  # by each layer but the last, for its backward pass
    last = 8 * n * H + 4 * N * H + 2 * n * F + A * n * T
    embedding = 2 * N * H + (2 + (L > 1)) * N * H * drops
    shared = 7 * widest * H + widest * F + widest * T * (1 + drops)
    shared += 5 * N * H + (3 * N * H if L > 1 else 0) + 2 * n * H
    product = max(V, F, (3 if L > 1 else 2) * H) * H  # the largest gradient that is added to a sum
    head = 6 * n * H + n * V
    scales = N + 2 * (L - 1) * N + 2 * n + 2 * n  # of LayerNorms, and losses: float32
    return size * (kept + last + embedding + shared + product + head) + WIDE * scales


def _cuda_activations(shape: Shape, recipe: Recipe, rows: int, size: int, entries: int) -> int:
    """An estimate: what torch.compile keeps is its own decision.

    Of each position in a layer: queries, keys, values, context, both LayerNorms' results and the feed-forward units
    in the products' type, both sums that are normalised in float32; of the last layer at predicted positions alone,
    but for keys and values. In the head, logits and their gradient for some positions at a time.
    """
    L, H, F, T = shape.layers, shape.hidden, shape.feed_forward, recipe.sequence_length
    N, n = rows * T, rows * predicted_positions(recipe)
    rest = size * (4 * H + F) + 2 * WIDE * H
    kept = (L - 1) * N * (rest + 2 * size * H) + 2 * size * N * H + n * rest + WIDE * N * H
    if recipe.dropout:
        kept += ((L - 1) * N + n) * (2 * H + shape.heads * T * (size + 1)) + N * H
    head = 2 * size * min(n, CUDA_LOGITS) * entries + 2 * WIDE * entries * H + n * H * (size + WIDE)
    return kept + head
