"""The tokenizer promises the ids of the Rust library and of transformers, for any text, in bulk or in threads."""

import json
import threading
from itertools import pairwise, product

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from weixing.errors import UserError
from weixing.text import bulk
from weixing.text.code_points import CODE_POINTS, IRREGULAR, SURROGATES, code_points
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary


def rust_ids(tokenizer: Tokenizer, texts: list[str], specials: bool = False) -> list[list[int]]:
    """The ids of the Rust library, put together here and not by the code under test."""
    rust = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({t: i for i, t in enumerate(tokenizer.vocabulary.tokens)}, unk_token="[UNK]")
    )
    rust.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    rust.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    if specials:
        rust.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return [encoding.ids for encoding in rust.encode_batch(texts, add_special_tokens=False)]


def bulk_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of the compiled loop, whatever the size of the batch."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    ids, id_offsets = tokenizer.encode_bytes(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    assert ids.dtype == np.int32
    assert id_offsets.dtype == np.int64
    return [ids[a:b].tolist() for a, b in pairwise(id_offsets)]


def assert_equal(tokenizer: Tokenizer, texts: list[str]) -> None:
    for text, ours, theirs in zip(texts, bulk_ids(tokenizer, texts), rust_ids(tokenizer, texts), strict=True):
        assert ours == theirs, ascii(text[:200])


def test_every_code_point_alone_and_in_context_has_the_ids_of_the_rust_library(wide):
    kind = code_points().kind
    regular = [chr(code) for code in range(CODE_POINTS) if code not in SURROGATES and kind[code] != IRREGULAR]
    # White space keeps the cases apart, so that a text may hold the cases of a thousand code points.
    texts = [
        " ".join(f"{character} 中{character}a" for character in regular[start : start + 1000])
        for start in range(0, len(regular), 1000)
    ]
    texts += [text for code in np.flatnonzero(kind == IRREGULAR) for text in (chr(code), f"中{chr(code)}a")]
    assert_equal(wide, texts)


POOLS = [
    list("的一是不了在人有我他这中大来上国说"),
    list("，。！？、；：“”‘’（）《》…—·"),
    list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    list("0123456789"),
    list(" \t\n\r\u3000\xa0\u2028\u200b\ufeff\x00\x7f\ufffd"),
    list("éÉñüßŒİıĐΑΣςйЁガぱﬁＡ９①℃²€한국ᄒ𝒜"),
    list("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
    list("\u0301\u0323\u3099\u20dd\u093e\u0bbe\u09c7\u0b4b\u102c"),
    list("\u302e\u302f\u1b44\U0001d165\U0001d16d\U0001e944"),
    list("豈更\U0002f800𠀀𪚥㐀々〇😂👍🏻\u200d❤\ufe0f🇨🇳"),
    ["the", "ing", "tion", "2024", "[MASK]", "[SEP]", "[UNK]", "##a", "http://", "wechat", "a" * 99, "b" * 50],
]


def mixed_strings(seed: int, count: int) -> list[str]:
    """Strings of runs from a few pools each, with now and then any code point at all."""
    random = np.random.default_rng(seed)
    strings = []
    for _ in range(count):
        pools = [POOLS[i] for i in random.integers(len(POOLS), size=random.integers(1, 4))]
        parts = []
        for _ in range(random.integers(0, 12)):
            pool = pools[random.integers(len(pools))]
            parts += [pool[i] for i in random.integers(len(pool), size=random.integers(1, 5))]
            if random.random() < 0.05:
                code = int(random.integers(CODE_POINTS))
                parts.append("" if code in SURROGATES else chr(code))
        strings.append("".join(parts))
    return strings


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_mixed_strings_have_the_ids_of_the_rust_library(wide, seed):
    assert_equal(wide, mixed_strings(seed, 5_000))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(max_size=30), max_size=40))
def test_any_strings_have_the_ids_of_the_rust_library(builtin, texts):
    assert_equal(builtin, texts)


@pytest.mark.parametrize("length", [99, 100, 101, 250])
@pytest.mark.parametrize("letter", ["a", "Ａ", "é", "가", "字"])
def test_words_of_more_than_a_hundred_characters_are_unknown(wide, letter, length):
    texts = [letter * length, f"x {letter * length}\u0301 y"]
    assert_equal(wide, texts)
    if letter in "aé":
        assert (wide.encode(texts[0]) == [wide.vocabulary.unk_id]) == (length > 100)


def test_a_vocabulary_in_odd_order_with_unreachable_and_overlapping_entries_gives_the_same_ids():
    tokens = [
        "##b",
        "ab",
        "[MASK]",
        "##bc",
        "##cd",
        "abcde",
        "a",
        "##汉",
        "汉",
        "X",
        "[UNK]",
        "##",
        "[SEP]",
        "##d",
        "#",
    ]
    tokenizer = Tokenizer(Vocabulary([*tokens, "[CLS]", "[PAD]", "B", "éa", "##c", "汉字", "a b"]))
    words = ["ab", "abcd", "abcde", "abcdx", "abbb", "b", "汉", "汉字", "x汉", "#", "##", "##b", "X", "éa", "a b", ""]
    assert_equal(tokenizer, words)
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("ABCD 汉字")) == ["ab", "##cd", "汉", "[UNK]"]


