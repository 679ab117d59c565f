"""A vocabulary is its file, line by line; wrong files are refused by place and reason; a hub's is downloaded once."""

import hashlib
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from weixing.errors import UserError
from weixing.hub import is_hub_id
from weixing.text.vocabulary import Vocabulary, load_vocabulary

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONTENT = "".join(f"{token}\n" for token in [*SPECIALS, "中", "##a"])


def test_ids_are_line_numbers(tmp_path):
    (tmp_path / "vocab.txt").write_text("中\n[MASK]\n[SEP]\n[UNK]\n国\n[PAD]\n[CLS]\n", encoding="utf-8")
    vocabulary = Vocabulary.read(tmp_path / "vocab.txt")
    assert vocabulary.tokens == ("中", "[MASK]", "[SEP]", "[UNK]", "国", "[PAD]", "[CLS]")
    assert len(vocabulary) == 7
    assert (vocabulary.id_of("国"), vocabulary.id_of("家")) == (4, None)
    assert vocabulary.special_ids == (5, 3, 6, 2, 1)
    assert vocabulary.special_ids == (
        vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [CONTENT.replace("\n", "\r\n"), CONTENT.rstrip("\n"), "\ufeff" + CONTENT, CONTENT.replace("\n", "\r\n").rstrip()],
    ids=["CRLF", "no last newline", "byte order mark", "CRLF, no last newline"],
)
def test_other_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, content):
    (tmp_path / "vocab.txt").write_bytes(content.encode())
    vocabulary = Vocabulary.read(tmp_path / "vocab.txt")
    assert vocabulary == Vocabulary([*SPECIALS, "中", "##a"])
    vocabulary.write(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == CONTENT.encode()
    assert vocabulary.sha256 == hashlib.sha256(CONTENT.encode()).hexdigest()


def test_odd_entries_keep_their_lines(tmp_path):
    odd = ["\u2028", "\u0085", " ", "a b", "\ufeff", "\x0b", ""]
    vocabulary = Vocabulary([*SPECIALS, *odd])
    vocabulary.write(tmp_path / "vocab.txt")
    assert Vocabulary.read(tmp_path / "vocab.txt").tokens == (*SPECIALS, *odd)


def test_vocabularies_are_values(tmp_path):
    one, same, other = Vocabulary(SPECIALS), Vocabulary(SPECIALS), Vocabulary([*SPECIALS, "a"])
    assert one == same != other
    assert len({one, same, other}) == 2
    assert pickle.loads(pickle.dumps(other)) == other
    with pytest.raises(AttributeError):
        one.tokens = ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT.replace("[MASK]\n", "").encode(), r"vocab.txt: .*6 entries lacks \[MASK\]"),
        (b"", r"lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        ((CONTENT + "中\n").encode(), r"vocab.txt:8: the entry '中' comes a second time \(first: line 6\)"),
        (CONTENT.encode() + b"abc\xff\n", rf"vocab.txt: byte {len(CONTENT.encode()) + 3} \(0xff\) is not UTF-8"),
        ("\ufeff".encode() + b"\xff", r"byte 3 \(0xff\) is not UTF-8"),
    ],
    ids=["no mask", "empty", "twice", "not UTF-8", "not UTF-8 after the mark"],
)
def test_wrong_files_are_refused_by_place_and_reason(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Vocabulary.read(tmp_path / "vocab.txt")


def test_entries_that_a_file_could_not_hold_are_refused():
    for entry in ("a\nb", "a\r"):
        with pytest.raises(UserError, match="holds a line break"):
            Vocabulary([*SPECIALS, entry])


@pytest.mark.parametrize("place", ["vocab.txt", "model/vocab.txt", "other.txt"])
def test_a_vocabulary_is_loaded_from_a_file_a_model_folder_or_a_run_folder(tmp_path, place):
    (tmp_path / "model").mkdir()
    (tmp_path / place).write_text(CONTENT, encoding="utf-8")
    expected = Vocabulary.read(tmp_path / place)
    assert load_vocabulary(tmp_path / place) == expected
    if place != "other.txt":
        assert load_vocabulary(str(tmp_path)) == expected


def test_the_built_in_vocabulary_is_the_default():
    assert load_vocabulary(None) == load_vocabulary("builtin")


@pytest.mark.parametrize("source", ["nowhere.txt", "2/128", "/no/such/vocab.txt", "nobody", "a/b/c", "{tmp}/vocb"])
def test_names_of_nothing_are_refused_without_asking_the_hub(tmp_path, monkeypatch, source):
    monkeypatch.setattr("weixing.text.vocabulary.download", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match="there is no vocabulary"):
        load_vocabulary(source.format(tmp=tmp_path))


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"the folder has no vocab\.txt"):
        load_vocabulary(tmp_path)


def test_a_path_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Vocabulary.read(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uer/chinese_roberta_L-8_H-512", True),
        ("a/b", True),
        ("google-bert/bert-base-chinese", True),
        ("8/512", False),
        ("bert-base-chinese", False),
        ("a/b/c", False),
        ("./model", False),
        ("a--b/c", False),
        ("owner/name.", False),
        ("模型/小", False),
    ],
)
def test_hub_ids_are_told_from_other_names(name, expected):
    assert is_hub_id(name) == expected


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as one file needs; keeps count of requests."""

    requests = 0

    def answer(self, with_body: bool) -> None:
        Hub.requests += 1
        body, status, code = b"", 401, "RepoNotFound"
        if self.path == "/owner/name/resolve/main/vocab.txt":
            body, status, code = CONTENT.encode(), 200, ""
        elif self.path.startswith("/owner/"):
            status, code = 404, "EntryNotFound"
        self.send_response(status)
        for name, value in {"X-Repo-Commit": "a" * 40, "ETag": '"1"', "X-Error-Code": code}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    Hub.requests = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"HF_HUB_CACHE": str(tmp_path), "ENDPOINT": address, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_hub_vocabulary_is_downloaded_once(hub, monkeypatch):
    assert load_vocabulary("owner/name").tokens == (*SPECIALS, "中", "##a")
    asked = hub.requests
    assert load_vocabulary("owner/name").tokens == (*SPECIALS, "中", "##a")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_vocabulary("owner/name").tokens == (*SPECIALS, "中", "##a")
    assert hub.requests == asked > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/other", r"owner/other: cannot get vocab\.txt: Entry Not Found"),
        ("nobody/name", r"nobody/name: cannot get vocab\.txt: Repository Not Found"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, name, message):
    with pytest.raises(UserError, match=message):
        load_vocabulary(name)


def test_offline_the_hub_is_not_asked(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"not in the cache, and HF_HUB_OFFLINE is set\. Unset HF_HUB_OFFLINE"):
        load_vocabulary("owner/name")
    assert hub.requests == 0
