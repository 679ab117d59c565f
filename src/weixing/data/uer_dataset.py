"""`prepare --from-uer`: dataset files of UER-py's `mlm` processor → token shards. Reads files and writes a folder.

Such a .pt file is pickles one after another, as long as its corpus. It is read in pieces and in constant memory, by the
scanner in `weixing.data.uer_pickle`; no unpickler sees it, so nothing in it can be run.
"""

import time
from collections.abc import Iterator, Sequence
from io import FileIO
from itertools import chain
from pathlib import Path
from pickletools import opcodes

import numpy as np

from weixing.data import uer_pickle as scanner
from weixing.data.output import Prepared, new_shards, require_16_bits
from weixing.data.packing import LONGEST_SEQUENCE, SHORTEST_PIECE
from weixing.errors import UserError
from weixing.progress import Progress
from weixing.text.vocabulary import Vocabulary

PIECE_BYTES = 4 * 2**20  # read at a time; no record of the longest sequence comes near it
ROW_BYTES = 2 * 2**20  # of rows that are handed on at a time
ACCEPTED = (
    "a dataset of UER-py's preprocess.py --data_processor mlm (numbers, lists and tuples alone; nothing in it is run)"
)
KINDS = (
    "{} number(s)", "{} pair(s) of numbers", "a mark", "an empty list", "a list of {} number(s)",
    "a list of {} pair(s)", "a padded list of {} number(s)", *4 * ("a whole record",),
)  # fmt: skip
"""The scanner's kinds, for people."""


