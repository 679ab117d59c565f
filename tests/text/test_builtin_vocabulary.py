"""The built-in vocabulary never changes, wastes no entry, and covers the Hanzi of the standards."""

import hashlib

import numpy as np
import pytest
from transformers import BertTokenizer

from weixing.text.builtin_vocabulary import HANZI, SYMBOLS, WORDS, builtin_tokens
from weixing.text.vocabulary import Vocabulary, load_vocabulary

# Shards, checkpoints and published models depend on the ids: a change of this value breaks them all.
SHA256 = "adf1c3d44ba1bace5c14f3017183d87b4e64d8a87cf6bc3c9aecb06708006385"


def test_the_built_in_vocabulary_never_changes():
    assert Vocabulary(builtin_tokens()).sha256 == SHA256
    assert hashlib.sha256("".join(f"{token}\n" for token in builtin_tokens()).encode()).hexdigest() == SHA256


def test_special_tokens_have_the_ids_of_bert_chinese():
    tokens = builtin_tokens()
    assert tokens[0] == "[PAD]"
    assert list(tokens[1:100]) == [f"[unused{number}]" for number in range(1, 100)]
    assert tokens[100:104] == ("[UNK]", "[CLS]", "[SEP]", "[MASK]")


def test_the_size_suits_matrix_products_and_sixteen_bits():
    assert len(builtin_tokens()) % 64 == 0
    assert len(builtin_tokens()) <= 16_384
    assert len(set(builtin_tokens())) == len(builtin_tokens())


def test_tokenization_can_produce_every_entry(builtin):
    vocabulary = builtin.vocabulary
    ordinary = [token for token in vocabulary.tokens if not token.startswith("[") or token == "["]
    # A piece ##x is seen after a letter that starts no longer entry.
    texts = ["ы" + token[2:] if token.startswith("##") and len(token) > 2 else token for token in ordinary]
    ids, offsets = builtin.encode_batch(texts)
    last = ids[offsets[1:] - 1]
    unreachable = [token for token, got in zip(ordinary, last, strict=True) if vocabulary.tokens[got] != token]
    assert unreachable == []
    assert len(vocabulary) - len(ordinary) == 5 + 99 + 59  # specials, [unused] at the head, the fill at the end


@pytest.mark.parametrize(("encoding", "first", "last"), [("gb2312", 0xB0A1, 0xF7FE), ("big5", 0xA440, 0xC67E)])
def test_every_hanzi_of_the_standards_has_an_entry(builtin, encoding, first, last):
    hanzi = "".join(code.to_bytes(2, "big").decode(encoding, errors="ignore")[:1] for code in range(first, last + 1))
    hanzi = "".join(character for character in hanzi if "\u4e00" <= character <= "\u9fff")
    assert len(hanzi) == {"gb2312": 6763, "big5": 5401}[encoding]
    assert builtin.vocabulary.unk_id not in builtin.encode(hanzi)


def test_no_word_of_common_characters_is_unknown(builtin):
    text = (
        "Internationalization、ｆｕｌｌ－ｗｉｄｔｈ１２３、naïve café、ガギグ ぱ、ΑΒΓάέ、Ёлка、25℃、100㎡、①②③、"
        "二〇〇八年、😂😂、x²+y³、www.example.com/a?b=c&d=1、3.14159、2024-05-06、€100、C++、「正體字」、“引号”……"
    )
    assert builtin.vocabulary.unk_id not in builtin.encode(text)


def test_no_chinese_character_continues_a_word():
    assert not [token for token in builtin_tokens() if token.startswith("##") and "\u4e00" <= token[2:] <= "\u9fff"]


def test_lists_made_by_hand_hold_nothing_twice():
    for entries in (list((SYMBOLS + HANZI).replace("\n", "")), WORDS.split()):
        assert len(entries) == len(set(entries))


def test_transformers_reads_the_same_ids_from_the_written_file(tmp_path):
    vocabulary = load_vocabulary("builtin")
    vocabulary.write(tmp_path / "vocab.txt")
    theirs = BertTokenizer.from_pretrained(tmp_path).get_vocab()
    assert sorted(theirs, key=theirs.__getitem__) == list(vocabulary.tokens)
    assert np.array_equal(sorted(theirs.values()), np.arange(len(vocabulary)))
