"""The bulk tokenizer's inner loop: BERT WordPiece straight on UTF-8 bytes, compiled by numba.

`compile_tables` turns a vocabulary into flat arrays, `encode_bytes` walks many texts with them. It holds no lock and
shares no state, so ranges of texts may be encoded in threads. No strings, no files (but numba's compile cache).

An action is an int32 for each code point: an id (a word by itself), DROP, SPACE, IRREGULAR, or PART_BASE - s for a part
of a word, where s is its symbol. A symbol is a character of the vocabulary that is no word by itself, numbered from 1;
all others are symbol 0. The word pieces are a trie with symbols on its edges, the edges are a hash table.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from weixing.compiling import compiled
from weixing.text import code_points as table

DROP, SPACE, IRREGULAR, PART_BASE = -1, -2, -3, -4
LONGEST_WORD = 100  # characters; a longer one is [UNK] (tokenizers' max_input_chars_per_word)
FIRST, CONTINUED = 0, 1  # trie roots: pieces that start a word, and pieces written with ##
NO_TOKEN = -1


class Tables(NamedTuple):
    """A vocabulary for `encode_bytes`.

    Args:
        actions: int32 [0x110000]. PART_BASE - symbols - e means the two or three symbols expansions[e].
        expansions: int32 [E, 3], -1-padded.
        edges: int64 [K], keys node * symbols + symbol of the hash table, -1 where empty; K is a power of two.
        children: int32 [K], the node that the edge leads to.
        token_of_node: int32 [nodes], the id of the piece that ends here, or NO_TOKEN.
        symbols: number of symbols, symbol 0 included.
        unk: id of [UNK].
    """

    actions: np.ndarray
    expansions: np.ndarray
    edges: np.ndarray
    children: np.ndarray
    token_of_node: np.ndarray
    symbols: int
    unk: int


def compile_tables(tokens: Iterable[str], unk: int) -> Tables:
    """The tables of a vocabulary with these entries, in the order of their ids."""
    points = table.code_points()
    single, part = points.kind == table.SINGLE, points.kind == table.PART

    id_of_character = np.full(table.CODE_POINTS, unk, np.int32)
    tokens = list(tokens)
    characters = {character for character in set("".join(tokens)) if not single[ord(character)]}
    symbol_of = {character: symbol for symbol, character in enumerate(sorted(characters), 1)}
    symbols = len(characters) + 1
    node_after: dict[int, int] = {}  # the trie: node * symbols + symbol → child
    token_of_node: dict[int, int] = {}
    for token_id, token in enumerate(tokens):
        if len(token) == 1:
            id_of_character[ord(token)] = token_id
        continued = token.startswith("##")
        body = token[2:] if continued else token
        if not body or not characters.issuperset(body):
            continue  # no text comes to this entry: ##汉, [MASK]
        node = CONTINUED if continued else FIRST
        for character in body:
            node = node_after.setdefault(node * symbols + symbol_of[character], len(node_after) + 2)
        token_of_node[node] = token_id

    symbol_of_character = np.zeros(table.CODE_POINTS, np.int32)
    symbol_of_character[list(map(ord, symbol_of))] = list(symbol_of.values())
    actions = np.where(part, PART_BASE - symbol_of_character[points.normalised], DROP).astype(np.int32)
    actions[points.kind == table.SPACE] = SPACE
    actions[points.kind == table.IRREGULAR] = IRREGULAR
    actions[single] = id_of_character[points.normalised[single]]
    code_point, expansion = points.expansions[:, 0], points.expansions[:, 1:]
    regular = part[code_point]
    actions[code_point[regular]] = PART_BASE - symbols - np.flatnonzero(regular)
    expansions = np.where(expansion > 0, symbol_of_character[expansion], -1).astype(np.int32)

    token_at = np.full(len(node_after) + 2, NO_TOKEN, np.int32)
    token_at[list(token_of_node)] = list(token_of_node.values())
    edges, children = _hash_table(np.array(list(node_after), np.int64), np.array(list(node_after.values()), np.int32))
    return Tables(actions, expansions, edges, children, token_at, symbols, unk)


_MULTIPLIER = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: spreads neighbouring keys (Knuth, vol. 3, 6.4)


def _hash_table(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing with linear probing, at most a quarter full."""
    size = 1 << max(4, (4 * len(keys)).bit_length())
    slot_keys, slot_values = np.full(size, -1, np.int64), np.zeros(size, np.int32)
    slots = ((keys.astype(np.uint64) * np.uint64(_MULTIPLIER)) >> np.uint64(32)).astype(np.int64) & (size - 1)
    pending = np.arange(len(keys))
    while len(pending):
        free = pending[slot_keys[slots[pending]] == -1]
        slot_keys[slots[free]] = keys[free]  # where two want one slot, the last one has it
        won = free[slot_keys[slots[free]] == keys[free]]
        slot_values[slots[won]] = values[won]
        pending = np.setdiff1d(pending, won, assume_unique=True)
        slots[pending] = (slots[pending] + 1) & (size - 1)
    return slot_keys, slot_values


