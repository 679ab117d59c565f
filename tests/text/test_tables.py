"""Tables as corpora: Parquet in every string type and row group, what `datasets` saves, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from weixing.data.prepare import prepare
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.text import arrow
from weixing.text.corpus import CorpusReader
from weixing.text.vocabulary import load_vocabulary

TEXTS = ["第一篇。", "有\n换行的一篇", "", "第三篇 " * 50]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("group", [1, 2, 1000])
def test_parquet_gives_its_texts_whatever_its_types_and_row_groups(tmp_path: Path, kind: pa.DataType, group: int):
    table = pa.table({"id": range(5), "text": pa.array([*TEXTS, None], kind)})
    parquet.write_table(table, tmp_path / "c.parquet", row_group_size=group)
    reader = CorpusReader([tmp_path / "c.parquet"])
    assert list(reader) == [text for text in TEXTS if text]
    assert reader.blank == 2
    assert reader.bytes_read == sum(len(text.encode()) for text in TEXTS)
    assert reader.disk_bytes_read == reader.total_bytes


def test_what_datasets_saves_is_read_its_own_cache_passed_over(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]})
    datasets.DatasetDict({"train": saved}).save_to_disk(tmp_path / "saved")
    folder = tmp_path / "saved" / "train"
    (folder / "cache-0123456789abcdef.arrow").write_bytes(next(folder.glob("data-*.arrow")).read_bytes())
    assert list(CorpusReader([tmp_path / "saved"])) == [text for text in TEXTS if text]


def test_an_arrow_file_with_a_footer_is_read(tmp_path: Path):
    table = pa.table({"text": TEXTS})
    with ipc.new_file(tmp_path / "c.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert list(CorpusReader([tmp_path / "c.arrow"])) == [text for text in TEXTS if text]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_prepare_makes_the_same_rows_of_a_table_as_of_records(tmp_path_factory, texts: list[str]):
    folder, vocabulary = tmp_path_factory.mktemp("same"), load_vocabulary(None)
    texts = ["开头。", *texts]
    parquet.write_table(pa.table({"text": texts}), folder / "c.parquet")
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": texts}).to_json(folder / "c.jsonl", force_ascii=False)
    rows = []
    for name in ("c.parquet", "c.jsonl"):
        prepare([folder / name], folder / name.partition(".")[2], vocabulary=vocabulary, sequence_length=16)
        shards = ShardSet(folder / name.partition(".")[2])
        rows.append(shards.rows(np.arange(len(shards))))
    assert np.array_equal(*rows)


def test_blocks_of_tables_are_bounded_and_a_long_text_comes_alone(tmp_path: Path, monkeypatch):
    texts = ["短文"] * 30 + ["长" * 500] + ["短文"] * 30
    parquet.write_table(pa.table({"text": texts}), tmp_path / "c.parquet")
    monkeypatch.setattr(arrow, "BYTES_AT_ONCE", 100)
    blocks = list(CorpusReader([tmp_path / "c.parquet"]).blocks())
    assert [text for block in blocks for text in block.documents()] == texts
    assert max(len(block.data) for block in blocks) == 1500
    assert [len(block.data) <= 100 for block in blocks].count(False) == 1
    assert [block.first_line for block in blocks][:3] == [1, 17, 31]


def test_a_text_that_is_not_utf8_is_named_by_its_row(tmp_path: Path):
    texts = pa.array([b"\xe5\xa5\xbd", b"a\xff", b"b"], pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"text": texts}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c\.parquet, row 2"):
        list(CorpusReader([tmp_path / "c.parquet"]))
    with pytest.raises(UserError, match=r"c\.parquet, row 2"):
        prepare([tmp_path / "c.parquet"], tmp_path / "out", vocabulary=load_vocabulary(None))


@pytest.mark.parametrize("name", ["c.parquet", "c.arrow"])
def test_wrong_tables_are_refused_by_name_and_reason(tmp_path: Path, name: str):
    def written(table: pa.Table) -> Path:
        if name == "c.parquet":
            parquet.write_table(table, tmp_path / name)
        else:
            with ipc.new_stream(tmp_path / name, table.schema) as writer:
                writer.write_table(table)
        return tmp_path / name

    with pytest.raises(UserError, match="no column `text`, only content"):
        list(CorpusReader([written(pa.table({"content": ["甲"]}))]))
    with pytest.raises(UserError, match="column `text` holds int64"):
        list(CorpusReader([written(pa.table({"text": [1, 2]}))]))
    file = written(pa.table({"text": [f"第{n}篇的正文" for n in range(5000)]}))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=name):
        list(CorpusReader([file]))
