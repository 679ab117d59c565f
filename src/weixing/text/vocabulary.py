"""Vocabulary: the entries of a `vocab.txt`, where the id of an entry is its line number, counted from 0.

Opens vocab.txt files; where a hub id was named, `weixing.hub` may download one. Knows no tokenization.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from weixing.errors import UserError
from weixing.files import atomic_file, read_json
from weixing.hub import download, is_hub_id
from weixing.text.builtin_vocabulary import builtin_tokens

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILE_NAME, TOKENIZER = "vocab.txt", "tokenizer.json"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Vocabulary:
    """An immutable list of tokens. Two vocabularies are equal if their tokens are.

    Args:
        tokens: the entries, in the order of their ids.
        where: what to name in errors (a file).

    Raises:
        UserError: an entry comes twice, holds a line break, or one of the five special tokens is missing.
    """

    def __init__(self, tokens: Iterable[str], *, where: str | Path = "vocabulary") -> None:
        self._tokens = tuple(tokens)
        self._ids: dict[str, int] = {}
        for line, token in enumerate(self._tokens):
            first = self._ids.setdefault(token, line)
            if first != line:
                raise UserError(
                    f"the entry {token!r} comes a second time (first: line {first + 1})",
                    where=f"{where}:{line + 1}",
                    accepted="a vocabulary in which every entry comes once",
                )
            if "\n" in token or token.endswith("\r"):
                raise UserError(f"the entry {token!r} holds a line break", where=f"{where}:{line + 1}")
        missing = [token for token in SPECIAL_TOKENS if token not in self._ids]
        if missing:
            raise UserError(
                f"the vocabulary of {len(self):,} entries lacks {', '.join(missing)}",
                where=where,
                accepted="a BERT vocabulary, one entry a line, with " + ", ".join(SPECIAL_TOKENS),
                action="Make one with: weixing vocab CORPUS --out vocab.txt",
            )

    @property
    def tokens(self) -> tuple[str, ...]:
        """The entries; the id of an entry is its index."""
        return self._tokens

    @property
    def pad_id(self) -> int:
        """Id of [PAD]."""
        return self._ids[PAD]

    @property
    def unk_id(self) -> int:
        """Id of [UNK]."""
        return self._ids[UNK]

    @property
    def cls_id(self) -> int:
        """Id of [CLS]."""
        return self._ids[CLS]

    @property
    def sep_id(self) -> int:
        """Id of [SEP]."""
        return self._ids[SEP]

    @property
    def mask_id(self) -> int:
        """Id of [MASK]."""
        return self._ids[MASK]

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of [PAD], [UNK], [CLS], [SEP], [MASK], in this order."""
        return tuple(self._ids[token] for token in SPECIAL_TOKENS)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes that `write` writes, as hexadecimal digits."""
        return hashlib.sha256(self._to_bytes()).hexdigest()

    def id_of(self, token: str) -> int | None:
        """Id of `token`, or None if it is no entry."""
        return self._ids.get(token)

    def __len__(self) -> int:
        return len(self._tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._tokens == other._tokens

    def __hash__(self) -> int:
        return hash(self._tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} entries, sha256 {self.sha256[:12]})"

    def _to_bytes(self) -> bytes:
        return "".join(f"{token}\n" for token in self._tokens).encode()

    def write(self, path: str | Path) -> None:
        """Write a vocab.txt: one token a line, UTF-8, each line ended by a line feed. Replaces what was there."""
        with atomic_file(Path(path)) as beside:
            beside.write_bytes(self._to_bytes())

    @classmethod
    def read(cls, path: str | Path) -> "Vocabulary":
        r"""Read a vocab.txt. Lines may end in \r\n, the last one may be unended, a byte order mark is skipped.

        Raises:
            UserError: no such file, bytes that are not UTF-8, or what the constructor refuses.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read a vocabulary: {error.strerror}", where=path) from None
        mark = len(_BYTE_ORDER_MARK) if content.startswith(_BYTE_ORDER_MARK) else 0
        try:
            lines = content[mark:].decode().split("\n")
        except UnicodeDecodeError as error:
            bad = mark + error.start
            raise UserError(
                f"byte {bad:,} (0x{content[bad]:02x}) is not UTF-8",
                where=path,
                accepted="a vocab.txt in UTF-8, one entry a line",
            ) from None
        if not lines[-1]:
            del lines[-1]
        return cls((line.removesuffix("\r") for line in lines), where=path)


def vocabulary_in(folder: Path) -> Vocabulary | None:
    """The vocabulary in a model folder: vocab.txt, or the word pieces of tokenizer.json; None where neither is there.

    Raises:
        UserError: what is there is no vocabulary of BERT's kind.
    """
    if (folder / FILE_NAME).is_file():
        return Vocabulary.read(folder / FILE_NAME)
    file = folder / TOKENIZER
    if not file.is_file():
        return None
    content = read_json(file, "a tokenizer")
    model = content.get("model") if isinstance(content, dict) else None
    ids = model.get("vocab") if isinstance(model, dict) and model.get("type") == "WordPiece" else None
    if not isinstance(ids, dict) or sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise UserError(
            "this tokenizer has no word pieces with the ids 0, 1, 2, …",
            where=file,
            accepted="a tokenizer of BERT's kind",
        )
    return Vocabulary(sorted(ids, key=ids.__getitem__), where=file)


def load_vocabulary(source: str | Path | None) -> Vocabulary:
    """The vocabulary that `source` names.

    Args:
        source: None or ``builtin``; a vocab.txt; a model folder (its vocab.txt) or a run folder (its model/vocab.txt);
            else a hub id, ``owner/name``, whose vocab.txt is downloaded once and cached.

    Raises:
        UserError: nothing of this name, or what `Vocabulary.read` refuses.
    """
    if source is None or source == "builtin":
        return Vocabulary(builtin_tokens(), where="builtin")
    path = Path(source)
    if path.is_dir():
        for folder in (path, path / "model"):
            if vocabulary := vocabulary_in(folder):
                return vocabulary
        raise UserError(
            f"the folder has no {FILE_NAME}",
            where=path,
            accepted="a model folder, or a run folder of `weixing pretrain`",
        )
    if path.exists():
        return Vocabulary.read(path)
    # A slip in a path to a folder that exists (data/vocb) is no hub id: nothing is downloaded for it.
    if is_hub_id(str(source)) and not path.parent.is_dir():
        return Vocabulary.read(download(str(source), FILE_NAME))
    raise UserError(
        f"there is no vocabulary {str(source)!r}",
        accepted="builtin, a vocab.txt, a model or run folder, or a hub id such as uer/chinese_roberta_L-8_H-512",
    )