@compiled
def is_utf8(buffer):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Whether all of `buffer`, uint8 [n], is UTF-8. Becomes vector code: a byte and the three before it say enough."""
    wrong = False
    one, two, three = buffer[1:], buffer[2:], buffer[3:]
    for i in range(len(three)):
        wrong |= _is_wrong(buffer[i], one[i], two[i], three[i])
    for edge in (0, len(buffer)):  # as if zeros were before and after
        for i in range(edge, edge + 3):
            wrong |= _is_wrong(_at(buffer, i - 3), _at(buffer, i - 2), _at(buffer, i - 1), _at(buffer, i))
    return not wrong


@compiled
def _at(buffer, i):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    return buffer[i] if 0 <= i < len(buffer) else np.uint8(0)


@compiled
def _is_wrong(back_3, back_2, back_1, byte):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Whether `byte` cannot stand in UTF-8 after these three (Unicode 16, table 3-7)."""
    continues = (byte >= 0x80) & (byte < 0xC0)
    wrong = continues != ((back_1 >= 0xC0) | (back_2 >= 0xE0) | (back_3 >= 0xF0))
    wrong |= (byte == 0xC0) | (byte == 0xC1) | (byte > 0xF4)
    wrong |= ((back_1 == 0xE0) & (byte < 0xA0)) | ((back_1 == 0xF0) & (byte < 0x90))  # more bytes than it takes
    wrong |= ((back_1 == 0xED) & (byte > 0x9F)) | ((back_1 == 0xF4) & (byte > 0x8F))  # half a pair; above U+10FFFF
    return wrong


@compiled
def _child(edges, children, symbols, node, symbol):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """The node that `symbol` leads to from `node`, or -1."""
    key = node * symbols + symbol
    mask = np.uint64(len(edges) - 1)
    slot = ((np.uint64(key) * np.uint64(_MULTIPLIER)) >> np.uint64(32)) & mask
    while edges[slot] != key:
        if edges[slot] == -1:
            return -1
        slot = (slot + np.uint64(1)) & mask
    return np.int64(children[slot])


@compiled
def _encode_word(word, length, tables, ids, count):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Append the word pieces of word[:length] to ids[:count], longest first match; returns the new count."""
    if length > LONGEST_WORD:
        ids[count] = tables.unk
        return count + 1
    start, end, root = 0, count, FIRST
    while start < length:
        node, token, after = root, NO_TOKEN, start
        for position in range(start, length):
            node = _child(tables.edges, tables.children, tables.symbols, node, word[position])
            if node < 0:
                break
            if tables.token_of_node[node] != NO_TOKEN:
                token, after = tables.token_of_node[node], position + 1
        if token == NO_TOKEN:
            ids[count] = tables.unk
            return count + 1
        ids[end] = token
        end += 1
        start, root = after, CONTINUED
    return end


@compiled
def _decode(buffer, position):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """The code point that starts at buffer[position], and how many bytes it takes."""
    one = np.uint64(1)
    first = np.uint32(buffer[position])
    if first < 0x80:
        return first, one
    second = np.uint32(buffer[position + one]) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, np.uint64(2)
    third = np.uint32(buffer[position + np.uint64(2)]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, np.uint64(3)
    fourth = np.uint32(buffer[position + np.uint64(3)]) & 0x3F
    return (first & 0x07) << 18 | second << 12 | third << 6 | fourth, np.uint64(4)


@compiled
def encode_bytes(buffer, offsets, tables, ids, id_offsets, irregular):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Encode the texts buffer[offsets[i]:offsets[i + 1]].

    Args:
        buffer: uint8, valid UTF-8.
        offsets: int64 [texts + 1], in bytes, each at the border of a character.
        tables: Tables of the vocabulary.
        ids: int32, room for as many ids as there are bytes. Filled.
        id_offsets: int64 [texts + 1]. Filled: the ids of text i are ids[id_offsets[i]:id_offsets[i + 1]].
        irregular: bool [texts]. Filled: True for a text that holds an IRREGULAR code point; its ids break off there.

    Returns:
        The number of ids.
    """
    actions = tables.actions
    word = np.empty(LONGEST_WORD, np.int64)
    count = 0
    id_offsets[0] = 0
    for text in range(len(offsets) - 1):
        position, end = np.uint64(offsets[text]), np.uint64(offsets[text + 1])
        length = 0  # of the word that is being read
        irregular[text] = False
        while position < end:
            code_point, width = _decode(buffer, position)
            position += width
            action = actions[code_point]
            if action <= PART_BASE:
                symbol = PART_BASE - action
                if symbol < tables.symbols:
                    if length < LONGEST_WORD:
                        word[length] = symbol
                    length += 1
                else:
                    for each in tables.expansions[symbol - tables.symbols]:
                        if each >= 0:
                            if length < LONGEST_WORD:
                                word[length] = each
                            length += 1
            elif action != DROP:
                if length:
                    count = _encode_word(word, length, tables, ids, count)
                    length = 0
                if action >= 0:
                    ids[count] = action
                    count += 1
                elif action == IRREGULAR:
                    irregular[text] = True
                    break
        if length:
            count = _encode_word(word, length, tables, ids, count)
        id_offsets[text + 1] = count
    return count