def prepare_from_uer(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    vocabulary: Vocabulary,
    sequence_length: int | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Make shards of the rows of UER-py's `mlm` datasets, with static masking undone.

    A document is a [CLS]: UER-py writes one before each, and a corpus cannot hold another. A dataset with static
    masking holds its corpus --dup_factor times (5), so each document counts as often. Rows of nothing but padding are
    left out (older versions wrote one where a document filled its last row).

    Args:
        sources: the .pt files.
        output: the new folder; it appears whole or not at all.
        vocabulary: the one that the datasets were made with.
        sequence_length: the datasets' own; None takes what the first record says.

    Raises:
        UserError: no such file, a record of another form (with its number and byte offset), an id beyond the
            vocabulary, two sequence lengths, no [CLS] anywhere, or anything wrong with the output.
    """
    require_16_bits(vocabulary)
    began = time.monotonic()
    dataset = UerDataset(sources, vocabulary, sequence_length)
    blocks = iter(dataset)
    first = next(blocks, None)
    if first is None:
        raise UserError("no text in it", where=", ".join(map(str, dataset.files)), accepted=ACCEPTED)
    documents = 0
    with (
        new_shards(Path(output), vocabulary, "uer", first.shape[1], words=False, overwrite=overwrite) as shards,
        Progress("prepare", total=dataset.total_bytes / 1e6, unit="MB of files") as progress,
    ):
        for rows in chain([first], blocks):
            shards.write(rows)
            documents += int(np.count_nonzero(rows == vocabulary.cls_id))
            rate = dataset.bytes_read / 1e6 / max(time.monotonic() - began, 1e-9)
            progress.advance(dataset.bytes_read / 1e6 - progress.done, f"{rate:.1f} MB/s")
        if not documents:
            raise UserError(
                f"no record holds [CLS] (id {vocabulary.cls_id})",
                where=", ".join(map(str, dataset.files)),
                action="Name the vocabulary that the dataset was made with: --vocab",
            )
        shards.finish(documents, dataset.bytes_read, dataset.files)
    return Prepared(
        documents, shards.tokens, shards.rows, dataset.bytes_read, time.monotonic() - began, 0.0, str(output)
    )


class UerDataset:
    """The rows of dataset files, read in pieces.

    Iterating gives blocks, [rows, sequence_length] uint16; a block holds until the next one is asked for.

    Attributes:
        files: the files; total_bytes: their size; bytes_read: how much of it has been read.
        sequence_length: of every record; None until the first was read, if it was not given.

    Raises:
        UserError: as `prepare_from_uer`; the constructor for files that cannot be read, the iterator for their content.
    """

    def __init__(
        self, sources: Sequence[str | Path], vocabulary: Vocabulary, sequence_length: int | None = None
    ) -> None:
        self.files = [Path(source) for source in sources]
        self.sequence_length, self.bytes_read = sequence_length, 0
        self._says_length = "the first record" if sequence_length is None else "--seq-length"
        self._vocabulary, self._scratch = vocabulary, scanner.Scratch.new()
        if sequence_length is not None:
            _check_length(sequence_length, "--seq-length")
        self._rows = _room(sequence_length or 0)
        for file in self.files:
            if not file.is_file():
                raise UserError(
                    "this is not a file" if file.exists() else "there is no such file", where=file, accepted=ACCEPTED
                )
        self.total_bytes = sum(file.stat().st_size for file in self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            with open(file, "rb", buffering=0) as stream:
                yield from self._blocks(file, stream)

    def _blocks(self, file: Path, stream: FileIO) -> Iterator[np.ndarray]:
        buffer = np.empty(PIECE_BYTES, np.uint8)
        filled = 0  # bytes in the buffer, which begins with the beginning of a record
        base = 0  # where in the file that is
        records = 0  # before it
        while taken := stream.readinto(buffer[filled:].data):
            self.bytes_read += taken
            filled += taken
            start, status = 0, scanner.GOOD
            while start < filled and status != scanner.CUT_OFF:
                count, read, status, start, at = scanner.read_rows(
                    buffer[:filled], start, self._rows, len(self._vocabulary), self._vocabulary.pad_id, self._scratch
                )
                records += read
                if count:
                    yield self._rows[:count]
                if status == scanner.OTHER_SEQUENCE_LENGTH and self.sequence_length is None:
                    self.sequence_length = self._length()
                    _check_length(self.sequence_length, f"{file}, record {records + 1:,}")
                    self._rows = _room(self.sequence_length)
                elif status not in (scanner.GOOD, scanner.CUT_OFF):
                    raise self._error(file, status, records + 1, base + start, base + at, buffer[at : at + 1].tobytes())
            if start == 0 and filled == PIECE_BYTES:
                raise UserError(
                    f"record {records + 1:,}, which begins at byte {base:,}, has no end within {PIECE_BYTES:,} bytes",
                    where=file, accepted=ACCEPTED,
                )  # fmt: skip
            buffer[: filled - start] = buffer[start:filled]
            base += start
            filled -= start
        if filled:
            raise UserError(
                f"the file ends at byte {base + filled:,}, inside record {records + 1:,} from byte {base:,}",
                where=file, accepted=ACCEPTED, action="Copy or make it again, it is truncated",
            )  # fmt: skip

    def _length(self) -> int:
        """The sequence length of the record just scanned."""
        written = int(self._scratch.counts[0])
        older = self._scratch.kinds[0] >= scanner.DYNAMIC + scanner.OLDER
        return written if older else written + int(self._scratch.numbers[written])

    def _error(self, file: Path, status: int, record: int, start: int, at: int, here: bytes) -> UserError:
        """What to say of a record that begins at byte `start` of the file and is wrong `at` byte `here`."""
        name = (
            next((opcode.name for opcode in opcodes if opcode.code.encode("latin-1") == here), "") or f"0x{here.hex()}"
        )
        if status == scanner.REFUSED and at == start:
            what = f"it begins with {name}, not with PROTO 2 to 5"
        elif status == scanner.REFUSED:
            what = f"{name} comes at byte {at:,} after {self._read_so_far()}"
        elif status == scanner.TOO_MANY:
            what = f"it has more than {scanner.MOST_NUMBERS:,} numbers, at byte {at:,}"
        elif status == scanner.WRONG_FRAME:
            what = f"{name} at byte {at:,} contradicts the length of a frame"
        elif status == scanner.WRONG_MEMO:
            what = f"{name} at byte {at:,} names an object that there is not"
        elif status == scanner.OTHER_SEQUENCE_LENGTH:
            what = (
                f"its sequence length is {self._length():,}, not {self.sequence_length:,} as {self._says_length} says"
            )
        elif status == scanner.WRONG_LENGTH:
            what = "the length that it states is not that of its ids"
        elif status == scanner.WRONG_TARGET:
            what = "a target lies beyond its ids, or where another one does"
        else:
            what = f"id {self._scratch.numbers[0]:,} is beyond the vocabulary of {len(self._vocabulary):,} entries"
        return UserError(
            f"record {record:,}, which begins at byte {start:,}: {what}",
            where=file,
            accepted="a dataset made with this --vocab" if status == scanner.UNKNOWN_ID else ACCEPTED,
        )

    def _read_so_far(self) -> str:
        """The stack of the scanner in words."""
        kinds, counts, top = self._scratch.kinds, self._scratch.counts, int(self._scratch.top[0])
        return ", ".join(KINDS[kinds[i]].format(counts[i]) for i in range(top + 1)) or "nothing"


def _room(sequence_length: int) -> np.ndarray:
    """Rows to fill; a length of 0 stands for one that is not known yet."""
    return np.empty((ROW_BYTES // (2 * max(sequence_length, 1)), sequence_length), np.uint16)


def _check_length(sequence_length: int, where: str) -> None:
    if not SHORTEST_PIECE <= sequence_length <= LONGEST_SEQUENCE:
        raise UserError(
            f"a sequence length of {sequence_length:,}",
            where=where, accepted=f"{SHORTEST_PIECE} to {LONGEST_SEQUENCE:,}",
        )  # fmt: skip
