"""Packing: from documents (token ids) to rows of one sequence length. Pure: arrays in, arrays out.

Values are token ids, or ids with flags in higher bits (whole-word borders travel that way), so one code packs both.
"""

import numpy as np

from weixing.compiling import compiled
from weixing.recipes import Layout

SHORTEST_PIECE = 3  # [CLS], one token, [SEP]
LONGEST_SEQUENCE = 4_096


class RowPacker:
    """Turns a stream of documents into rows; what doesn't fill a row yet waits for the next call.

    Layout ``packed``: rows are filled with pieces ``[CLS] … [SEP]``, one after another, each from one document; a
    document that does not fit goes on in the next row with a [CLS] of its own. Every row starts with [CLS] and ends
    with [SEP]; a room of one or two positions, too small for a piece, is filled with further [SEP]. Only the last
    row of all can hold padding. A [CLS] inside a row marks a document border.

    Layout ``uer``: the line ``[CLS] … [SEP]`` is cut into windows of the sequence length and the last one is padded
    (UER uer/utils/dataset.py, MlmDataset without --full_sentences): only a document's first window has the [CLS],
    only its last one the [SEP].

    Args:
        layout: ``packed`` or ``uer``.
        sequence_length: positions a row, at least 3.
        cls, sep, pad: the values written for [CLS], [SEP] and padding.
        dtype: of the rows.
    """

    def __init__(
        self, layout: Layout, sequence_length: int, *, cls: int, sep: int, pad: int, dtype: type = np.uint16
    ) -> None:
        self.layout = layout
        self._specials: np.ndarray = np.array([cls, sep, pad], dtype)
        self._row: np.ndarray = np.full(sequence_length, pad, dtype)
        self._filled = 0

    def add(self, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Pack documents and return the rows completed by them.

        Args:
            values: [N] the documents' values, one after another.
            offsets: [documents + 1] int64; document d is ``values[offsets[d]:offsets[d + 1]]``, not empty.

        Returns:
            [rows, sequence_length] rows, in the documents' order.
        """
        length = len(self._row)
        lengths = np.diff(offsets)
        if self.layout == "uer":
            rows = np.empty((int(np.sum(-(-(lengths + 2) // length))), length), self._row.dtype)
            _cut_windows(values, offsets, self._specials, rows)
            return rows
        # A row completed here holds at least one value of these documents, at most two specials for each piece and
        # two more at its end, and there are no more pieces than documents and rows together.
        most = min((self._filled + len(values) + 2 * len(lengths)) // max(1, length - 4), len(values)) + 1
        rows = np.empty((most + 1, length), self._row.dtype)
        rows[0] = self._row
        count, self._filled = _fill_rows(values, offsets, self._specials, self._filled, rows)
        self._row[:] = rows[count]
        return rows[:count]

    def waiting(self) -> np.ndarray:
        """The values, specials among them, of the row that is not full yet."""
        return self._row[: self._filled].copy()

    def go_on(self, waiting: np.ndarray) -> None:
        """Be as a packer that had these values `waiting`."""
        self._row[: len(waiting)] = waiting
        self._filled = len(waiting)

    def finish(self) -> np.ndarray:
        """The last, partly filled row, padded: [0 or 1, sequence_length]. The packer is empty afterwards."""
        row = self._row.copy()
        row[self._filled :] = self._specials[2]
        rows = row[np.newaxis][: 1 if self._filled else 0]
        self._filled = 0
        return rows


@compiled
def _cut_windows(values, offsets, specials, rows):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    length = rows.shape[1]
    row = 0
    for document in range(len(offsets) - 1):
        start, stop = offsets[document], offsets[document + 1]
        whole = stop - start + 2
        for begin in range(0, whole, length):
            for column in range(length):
                at = begin + column
                if at >= whole:
                    rows[row, column] = specials[2]
                elif at == 0:
                    rows[row, column] = specials[0]
                elif at == whole - 1:
                    rows[row, column] = specials[1]
                else:
                    rows[row, column] = values[start + at - 1]
            row += 1


@compiled
def _fill_rows(values, offsets, specials, filled, rows):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    length = rows.shape[1]
    count = 0
    for document in range(len(offsets) - 1):
        at, stop = offsets[document], offsets[document + 1]
        while at < stop:
            taken = min(length - filled - 2, stop - at)
            row = rows[count]
            row[filled] = specials[0]
            target, source = row[filled + 1 : filled + 1 + taken], values[at : at + taken]
            for i in range(len(target)):
                target[i] = source[i]
            row[filled + 1 + taken] = specials[1]
            at += taken
            filled += taken + 2
            if length - filled < SHORTEST_PIECE:
                row[filled:] = specials[1]
                count += 1
                filled = 0
    return count, filled
