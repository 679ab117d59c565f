"""A learnt vocabulary: BERT-Chinese's special ids, characters by frequency, word pieces; the same in every process."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from weixing.cli.main import run
from weixing.errors import UserError
from weixing.text import learning
from weixing.text.corpus import CorpusReader
from weixing.text.learning import learn_vocabulary
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

DOCUMENTS = [
    *["今天天气很好，我们去公园玩。"] * 20,
    *["the teacher teaches teaching in the teachers room 2023 2024"] * 15,
    *["カタカナ と Café，①"] * 6,
    "鑫龘\u302e",
    "zzz",
]


@pytest.fixture(scope="module")
def learnt():
    return learn_vocabulary(DOCUMENTS, 1000)


def test_the_ids_of_the_special_tokens_are_those_of_bert_chinese(learnt):
    tokens = learnt.vocabulary.tokens
    assert learnt.vocabulary.special_ids == (0, 100, 101, 102, 103)
    assert tokens[1:100] == tuple(f"[unused{number}]" for number in range(1, 100))


def test_frequent_characters_come_first_and_rare_ones_not_at_all(learnt):
    vocabulary = learnt.vocabulary
    assert vocabulary.id_of("天") < vocabulary.id_of("今") < vocabulary.id_of("カ") < vocabulary.id_of("teachers")
    assert vocabulary.id_of("鑫") is None
    assert {"z", "##z", "#", "9", "##9"} <= set(vocabulary.tokens)


def test_words_are_learnt_in_pieces_and_chinese_characters_apart(learnt):
    tokenizer = Tokenizer(learnt.vocabulary)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode("the teachers teach 公园 カタカナ cafe"))
    assert tokens[:2] == ["the", "teachers"]
    assert tokens[-4:] == ["公", "园", "カタカナ", "cafe"]
    assert not [token for token in learnt.vocabulary.tokens if len(token.strip("#")) > 1 and "天" in token]
    assert not [token for token in learnt.vocabulary.tokens if token == "##天"]


def test_the_counts_are_those_of_the_tokenized_corpus(learnt):
    ids, _ = Tokenizer(learnt.vocabulary).encode_batch(DOCUMENTS)
    assert learnt.documents == len(DOCUMENTS)
    assert (learnt.tokens, learnt.unknown) == (len(ids), np.count_nonzero(ids == learnt.vocabulary.unk_id))
    assert learnt.unknown > 0
    assert learnt.characters == sum(len(token) == 1 for token in learnt.vocabulary.tokens)


def test_where_there_is_no_room_the_most_frequent_characters_stay():
    common, rare = "天地玄黄宇宙洪荒", [chr(code) for code in range(0x4E00, 0x4F00)]
    vocabulary = learn_vocabulary([common * 50, *rare * 5], 256).vocabulary
    assert len(vocabulary) == 256
    assert all(vocabulary.id_of(character) for character in common)
    smaller = Counter(token in rare for token in vocabulary.tokens)
    assert smaller[True] < len(rare)


def test_learning_again_in_other_processes_gives_the_same_vocabulary(tmp_path):
    words = [f"{first}{second}{third}" for first in "abcd" for second in "efgh" for third in "ijkl"]
    (tmp_path / "c.txt").write_text("\n".join(" ".join(words) for _ in range(9)), encoding="utf-8")
    code = (
        "from weixing.text.learning import learn_vocabulary; from weixing.text.corpus import CorpusReader;"
        f"print(learn_vocabulary(CorpusReader([{str(tmp_path / 'c.txt')!r}]), 300).vocabulary.sha256)"
    )
    here = learn_vocabulary(CorpusReader([tmp_path / "c.txt"]), 300).vocabulary.sha256
    for _ in range(2):
        there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert there.stdout.strip() == here


def test_where_there_are_too_many_words_the_rarest_are_forgotten(monkeypatch):
    monkeypatch.setattr(learning, "_MOST_WORDS", 20)
    rare = [f"{first}{second}" for first in "abcdef" for second in "ghijkl"]
    vocabulary = learn_vocabulary(["often " * 50, *[" ".join(rare)] * 6], 1000).vocabulary
    assert vocabulary.id_of("often")
    assert not [word for word in rare if vocabulary.id_of(word)]


@pytest.mark.parametrize(("size", "frequency"), [(255, 5), (65_537, 5), (1000, 0)])
def test_impossible_sizes_are_refused(size, frequency):
    with pytest.raises(UserError, match=r"--size|--min-frequency"):
        learn_vocabulary(DOCUMENTS, size, frequency)


@pytest.fixture
def corpus_file(tmp_path):
    (tmp_path / "c.txt").write_text("\n".join(DOCUMENTS), encoding="utf-8")
    return tmp_path / "c.txt"


def test_the_verb_writes_the_vocabulary_and_prints_one_json_document(tmp_path, corpus_file, capsys, learnt):
    out = tmp_path / "new" / "vocab.txt"
    assert run(["vocab", str(corpus_file), "--out", str(out), "--size", "1000", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert Vocabulary.read(out) == learnt.vocabulary
    assert printed["entries"] == len(learnt.vocabulary)
    assert printed["sha256"] == learnt.vocabulary.sha256
    assert printed["unknown_share"] == learnt.unknown / learnt.tokens
    assert printed["bytes_in"] == corpus_file.stat().st_size


def test_the_verb_says_in_words_what_it_did(tmp_path, corpus_file, capsys):
    assert run(["vocab", str(corpus_file), "--out", str(tmp_path / "v.txt"), "--min-frequency", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"from {len(DOCUMENTS)} documents" in printed
    assert "They cover 100.000% of the corpus'" in printed


def test_the_verb_replaces_nothing_unasked(tmp_path, corpus_file, capsys):
    out = tmp_path / "vocab.txt"
    out.write_text("mine")
    assert run(["vocab", str(corpus_file), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert run(["vocab", str(corpus_file), "--out", str(out), "--overwrite"]) == 0
    assert Vocabulary.read(out).mask_id == 103
