"""The one place that uploads: files of a model into a hub repository, in one commit, read back and compared.

Opens sockets, but only when it is called, never with HF_HUB_OFFLINE=1. HF_ENDPOINT names another hub than
huggingface.co; HF_TOKEN or `hf auth login` says who uploads.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weixing.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

MAIN = "main"
AGAIN = "Run the same command again: what has arrived is not sent a second time"
# huggingface_hub has changed its HTTP library twice; what each raises when a connection fails has no common class.
HTTP_LIBRARIES = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")


@dataclass(frozen=True)
class Uploaded:
    """What was done.

    Attributes:
        url: of the commit that the files are in; commit: its id.
        created: whether the repository is new.
        sent: the files of the commit; none where the repository had them all.
        left_there: files that the repository has besides, which were left alone.
    """

    url: str
    commit: str
    created: bool
    sent: list[str]
    left_there: list[str]


def upload(
    repository: str,
    files: Mapping[str, Path],
    *,
    private: bool = False,
    revision: str = MAIN,
    message: str = "Upload a model",
    overwrite: bool = False,
) -> Uploaded:
    """Put `files` into a repository of models, which is made if there is none; in one commit, so all or none of them.

    Args:
        repository: ``owner/name``.
        files: paths in the repository, and where each file lies here.
        private: whether a new repository is seen by its owner alone.
        revision: branch to commit to, made from main if there is none.
        message: of the commit.
        overwrite: whether files that are there with another content may be replaced.

    Raises:
        UserError: offline, no token, no permission; the repository is there with other content, or is public where
            a private one was asked for; the hub refuses the files; the connection is lost.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    _be_quiet()
    api = HfApi(token=_token(repository), library_name="weixing")
    with _told_to_the_user(repository):
        created = _create(api, repository, private)
        if revision != MAIN:
            api.create_branch(repository, branch=revision, exist_ok=True)
        parent, there = _content(api, repository, revision, private)
        different = [path for path, file in files.items() if path in there and not _is(file, there[path])]
        if different and not overwrite:
            raise UserError(
                f"the repository is there already, with other content in {', '.join(different)}",
                where=f"{repository}, branch {revision}",
                action="Name another repository, or pass --overwrite to replace these files (its history keeps them)",
            )
        sent = [path for path in files if path not in there or path in different]
        left_there = sorted(path for path in there if path not in files and path != ".gitattributes")
        if not sent:
            return Uploaded(_commit_url(api, repository, parent), parent, created, [], left_there)
        operations = [CommitOperationAdd(path, str(files[path])) for path in sent]
        commit = api.create_commit(
            repository, operations, commit_message=message, revision=revision, parent_commit=parent
        )
        _, arrived = _content(api, repository, commit.oid, private)
        if damaged := [path for path in sent if path not in arrived or not _is(files[path], arrived[path])]:
            raise UserError(
                f"what the repository holds now differs from the files here: {', '.join(damaged)}",
                where=repository,
                action="Did they change meanwhile? Run the same command again, with --overwrite",
            )
    return Uploaded(commit.commit_url, commit.oid, created, sent, left_there)


def _be_quiet() -> None:
    """Progress bars of huggingface_hub are for terminals."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


def _token(repository: str) -> str:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "nothing can be uploaded while HF_HUB_OFFLINE is set", where=repository, action="Unset HF_HUB_OFFLINE"
        )
    token = get_token()
    if token is None:
        raise UserError(
            "there is no token to upload with",
            where=repository,
            accepted="a token with permission to write, from the settings of your account on the hub",
            action="Log in with `hf auth login`, or set HF_TOKEN",
        )
    return token


def _create(api: "HfApi", repository: str, private: bool) -> bool:
    """Make the repository; False where it is there already."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repository, private=private or None)
    except HfHubHTTPError as error:
        status = error.response.status_code
        # A token may be allowed to write into a repository, but not to make any.
        if status == 409 or (status in (401, 402, 403) and api.repo_exists(repository)):
            return False
        raise
    return True


def _content(api: "HfApi", repository: str, revision: str, private: bool) -> tuple[str, dict[str, str]]:
    """The newest commit, and its files with their hashes: SHA-256 of large ones, git's SHA-1 of the others.

    Raises:
        UserError: the repository is public, where a private one was asked for.
    """
    info = api.model_info(repository, revision=revision, files_metadata=True)
    if private and not info.private:
        raise UserError(
            "the repository is there already, and is public",
            where=repository,
            action="Make it private in its settings on the hub, or leave out --private",
        )
    assert info.sha
    files = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id or "" for file in info.siblings or ()}
    return info.sha, files


def _is(file: Path, digest: str) -> bool:
    """Whether a file has this hash: SHA-256, or SHA-1 of its content as git stores it."""
    with open(file, "rb") as stream:
        if len(digest) == 64:
            return hashlib.file_digest(stream, "sha256").hexdigest() == digest
        content = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == digest


def _commit_url(api: "HfApi", repository: str, commit: str) -> str:
    return f"{api.endpoint}/{repository}/commit/{commit}"


@contextmanager
def _told_to_the_user(repository: str) -> Iterator[None]:
    """Turns what the hub or the network has done into a UserError; lets faults of the program through."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = _explained(error, repository)
        if told is None:
            raise
        raise told from error


def _explained(error: BaseException, repository: str) -> UserError | None:
    """What to say of an error of huggingface_hub, which often wraps the one that tells; None: it is another kind."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    # A README.md that the hub's check refuses, and errors of its storage: ValueError, with what was said in it.
    if isinstance(error, ValueError) and ("metadata" in str(error) or "LFS" in str(error)):
        return UserError(f"the hub refuses the files: {' '.join(str(error).split())}", where=repository)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause, repository)
        if _is_of_the_network(cause):
            no_xet = "xet" in str(cause) and "404" in str(cause)  # hf_xet calls this a network error as well
            return UserError(
                f"the connection to {constants.ENDPOINT} failed: {_first_line(cause)}",
                where=repository,
                action="This hub has no Xet storage: set HF_HUB_DISABLE_XET=1" if no_xet else AGAIN,
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _refused(error: "HfHubHTTPError", repository: str) -> UserError:
    status = error.response.status_code
    said = getattr(error, "server_message", None) or _first_line(error)
    if status == 401:
        return UserError(
            f"the hub does not accept the token ({said})",
            where=repository,
            action="Log in again with `hf auth login`, or set HF_TOKEN to a token that is valid and may write",
        )
    if status in (402, 403):
        return UserError(
            f"the hub does not permit it ({said})",
            where=repository,
            accepted=f"a token that may write into {repository.partition('/')[0]}",
            action="Make such a token, or upload into a namespace of your own: --to YOU/NAME",
        )
    if status == 404:
        return UserError(f"the hub knows no such repository or branch ({said})", where=repository)
    if status in (409, 412):
        return UserError(f"somebody else has changed the repository meanwhile ({said})", where=repository, action=AGAIN)
    if status == 429 or status >= 500:
        action = f"Wait a little. {AGAIN}"
        return UserError(f"the hub cannot answer now ({status}: {said})", where=repository, action=action)
    return UserError(f"the hub refuses the files ({status}: {said})", where=repository)


def _is_of_the_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any(kind.__module__.partition(".")[0] in HTTP_LIBRARIES for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
