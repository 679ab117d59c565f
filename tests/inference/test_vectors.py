"""Files of vectors are what NumPy and pyarrow read."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from weixing.inference import vectors
from weixing.inference.vectors import HEADER_BYTES, as_npy, as_parquet, npy_header


@pytest.mark.parametrize("rows", [0, 1, 999, 10**12])
def test_the_header_has_one_size_and_numpy_reads_it(rows: int, tmp_path: Path) -> None:
    header = npy_header(rows, 768)
    assert len(header) == HEADER_BYTES
    (tmp_path / "a.npy").write_bytes(header)
    with open(tmp_path / "a.npy", "rb") as stream:
        assert np.lib.format.read_magic(stream) == (1, 0)
        assert np.lib.format.read_array_header_1_0(stream) == ((rows, 768), False, np.dtype("<f4"))
        assert stream.tell() == HEADER_BYTES


@pytest.mark.parametrize("rows", [1, 7, 8, 9])
def test_the_same_rows_as_npy_and_as_parquet_where_nan_is_null(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "ROWS_AT_ONCE", 4)
    values = np.random.default_rng(7).standard_normal((rows, 6)).astype(np.float32)
    values[rows // 2] = np.nan
    part = tmp_path / "part"
    part.write_bytes(npy_header(0, 6) + values.tobytes())
    table = parquet.read_table(as_parquet(part, rows, 6))
    assert table.column_names == ["vector"]
    found = table["vector"].to_pylist()
    assert found[rows // 2] is None
    for row, value in enumerate(found):
        if row != rows // 2:
            np.testing.assert_array_equal(np.array(value, np.float32), values[row])
    np.testing.assert_array_equal(np.load(as_npy(part, rows, 6)), values)
