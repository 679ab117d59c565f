"""Learning a vocabulary from a corpus: `weixing vocab`. Reads what the corpus reader gives; writes nothing.

The rule, in the order of the ids:

1. [PAD] 0, [unused1] … [unused99], [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103, as in BERT-Chinese;
2. characters, as normalisation leaves them: printable ASCII, then all that are frequent enough, the most frequent
   first. Those that can be part of a word also in the form ##c, so that a word of known characters is never [UNK];
3. pieces of the words between them (Latin words, numbers, kana …): pairs of pieces merged, the most frequent first, by
   the WordPiece trainer of `tokenizers`. A Chinese character is a word by itself, so there is no ##汉 and no 汉字.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from weixing.errors import UserError
from weixing.text.code_points import CODE_POINTS, SINGLE, SPACE, code_points
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import CLS, MASK, PAD, SEP, UNK, Vocabulary

SMALLEST, LARGEST = 256, 1 << 16  # ids of more entries do not fit the shards' uint16
_HEAD = (PAD, *(f"[unused{number}]" for number in range(1, 100)), UNK, CLS, SEP, MASK)
_ASCII = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
_BLOCK_CHARACTERS = 1_000_000
_LONGEST_WORD = 101  # characters of a word that are kept: one more than a word may have and not be [UNK]
_MOST_WORDS = 2_000_000


@dataclass(frozen=True)
class Learnt:
    """A vocabulary and how it fits the corpus that it was learnt from.

    Args:
        vocabulary: the vocabulary.
        characters: entries that are single characters, forms ##c not counted.
        documents: documents of the corpus.
        tokens: tokens of the corpus under this vocabulary.
        unknown: those of them that are [UNK].
    """

    vocabulary: Vocabulary
    characters: int
    documents: int
    tokens: int
    unknown: int


def learn_vocabulary(documents: Iterable[str], size: int, min_frequency: int = 5) -> Learnt:
    """Learn a vocabulary of at most `size` entries; the same corpus gives the same vocabulary.

    Args:
        documents: the corpus.
        size: most entries, from 256 to 65,536. There are fewer if the corpus has no more to offer.
        min_frequency: how often a character or a pair of pieces has to occur to become an entry.

    Raises:
        UserError: `size` or `min_frequency` out of range.
    """
    if not SMALLEST <= size <= LARGEST:
        raise UserError(f"a vocabulary of {size:,} entries", where="--size", accepted=f"{SMALLEST} to {LARGEST:,}")
    if min_frequency < 1:
        raise UserError(f"a frequency of {min_frequency}", where="--min-frequency", accepted="1 or more")
    counts = _Counts(documents)
    normalize = normalizers.BertNormalizer().normalize_str
    words: Counter[str] = Counter()
    for word, count in counts.words.items():
        words[normalize(word)] += count
    singles, letters = counts.single_characters(), _letters(words)

    entries = dict.fromkeys(_HEAD)
    common = [*_ASCII, *sorted(singles | letters, key=lambda c: (-singles[c] - letters[c], c))]
    for number, character in enumerate(common):
        forms = [character, f"##{character}"] if _is_letter(character) else [character]
        frequent = number < len(_ASCII) or singles[character] + letters[character] >= min_frequency
        if frequent and len(entries) + len(forms) <= size:
            entries.update(dict.fromkeys(forms))
    vocabulary = Vocabulary(_with_pieces(list(entries), words, size, min_frequency))

    tokens = unknown = 0
    for character, count in singles.items():
        tokens += count
        unknown += count * (vocabulary.id_of(character) is None)
    ids, offsets = Tokenizer(vocabulary).encode_batch(list(counts.words))
    frequency = np.repeat(np.fromiter(counts.words.values(), np.int64, len(counts.words)), np.diff(offsets))
    tokens += int(frequency.sum())
    unknown += int(frequency[ids == vocabulary.unk_id].sum())
    characters = sum(len(entry) == 1 for entry in vocabulary.tokens)
    return Learnt(vocabulary, characters, counts.documents, tokens, unknown)


class _Counts:
    """How often each code point and each word, as written, occurs in a corpus.

    Memory is bounded: where there are too many words, the rarest are forgotten.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        self.documents = 0
        self.code_points = np.zeros(CODE_POINTS, np.int64)
        self.words: Counter[str] = Counter()
        kind = code_points().kind
        self._in_words = (kind != SINGLE) & (kind != SPACE)
        block: list[str] = []
        characters = 0
        for document in documents:
            self.documents += 1
            block.append(document)
            characters += len(document)
            if characters >= _BLOCK_CHARACTERS:
                self._add("\n".join(block))
                block, characters = [], 0
        self._add("\n".join(block))

    def _add(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        self.code_points += np.bincount(codes, minlength=CODE_POINTS)
        edges = np.flatnonzero(np.diff(self._in_words[codes], prepend=False, append=False)).tolist()
        spans = zip(edges[::2], edges[1::2], strict=True)
        self.words.update(text[start : min(end, start + _LONGEST_WORD)] for start, end in spans)
        rarest = 1
        while len(self.words) > _MOST_WORDS:
            self.words = Counter({word: count for word, count in self.words.items() if count > rarest})
            rarest *= 2

    def single_characters(self) -> Counter[str]:
        """The characters that are words by themselves, normalised."""
        points, counts = code_points(), Counter[str]()
        for code in np.flatnonzero((points.kind == SINGLE) & (self.code_points > 0)):
            counts[chr(points.normalised[code])] += int(self.code_points[code])
        return counts


def _letters(words: Counter[str]) -> Counter[str]:
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    return letters


def _is_letter(character: str) -> bool:
    return code_points().kind[ord(character)] != SINGLE


def _with_pieces(entries: list[str], words: Counter[str], size: int, min_frequency: int) -> list[str]:
    """`entries` and after them pieces of `words`, up to `size`.

    To the trainer the entries are special tokens: it gives them their ids first, which also makes it repeatable.
    """
    known = set(entries)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=entries, show_progress=False
    )
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    spelt = Counter({word: count for word, count in words.items() if known.issuperset(word)})
    tokenizer.train_from_iterator(_repeated(spelt), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)[:size]


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Each word as often as it was counted: the trainer counts for itself."""
    for word, count in words.items():
        for done in range(0, count, 10_000):
            yield f"{word} " * min(10_000, count - done)
