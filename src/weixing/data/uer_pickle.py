"""The pickle records of UER-py's `mlm` datasets, read by a compiled scanner. Pure: bytes in, rows out; no unpickler.

A record is one pickle (protocol 2 to 5) of one of four forms (UER uer/utils/dataset.py, MlmDataset; before commit
505df6b of May 2022 without the padding's length):

    ((src, padding), [length])          ((src, padding), [(position, id), …], [length])       dynamic, static masking
    (src + padding, [length])           (src + padding, [(position, id), …], [length])        the same, older

The scanner knows the few opcodes that these need and keeps no objects: numbers go to one array in the order of the
file, and the stack of the pickle machine holds only what kind of thing lies where, equal ones counted. Each opcode is
a rule on kinds. What no rule allows is refused where it stands, so whatever the bytes are, nothing is called, looked
up or allocated, and time is linear in their number.
"""

from typing import NamedTuple

import numpy as np

from weixing.compiling import compiled
from weixing.data.packing import LONGEST_SEQUENCE

# Kinds on the stack. A run of numbers or of pairs of numbers is one entry with its length; the count of a list is that
# of its items, of PADDED that of its list. LIST has no items yet; the lists of K are of kind LIST + 1 + K.
NUMBER, PAIR, MARK, LIST, NUMBERS, PAIRS, PADDED, DYNAMIC, STATIC = range(9)
OLDER = 2  # added to DYNAMIC and STATIC where src is a plain list
DEPTH = 8  # the deepest record needs 5
MOST_NUMBERS = 3 * LONGEST_SEQUENCE + 2  # src, as many targets, the padding's length, the length

# How a scan ended.
GOOD = 0
CUT_OFF = 1  # the bytes end inside a record
REFUSED = 2  # no such record has this opcode here
TOO_MANY = 3  # more than MOST_NUMBERS numbers
WRONG_FRAME = 4  # it ends inside an opcode or after the record, or one begins inside another
WRONG_MEMO = 5  # an index beyond the objects so far
OTHER_SEQUENCE_LENGTH = 6
WRONG_LENGTH = 7  # the stated length is not that of src
WRONG_TARGET = 8  # beyond the length, or a second one for its position
UNKNOWN_ID = 9  # put into numbers[0]

_PROTO, _FRAME, _STOP, _MARK, _EMPTY_LIST = 0x80, 0x95, 0x2E, 0x28, 0x5D
_BININT, _BININT1, _BININT2 = 0x4A, 0x4B, 0x4D
_APPEND, _APPENDS, _TUPLE2, _TUPLE3 = 0x61, 0x65, 0x86, 0x87
_MEMOIZE, _BINPUT, _LONG_BINPUT = 0x94, 0x71, 0x72
_WIDTHS = np.full(256, -1)  # bytes of the argument, for the opcodes that a record can hold after PROTO
_WIDTHS[[_STOP, _MARK, _EMPTY_LIST, _APPEND, _APPENDS, _TUPLE2, _TUPLE3, _MEMOIZE]] = 0
_WIDTHS[[_BININT1, _BINPUT]] = 1
_WIDTHS[_BININT2] = 2
_WIDTHS[[_BININT, _LONG_BINPUT]] = 4
_WIDTHS[_FRAME] = 8


class Scratch(NamedTuple):
    """What the scanner knows of the record it is in.

    Args:
        numbers: int64 [MOST_NUMBERS], in the order of the file.
        kinds, counts: int64 [DEPTH], the stack. Of a complete record, counts[0] is the length of src, and counts[1]
            that of the list of targets.
        top: int64 [1], index of the last entry of the stack, -1 if it is empty.
    """

    numbers: np.ndarray
    kinds: np.ndarray
    counts: np.ndarray
    top: np.ndarray

    @classmethod
    def new(cls) -> "Scratch":
        """Empty ones."""
        return cls(*(np.zeros(size, np.int64) for size in (MOST_NUMBERS, DEPTH, DEPTH, 1)))


@compiled
def _push(kinds, counts, top, kind):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Put a thing on the stack, a number or pair into the run that lies there; returns the new top."""
    if kind <= PAIR and top >= 0 and kinds[top] == kind:
        counts[top] += 1
        return top
    kinds[top + 1] = kind
    counts[top + 1] = 1 if kind <= PAIR else 0
    return top + 1


@compiled
def _extend(kinds, counts, top, several):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Put the run at `top`, after a mark if it may be `several` things, into the list below it; new top as `_tuple`."""
    below = top - 2 if several else top - 1
    if below < 0 or kinds[top] > PAIR or (kinds[top - 1] != MARK if several else counts[top] != 1):
        return -1
    kind = LIST + 1 + kinds[top]
    if kinds[below] != LIST and kinds[below] != kind:
        return -1
    kinds[below] = kind
    counts[below] += counts[top]
    return below


