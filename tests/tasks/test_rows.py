"""What every form of a task file shares: which bytes are text, and which options fit together."""

from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.tasks.rows import Layout, read_text, require_text


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbf\xe7\x94\xb2\r\n")
    assert read_text(tmp_path / "t") == "甲\r\n"


@pytest.mark.parametrize(
    ("content", "message", "action"),
    [
        ("label\n1\n甲\0乙\n".encode(), "t:3: a NUL character. ", "Remove it"),
        ("label\n".encode("utf-16-le"), "t:1: a NUL character. ", "Remove it"),
        ("\ufeff甲\n".encode("utf-16-le"), "t:1: not UTF-8 (byte 0xff). ", "iconv -f UTF-16 -t UTF-8 t > utf8-t"),
        ("label\n甲\n".encode("gb18030"), "t:2: not UTF-8 (byte 0xbc). ", "iconv -f GB18030 -t UTF-8 t > utf8-t"),
    ],
)
def test_other_bytes_are_named_with_their_line(tmp_path: Path, content: bytes, message: str, action: str) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_text(tmp_path / "t")
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert action in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "\t\u3000\r"])
def test_white_space_is_no_text(text: str) -> None:
    with pytest.raises(UserError, match=r"f:3: the text is empty \(text_a\)"):
        require_text(text, "f:3", "text_a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_pair": "b"}, "--text-pair: the second text has a column, the first has none"),
        ({"text": "a", "text_pair": "a"}, "one column twice: a, a"),
        ({"text": "a", "label": "a"}, "one column twice: a, a"),
        ({"text": "1"}, "columns 1. Accepted: names for all of them; or numbers from 1 for all, --label included"),
        ({"text": "1", "label": "label"}, "columns 1, label"),
        ({"text": "comment", "label": "2"}, "columns comment, 2"),
        ({"text": "0", "label": "1"}, "columns 0, 1"),
        ({"text": "1,b", "label": "2"}, "columns 1, b, 2"),
        ({"text": "b,c", "text_pair": "c"}, "one column twice: b, c, c"),
        ({"label": "1"}, "columns 1."),
        ({"separator": ""}, "--label-separator: nothing separates nothing"),
        ({"separator": "|", "kind": "tags"}, "--label-separator: a separator of classes"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Layout(**options)
    assert message in str(caught.value)
    assert "Accepted: " in str(caught.value)
