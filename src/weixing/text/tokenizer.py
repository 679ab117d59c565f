"""Tokenizer: text to ids and back, by the rules of BERT-Chinese, with ids equal to those of Hugging Face `tokenizers`.

A few texts go through the Rust library itself; many go through the compiled loop of `bulk`, loaded on first need.
Opens no files.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from weixing.errors import UserError
from weixing.text.vocabulary import CLS, SEP, SPECIAL_TOKENS, UNK, Vocabulary

if TYPE_CHECKING:
    from weixing.text.bulk import Tables

_BULK_FROM_CHARACTERS = 300_000  # in all; below this the Rust library is done sooner than the compiled loop is loaded


class Tokenizer:
    """BERT-Chinese tokenization: lower-cased, accents stripped, every Chinese character apart, WordPiece for the rest.

    Ids contain no [CLS] and [SEP] but those that the text itself spells out, and these only with `specials`.

    Args:
        vocabulary: the vocabulary.
        bulk: load the compiled loop at once and use it for batches of any size, for there will be many.
    """

    def __init__(self, vocabulary: Vocabulary, *, bulk: bool = False) -> None:
        self.vocabulary = vocabulary
        self._characters = 0  # of batches, up to now
        if bulk:
            _ = self._tables

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Ids of one text.

        Args:
            text: any text.
            specials: whether "[MASK]", "[SEP]" and the like in the text mean the special tokens, as Hugging Face's
                BertTokenizer has it. In a corpus they are ordinary text.

        Raises:
            UserError: the text holds half a surrogate pair, which is no character.
        """
        tokenizer = self._with_specials if specials else self._plain
        try:
            return tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError:
            _utf8(text)  # says better what is wrong
            raise

    def encode_batch(self, texts: Sequence[str], *, specials: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Ids of many texts, as `encode` gives them.

        Returns:
            ids int32 [total] and offsets int64 [texts + 1]; text i has ids[offsets[i]:offsets[i + 1]].

        Raises:
            UserError: a text holds half a surrogate pair.
        """
        self._characters += sum(map(len, texts))
        if "_tables" not in self.__dict__ and self._characters < _BULK_FROM_CHARACTERS:
            return _joined([self.encode(text, specials=specials) for text in texts])
        encoded = [_utf8(text) for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        ids, id_offsets = self.encode_bytes(np.frombuffer(b"".join(encoded), np.uint8), offsets)
        if specials:
            spelt = [i for i, text in enumerate(texts) if any(token in text for token in SPECIAL_TOKENS)]
            return _replaced(ids, id_offsets, {i: self.encode(texts[i], specials=True) for i in spelt})
        return ids, id_offsets

    def encode_bytes(self, buffer: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the texts buffer[offsets[i]:offsets[i + 1]]; special tokens in them are ordinary text.

        Holds no Python lock while it works: ranges of texts may be encoded in several threads.

        Args:
            buffer: uint8 [bytes], UTF-8.
            offsets: int64 [texts + 1], not falling, each at the border of a character.

        Returns:
            ids int32 [total] and their offsets int64 [texts + 1].

        Raises:
            UnicodeDecodeError: the bytes of the texts are not UTF-8.
        """
        from weixing.text import bulk

        buffer, offsets = _read_only(buffer, np.uint8), _read_only(offsets, np.int64)
        if not bulk.is_utf8(buffer[offsets[0] : offsets[-1]]):
            buffer[offsets[0] : offsets[-1]].tobytes().decode()
        ids = np.empty(offsets[-1] - offsets[0], np.int32)  # no token is shorter than a byte
        id_offsets = np.empty(len(offsets), np.int64)
        irregular = np.empty(len(offsets) - 1, np.bool_)
        count = bulk.encode_bytes(buffer, offsets, self._tables, ids, id_offsets, irregular)
        by_rust = {}
        for text in map(int, np.flatnonzero(irregular)):
            by_rust[text] = self.encode(buffer[offsets[text] : offsets[text + 1]].tobytes().decode())
        return _replaced(ids[:count], id_offsets, by_rust)

    def token_starts(self, text: str) -> list[int]:
        """The character of `text` at which each token of ``encode(text)`` starts."""
        return [start for start, _ in self._plain.encode(text, add_special_tokens=False).offsets]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The entries with these ids."""
        return [self.vocabulary.tokens[token_id] for token_id in ids]

    def decode(self, ids: Iterable[int], *, skip_specials: bool = False) -> str:
        """Text of these ids as transformers' BertTokenizer gives it: spaces between tokens, word pieces joined."""
        return self._with_specials.decode([int(token_id) for token_id in ids], skip_special_tokens=skip_specials)

    def hugging_face(self, lower_case: bool = True) -> tokenizers.Tokenizer:
        """A new, equivalent tokenizer of the Rust library: what goes into tokenizer.json.

        It knows the special tokens, puts [CLS] and [SEP] around a text or a pair, and decodes. With `lower_case` false
        it keeps capitals, as the tokenizer of a model from elsewhere may.
        """
        vocabulary = self.vocabulary
        tokenizer = self._rules()
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[(CLS, vocabulary.cls_id), (SEP, vocabulary.sep_id)],
        )
        tokenizer.decoder = decoders.WordPiece(prefix="##")
        return tokenizer

    def _rules(self) -> tokenizers.Tokenizer:
        """Normalisation, pre-tokenization and word pieces: all that decides about ids."""
        ids = {token: token_id for token_id, token in enumerate(self.vocabulary.tokens)}
        tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer

    @cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        return self._rules()

    @cached_property
    def _with_specials(self) -> tokenizers.Tokenizer:
        return self.hugging_face()

    @cached_property
    def _tables(self) -> "Tables":
        from weixing.text import bulk

        return bulk.compile_tables(self.vocabulary.tokens, self.vocabulary.unk_id)


def _read_only(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """`array` as the compiled loop takes it: numba compiles anew for every kind of array."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def _joined(rows: Sequence[Sequence[int] | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all rows, one after another, and their offsets."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return np.concatenate([np.empty(0, np.int32), *(np.asarray(row, np.int32) for row in rows)]), offsets


def _replaced(ids: np.ndarray, offsets: np.ndarray, rows: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """`ids` and `offsets` with the rows of some texts replaced."""
    if not rows:
        return ids, offsets
    return _joined([rows.get(i, ids[offsets[i] : offsets[i + 1]]) for i in range(len(offsets) - 1)])


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the text holds half a surrogate pair, U+{ord(text[error.start]):04X}, as character {error.start:,}",
            accepted="text of whole Unicode characters",
            action="Remove it, or read the text with errors='replace'",
        ) from None
