"""Blocks of documents, tokenized as tasks on a Ray cluster and given in their order in the corpus.

A task whose process or machine is lost is run again by Ray, elsewhere. This process reads, packs and writes.
"""

import platform
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np

from weixing.clusters import TRIES, reason_of
from weixing.data.blocks import BLOCKS_AHEAD, BlockTokenizer, Tokenized, Tokenizing, Where
from weixing.errors import UserError
from weixing.text.corpus import Block

MOST_IN_FLIGHT = 256  # blocks: 2 MB of text each, and as much of tokens


def tokenized_on_cluster(ray: Any, blocks: Iterable[Block], how: Tokenizing) -> Iterator[tuple[Where, Tokenized]]:
    """The blocks, in their order, each with where it ends.

    Args:
        ray: from `weixing.clusters.connection`.
        blocks: of a corpus.
        how: what is done; it is put into the cluster's object store once.

    Raises:
        UserError: a block's bytes are not what its file's name says; it was lost again and again; the machines have
            not the same weixing, or lack a library.
    """
    shared = [ray.put((version("weixing"), how))]  # in a list, so that a process fetches it once, not each task
    task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_tokenize)
    waiting: deque[tuple[Where, Any]] = deque()
    most = 0
    for number, block in enumerate(blocks):
        if number % BLOCKS_AHEAD == 0:  # machines may come and go
            most = min(places(ray) + BLOCKS_AHEAD, MOST_IN_FLIGHT)
        waiting.append((Where.after(block), task.remote(shared, block)))
        if len(waiting) > most:
            yield _first(ray, waiting)
    while waiting:
        yield _first(ray, waiting)


def places(ray: Any) -> int:
    """How many tasks the cluster has cores for now."""
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _first(ray: Any, waiting: deque[tuple[Where, Any]]) -> tuple[Where, Tokenized]:
    where, reference = waiting.popleft()
    try:
        done = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise UserError(
            f"a machine of the cluster cannot tokenize: {error.cause!r}", where="--ray",
            action="Every machine needs the same weixing, with the same extras",
        ) from None  # fmt: skip
    except ray.exceptions.RayError as error:
        what = f"a block of documents was lost {TRIES} times on the cluster: {reason_of(error)}"
        raise UserError(what, where="--ray", action="See ray status") from None
    if isinstance(done, UserError):
        raise done
    # Copies: the store's own cannot be written to, which compiled loops are not compiled for, and take room there.
    copies = {name: value.copy() for name, value in done._asdict().items() if isinstance(value, np.ndarray)}
    return where, done._replace(**copies)


def _tokenize(shared: list[Any], block: Block) -> Tokenized | UserError:
    """A task."""
    try:
        tokenizer = _tokenizer(shared[0])
        return tokenizer(block if block.offsets is None else replace(block, offsets=block.offsets.copy()))
    except UserError as error:
        return error


@lru_cache(maxsize=1)
def _tokenizer(reference: Any) -> BlockTokenizer:
    """Of this process, made once for each preparation."""
    import ray

    made_by, how = ray.get(reference)
    if made_by != (here := version("weixing")):
        raise UserError(f"weixing {here} on {platform.node()}, a machine of the cluster", accepted=made_by)
    return BlockTokenizer(how)
