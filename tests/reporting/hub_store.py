"""A small server that takes uploads as the hub does: repositories, branches, commits, large files. Loopback alone.

It speaks what huggingface_hub sends: create, info, branch, validate-yaml, preupload, LFS batch, PUT, verify, commit
(NDJSON). A large file counts as there once its bytes have arrived and have the SHA-256 that they were announced with.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN, READ_ONLY_TOKEN = "hf_" + "w" * 34, "hf_" + "r" * 34
REPOSITORY = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    """Private or not; of each branch the id of its newest commit; of each commit its files."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        """A new commit of these files, and no others, on top of `branch`."""
        oid = hashlib.sha1(f"{len(self.commits)} {branch}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages.append(message)
        return oid


@dataclass
class HubStore:
    """The server's memory. `fault` is asked before each request: a status to answer with, or "drop" the connection."""

    endpoint: str = ""
    owners: tuple[str, ...] = ("me",)
    large_from: int = 100_000  # bytes; the hub's own limit is 10 MB
    repositories: dict[str, Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], int | str | None] = lambda method, path: None
    spoils: bool = False  # whether small files are stored with another content than they came with

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """What a branch holds, but for the file that the hub puts there itself."""
        repository = self.repositories[name]
        files = repository.commits[repository.branches[branch]]
        return {path: content for path, content in files.items() if path != ".gitattributes"}

    def create(self, name: str, private: bool = False) -> Repository:
        """A new repository, as the hub makes it."""
        repository = self.repositories[name] = Repository(private)
        repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        return repository

    def is_large(self, path: str, content_size: int) -> bool:
        """Whether a file is kept apart from git."""
        return content_size >= self.large_from or path.endswith((".safetensors", ".bin", ".h5"))


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        self.status, self.message, self.code = status, message, code


@contextmanager
def hub_store() -> Iterator[HubStore]:
    """A server with nothing in it, until the block ends."""
    store, lock = HubStore(), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with lock:
                store.requests.append((self.command, path))
                fault = store.fault(self.command, path)
            if fault == "drop":
                self.close_connection = True
                return
            body = self._body()
            try:
                if isinstance(fault, int):
                    raise Refused(fault, "as the test wants it")
                with lock:
                    status, answer = 200, self._route(path, body)
            except Refused as refused:
                status, answer = refused.status, {"error": refused.message, "errors": [{"message": refused.message}]}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status >= 400:
                self.send_header("X-Error-Message", answer["error"])
                if status == 404:
                    self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _route(self, path: str, body: bytes) -> Any:
            for method, pattern, answer in ROUTES:
                if method == self.command and (match := re.fullmatch(pattern, path)):
                    if answer is not _put:  # the address is the permission, as in the hub's storage
                        self._check_token(writes=method != "GET" and answer is not _validate)
                    return answer(store, match, body)
            raise Refused(404, f"no such address: {path}")

        def _check_token(self, writes: bool) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in (TOKEN, READ_ONLY_TOKEN):
                raise Refused(401, "Invalid credentials in Authorization header")
            if writes and token != TOKEN:
                raise Refused(403, "You don't have the rights to create a model under this namespace")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


def _repository(store: HubStore, match: re.Match[str]) -> Repository:
    if match["repo"] not in store.repositories:
        raise Refused(404, "Repository not found")
    return store.repositories[match["repo"]]