@compiled
def _tuple(kinds, counts, top, size):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Make a tuple of the last two or three things; returns the new top, or -1 if no record holds such a one."""
    if top >= 0 and size == 2 and kinds[top] == NUMBER and counts[top] > 1:
        counts[top] -= 2
        return _push(kinds, counts, top - 1 if counts[top] == 0 else top, PAIR)
    first = top - size + 1
    if first < 0 or counts[top] != 1:
        return -1
    if size == 2 and kinds[top] == NUMBER and kinds[first] in (NUMBERS, LIST):
        kinds[first] = PADDED
        return first
    older = OLDER if kinds[first] == NUMBERS else 0
    if kinds[top] != NUMBERS or (kinds[first] != PADDED and not older):
        return -1
    if size == 2:
        kinds[first] = DYNAMIC + older
        return first
    if kinds[first + 1] != PAIRS and kinds[first + 1] != LIST:
        return -1
    kinds[first] = STATIC + older
    return first


@compiled
def scan(buffer, start, numbers, kinds, counts):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Read the record that begins at buffer[start]; `numbers`, `kinds` and `counts` are filled as `Scratch` says.

    Returns:
        How it ended; the index after the record, or of the opcode that is wrong; the top of the stack.
    """
    count, top, objects, frame_end, at = 0, -1, 0, -1, start + 2
    if at > len(buffer):
        return CUT_OFF, start, top
    if buffer[start] != _PROTO or not 2 <= buffer[start + 1] <= 5:
        return REFUSED, start, top
    while at < len(buffer):
        opcode = buffer[at]
        width = _WIDTHS[opcode]
        if width < 0 or top + 1 == DEPTH:
            return REFUSED, at, top
        after = at + 1 + width
        if after > len(buffer):
            break
        argument = np.int64(0)
        for i in range(width):
            argument |= np.int64(buffer[at + 1 + i]) << 8 * i
        if opcode in (_BININT1, _BININT2, _BININT):
            if argument >= 1 << 31:  # BININT is signed, and a negative number is none of ours
                return REFUSED, at, top
            if count == MOST_NUMBERS:
                return TOO_MANY, at, top
            numbers[count] = argument
            count += 1
            top = _push(kinds, counts, top, NUMBER)
        elif opcode in (_MARK, _EMPTY_LIST):
            top = _push(kinds, counts, top, MARK if opcode == _MARK else LIST)
            objects += opcode == _EMPTY_LIST
        elif opcode in (_APPEND, _APPENDS, _TUPLE2, _TUPLE3):
            if opcode in (_APPEND, _APPENDS):
                below = _extend(kinds, counts, top, opcode == _APPENDS)
            else:
                below = _tuple(kinds, counts, top, 2 if opcode == _TUPLE2 else 3)
                objects += 1
            if below < 0:
                return REFUSED, at, top
            top = below
        elif opcode in (_MEMOIZE, _BINPUT, _LONG_BINPUT):
            if top < 0 or kinds[top] == MARK:
                return REFUSED, at, top
            if argument >= max(objects, 1):
                return WRONG_MEMO, at, top
        elif opcode == _FRAME:
            if argument < 0 or frame_end not in (-1, at):
                return WRONG_FRAME, at, top
            if argument > len(buffer) - after:
                break
            frame_end = after + argument
        else:  # STOP
            if top != 0 or kinds[0] < DYNAMIC:
                return REFUSED, at, top
            if frame_end not in (-1, after):
                return WRONG_FRAME, at, top
            return GOOD, after, top
        at = after
    return CUT_OFF, at, top


@compiled
def read_rows(buffer, start, rows, vocabulary_size, pad, scratch):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Read records into rows, until either end.

    Args:
        buffer: uint8 [bytes].
        start: where in `buffer` a record begins.
        rows: uint16 [R, T]. Filled from the first one on: the original ids where static masking replaced them.
        vocabulary_size: no id may reach it.
        pad: id of the padding.
        scratch: for the scanner.

    Returns:
        Rows filled, records read (one without any id fills no row), status, where the record after those begins, and
        where the reading of that ended.
    """
    length = rows.shape[1]
    row, records, at = 0, 0, start
    while row < len(rows) and start < len(buffer):
        status, at, scratch.top[0] = scan(buffer, start, scratch.numbers, scratch.kinds, scratch.counts)
        if status == GOOD:
            status = _fill(rows[row], scratch, length, vocabulary_size, pad)
        if status != GOOD:
            return row, records, status, start, at
        row += scratch.counts[0] > 0
        records += 1
        start = at
    return row, records, GOOD, start, at


@compiled
def _fill(row, scratch, length, vocabulary_size, pad):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Write the ids of a scanned record into `row`; sets scratch.counts[0] to their number without padding."""
    numbers, counts, kind = scratch.numbers, scratch.counts, scratch.kinds[0]
    older, static = kind >= DYNAMIC + OLDER, kind in (STATIC, STATIC + OLDER)
    written = counts[0]
    if written + (0 if older else numbers[written]) != length:
        return OTHER_SEQUENCE_LENGTH
    targets = counts[1] if static else 0
    first_target = written if older else written + 1
    stated = numbers[first_target + 2 * targets]
    if stated > written or (stated < written and not older):
        return WRONG_LENGTH
    for i in range(stated):
        row[i] = numbers[i]
    row[stated:] = pad
    for i in range(stated, written):
        if numbers[i] != pad:
            return WRONG_LENGTH
    for target in range(targets):
        position, original = numbers[first_target + 2 * target], numbers[first_target + 2 * target + 1]
        if position >= stated or numbers[position] < 0:
            return WRONG_TARGET
        row[position] = original
        numbers[position] = -1 - original  # there is no second one for it
    for i in range(stated):
        value = numbers[i] if numbers[i] >= 0 else -1 - numbers[i]
        if value >= vocabulary_size:
            numbers[0] = value
            return UNKNOWN_ID
    counts[0] = stated
    return GOOD
