"""Texts to rows of token ids that a model can read. Opens no files; says on stderr how many texts were cut."""

from collections.abc import Callable, Sequence

import numpy as np

from weixing.errors import UserError
from weixing.progress import say
from weixing.tasks.encoding import truncate_pair
from weixing.text.tokenizer import Tokenizer

OnCut = Callable[[int, int, int], None]
"""Is told how many of how many texts were cut to how many tokens."""


def say_cut(count: int, texts: int, most: int) -> None:
    """Say on stderr that `count` of so many texts were cut to `most` tokens."""
    say(f"{count} of {texts} texts cut to the first {most} tokens, all that the model can read")


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[str], positions: int, on_cut: OnCut = say_cut
) -> list[np.ndarray]:
    """Token ids int32 [T] of each text, [CLS] and [SEP] around them, no longer than `positions`.

    Args:
        on_cut: is told as `say_cut`, if texts were cut.

    Raises:
        UserError: `texts` is one string.
    """
    tokens, most, (start, end) = _tokens(tokenizer, texts), positions - 2, _ends(tokenizer)
    _count_cut([len(row) for row in tokens], most, on_cut)
    return [np.concatenate([start, row[:most], end]) for row in tokens]


def encode_pairs(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    second_texts: Sequence[str],
    positions: int,
    on_cut: OnCut = say_cut,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Ids int32 [T] of each pair, [CLS] first [SEP] second [SEP], and positions of the firsts, int64 [pairs].

    Of a pair that is too long the longer text loses its end (`tasks.encoding.truncate_pair`).

    Raises:
        UserError: not as many second texts as first ones.
    """
    firsts, seconds = _tokens(tokenizer, texts), _tokens(tokenizer, second_texts)
    if len(seconds) != len(firsts):
        raise UserError(f"{len(seconds)} second texts for {len(firsts)} texts", accepted="one for each")
    most, (start, end) = positions - 3, _ends(tokenizer)
    _count_cut([len(first) + len(second) for first, second in zip(firsts, seconds, strict=True)], most, on_cut)
    rows, lengths = [], np.empty(len(firsts), np.int64)
    for number, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        kept, second_kept = truncate_pair(len(first), len(second), most)
        rows.append(np.concatenate([start, first[:kept], end, second[:second_kept], end]))
        lengths[number] = kept + 2
    return rows, lengths


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    if isinstance(texts, str):
        raise UserError("one text in place of a list of texts", accepted='a list, such as ["输入任意文本内容"]')
    ids, offsets = tokenizer.encode_batch(texts, specials=True)
    return np.split(ids, offsets[1:-1]) if len(texts) else []


def _ends(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    vocabulary = tokenizer.vocabulary
    return np.array([vocabulary.cls_id], np.int32), np.array([vocabulary.sep_id], np.int32)


def _count_cut(lengths: Sequence[int], most: int, on_cut: OnCut) -> None:
    if longer := sum(length > most for length in lengths):
        on_cut(longer, len(lengths), most)
