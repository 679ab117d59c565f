"""A small server that speaks as much of the hub's protocol as downloading a file takes. Loopback alone; for tests."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@contextmanager
def hub_server(revisions: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as the revisions of every repository: its address, and the paths asked for so far."""
    asked: list[str] = []
    commits = {name: hashlib.sha1(name.encode()).hexdigest() for name in revisions}
    by_commit = {commits[name]: folder for name, folder in revisions.items()}

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            asked.append(self.path)
            match = re.fullmatch(r"/[\w.-]+/[\w.-]+/resolve/([^/]+)/(.+)", self.path)
            commit = commits.get(match[1], match[1]) if match else ""
            file = by_commit[commit] / match[2] if match and commit in by_commit else None
            content = file.read_bytes() if file and file.is_file() else b"Entry not found"
            found = file is not None and file.is_file()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content)))
            if found:
                self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound" if commit in by_commit else "RevisionNotFound")
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