def test_no_text_and_empty_texts_are_encoded(builtin):
    assert bulk_ids(builtin, ["", "中", ""]) == [[], [builtin.vocabulary.id_of("中")], []]
    for texts in ([], ["", ""]):
        ids, offsets = builtin.encode_batch(texts)
        assert ids.tolist() == []
        assert offsets.tolist() == [0] * (len(texts) + 1)


@pytest.mark.parametrize(
    ("repeat", "compiled"), [(1, False), (1, True), (20_000, False)], ids=["few texts", "few, compiled", "many texts"]
)
@pytest.mark.parametrize("specials", [False, True])
def test_a_batch_is_its_texts_one_by_one(builtin, specials, repeat, compiled):
    texts = ["中国的首都是[MASK]京。", "Hello\u302e wORLD", "", "[CLS]甲[SEP]乙[sep]", "  ", "①[UNK][PAD]"] * repeat
    fresh = Tokenizer(builtin.vocabulary, bulk=compiled)
    ids, offsets = fresh.encode_batch(texts, specials=specials)
    expected = rust_ids(builtin, texts[:6], specials)
    assert [fresh.encode(text, specials=specials) for text in texts[:6]] == expected
    assert ids.dtype == np.int32
    assert offsets.dtype == np.int64
    assert np.array_equal(np.diff(offsets), [len(row) for row in expected] * repeat)
    assert np.array_equal(ids, np.tile(np.concatenate(expected), repeat).astype(np.int32))


def test_special_tokens_in_a_corpus_are_ordinary_text(builtin):
    mask = builtin.vocabulary.mask_id
    assert builtin.decode(builtin.encode("[MASK]")) == "[ mask ]"
    assert builtin.encode("[MASK]", specials=True) == [mask]
    assert mask not in builtin.encode_batch(["[MASK]" * 100_000])[0]


def test_ranges_of_texts_can_be_encoded_in_threads(builtin):
    encoded = [text.encode() for text in mixed_strings(7, 4_000)]
    offsets = np.cumsum([0, *map(len, encoded)])
    buffer = np.frombuffer(b"".join(encoded), np.uint8)
    whole, _ = builtin.encode_bytes(buffer, offsets)
    parts: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        parts[number] = builtin.encode_bytes(buffer, offsets[number * 1000 : number * 1000 + 1001])[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(np.concatenate([parts[number] for number in range(4)]), whole)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_bytes_are_taken_for_utf8_exactly_where_python_does():
    edges = [0x00, 0x0A, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED]
    edges += [0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF]
    cases = [b"", *(bytes([i]) for i in range(256)), *(bytes([i, j]) for i in range(256) for j in range(256))]
    cases += [bytes(four) for four in product(edges, edges, edges, [0x41, 0x7F, 0x80, 0xBF, 0xC2, 0xF0])]
    wrong = [data for data in cases if bulk.is_utf8(np.frombuffer(data, np.uint8)) != is_utf8(data)]
    assert wrong == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200), changed=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=3))
def test_one_wrong_byte_anywhere_is_found(text, changed):
    data = bytearray(text.encode())
    for place, byte in changed:
        data[place : place + 1] = bytes([byte])
    assert bulk.is_utf8(np.frombuffer(bytes(data), np.uint8)) == is_utf8(bytes(data))


def test_bytes_that_are_not_utf8_are_not_encoded(builtin):
    buffer = np.frombuffer("中国\n甲".encode() + b"\xe4\xb8", np.uint8)
    with pytest.raises(UnicodeDecodeError, match="position 10"):
        builtin.encode_bytes(buffer, np.array([0, 7, len(buffer)]))
    ids, _ = builtin.encode_bytes(buffer, np.array([0, 7, 10]))
    assert ids.tolist() == builtin.encode("中国甲")


@pytest.mark.parametrize("texts", [["ok", "a\ud83d"], ["a\ud83d" * 400_000]], ids=["few", "many"])
def test_half_a_surrogate_pair_is_refused(builtin, texts):
    with pytest.raises(UserError, match=r"U\+D83D, as character 1"):
        Tokenizer(builtin.vocabulary).encode_batch(texts)


@pytest.fixture(scope="module")
def transformers_tokenizer(builtin, tmp_path_factory) -> BertTokenizer:
    folder = tmp_path_factory.mktemp("model")
    builtin.vocabulary.write(folder / "vocab.txt")
    return BertTokenizer.from_pretrained(folder)


TEXTS = ["中国的首都是[MASK]京。", "Hello, World! don't", "12.5% (x)  playing 视频game", "[CLS] 甲 [SEP]", "ﾊﾟ②龘"]


@pytest.mark.parametrize("text", TEXTS)
def test_transformers_gives_the_same_ids_and_the_same_text_back(builtin, transformers_tokenizer, text):
    ids = transformers_tokenizer.encode(text, add_special_tokens=False)
    assert builtin.encode(text, specials=True) == ids
    assert builtin.decode(ids) == transformers_tokenizer.decode(ids)
    assert builtin.decode(np.array(ids), skip_specials=True) == transformers_tokenizer.decode(
        ids, skip_special_tokens=True
    )


def test_the_exported_tokenizer_is_the_one_transformers_would_build(builtin, transformers_tokenizer):
    ours = json.loads(builtin.hugging_face().to_str())
    assert ours == json.loads(transformers_tokenizer.backend_tokenizer.to_str())
    pair = builtin.hugging_face().encode("甲", "乙")
    assert pair.ids == transformers_tokenizer("甲", "乙")["input_ids"]
    assert pair.type_ids == [0, 0, 0, 1, 1]
