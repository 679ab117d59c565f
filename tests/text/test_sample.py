"""The sample corpus and its tasks promise: enough hand-written text, the same for a seed, and honest halves."""

import itertools

import pytest

from weixing.text.sample.generator import (
    handwritten_sentences,
    handwritten_topics,
    held_out_texts,
    sample_documents,
    sample_task,
)
from weixing.text.sample.make_tasks import make_task
from weixing.text.sample.pairs import matters
from weixing.text.sample.tables import FACT_TABLES, read_tables


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(sample_documents())


def rows_of(name: str, half: str) -> list[list[str]]:
    text = (sample_task(name) / f"{half}.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def test_there_are_over_two_thousand_different_handwritten_sentences():
    sentences = [sentence for topic in handwritten_topics() for sentence in handwritten_sentences(topic)]
    assert len(sentences) == len(set(sentences)) >= 2_000


def test_a_few_megabytes_of_documents_of_two_to_twelve_sentences(documents):
    size = sum(len(document.encode()) + 1 for document in documents)
    assert 3_990_000 < size <= 4_000_000
    assert not any("\n" in document or "{" in document for document in documents)
    assert len(set(documents)) > 0.9 * len(documents)


def test_every_handwritten_sentence_is_in_the_corpus(documents):
    text = "\n".join(documents)
    missing = [s for topic in handwritten_topics() for s in handwritten_sentences(topic) if s not in text]
    assert missing == []


def test_the_seed_decides_the_corpus():
    first, same, other = (list(itertools.islice(sample_documents(seed=seed), 200)) for seed in (7, 7, 8))
    assert first == same
    assert first != other


def test_the_corpus_says_what_the_capital_of_china_is_in_several_wordings(documents):
    text = "\n".join(documents)
    assert text.count("中国的首都是北京") >= 20
    assert sum(len(table.patterns) for name in FACT_TABLES for table in read_tables(name)) >= 60


@pytest.mark.parametrize(("name", "columns"), [("sentiment", 2), ("pairs", 3)])
def test_task_files_are_what_their_program_makes_balanced_and_without_overlap(name, columns):
    made = make_task(name)
    seen: set[str] = set()
    for half in ("train", "dev"):
        assert (sample_task(name) / f"{half}.tsv").read_text(encoding="utf-8") == made[half]
        header, *rows = rows_of(name, half)
        assert header == ["label", "text_a", "text_b"][:columns]
        assert {len(row) for row in rows} == {columns}
        labels = [row[0] for row in rows]
        assert labels.count("0") == labels.count("1")
        texts = [text for row in rows for text in row[1:]]
        assert seen.isdisjoint(texts)
        seen.update(texts)


def test_no_dev_text_is_in_the_corpus(documents):
    held_out = held_out_texts()
    assert len(held_out) >= 1_000
    text = "\n" + "\n".join(documents)
    # As a sentence: 二月是冬天。 may be the end of 十二月是冬天。
    assert [dev for dev in held_out if any(before + dev in text for before in "\n。！？”")] == []


def test_the_two_halves_of_pairs_have_no_wording_in_common():
    for table in matters():
        assert set(table.patterns[0::2]).isdisjoint(table.patterns[1::2])
        assert min(len(table.patterns[half::2]) for half in (0, 1)) >= 2