def _create(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    if asked["organization"] not in store.owners:
        raise Refused(403, f"You don't have the rights to create a model under the namespace {asked['organization']!r}")
    if name in store.repositories:
        raise Refused(409, "You already created this model repo")
    store.create(name, asked.get("visibility") == "private" or bool(asked.get("private")))
    return {"url": f"{store.endpoint}/{name}", "name": name}


def _info(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    repository = _repository(store, match)
    revision = match.groupdict().get("revision") or "main"
    oid = repository.branches.get(revision, revision)
    if oid not in repository.commits:
        raise Refused(404, f"Invalid rev id: {revision}")
    siblings = []
    for path, content in repository.commits[oid].items():
        large = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
        sibling = {"rfilename": path, "size": len(content), "blobId": _git_hash(content)}
        siblings.append(sibling | ({"lfs": large} if store.is_large(path, len(content)) else {}))
    name = match["repo"]
    return {"id": name, "modelId": name, "sha": oid, "private": repository.private, "siblings": siblings}


def _branch(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    repository = _repository(store, match)
    if match["branch"] in repository.branches:
        raise Refused(409, "Reference already exists")
    repository.branches[match["branch"]] = repository.branches["main"]
    return {}


def _validate(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    if "license: not-a-license" in json.loads(body)["content"]:
        raise Refused(400, '"license" must be one of [apache-2.0, mit, ...]')
    return {"errors": [], "warnings": []}


def _preupload(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    repository = _repository(store, match)
    there = repository.commits[repository.branches[match["revision"]]]
    answers = []
    for file in json.loads(body)["files"]:
        large, content = store.is_large(file["path"], file["size"]), there.get(file["path"])
        answer = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if content is not None:
            answer["oid"] = hashlib.sha256(content).hexdigest() if large else _git_hash(content)
        answers.append(answer)
    return {"files": answers}


def _batch(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    _repository(store, match)
    objects = []
    for asked in json.loads(body)["objects"]:
        upload = {"href": f"{store.endpoint}/storage/{asked['oid']}"}
        verify = {"href": f"{store.endpoint}/{match['repo']}.git/info/lfs/objects/verify"}
        missing = asked["oid"] not in store.large_files
        objects.append(asked | ({"actions": {"upload": upload, "verify": verify}} if missing else {}))
    return {"transfer": "basic", "objects": objects}


def _put(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    if hashlib.sha256(body).hexdigest() != match["oid"]:
        raise Refused(400, "these are not the bytes that were announced")
    store.large_files[match["oid"]] = body
    return {}


def _verify(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    asked = json.loads(body)
    if len(store.large_files.get(asked["oid"], b"")) != asked["size"]:
        raise Refused(404, "Object not found")
    return {}


def _commit(store: HubStore, match: re.Match[str], body: bytes) -> Any:
    repository, branch = _repository(store, match), match["revision"]
    header, *lines = [json.loads(line) for line in body.decode().splitlines()]
    if header["value"].get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    files = dict(repository.commits[repository.branches[branch]])
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"]) + b"?" * store.spoils
        else:
            assert line["key"] == "lfsFile", line
            if value["oid"] not in store.large_files:
                raise Refused(400, f"{value['path']} was never uploaded")
            files[value["path"]] = store.large_files[value["oid"]]
    oid = repository.commit(branch, files, header["value"]["summary"])
    return {"success": True, "commitOid": oid, "commitUrl": f"{store.endpoint}/{match['repo']}/commit/{oid}"}


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


ROUTES: tuple[tuple[str, str, Callable[[HubStore, re.Match[str], bytes], Any]], ...] = (
    ("POST", "/api/repos/create", _create),
    ("POST", "/api/validate-yaml", _validate),
    ("GET", f"/api/models/{REPOSITORY}", _info),
    ("GET", f"/api/models/{REPOSITORY}/revision/(?P<revision>.+)", _info),
    ("POST", f"/api/models/{REPOSITORY}/branch/(?P<branch>.+)", _branch),
    ("POST", f"/api/models/{REPOSITORY}/preupload/(?P<revision>.+)", _preupload),
    ("POST", f"/api/models/{REPOSITORY}/commit/(?P<revision>.+)", _commit),
    ("POST", f"/{REPOSITORY}\\.git/info/lfs/objects/batch", _batch),
    ("POST", f"/{REPOSITORY}\\.git/info/lfs/objects/verify", _verify),
    ("PUT", "/storage/(?P<oid>[0-9a-f]{64})", _put),
)
