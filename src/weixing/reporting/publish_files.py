"""Which files of a model folder go to the hub, and which stay here. Lists folders; reads texts in search of secrets."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.formats.convert import ONNX_WEIGHTS
from weixing.formats.huggingface_description import CONFIG, TOKENIZER_CONFIG
from weixing.formats.sentence_transformers import FILES as SENTENCE_FILES
from weixing.formats.tensorflow_h5 import H5_WEIGHTS
from weixing.formats.weight_files import IN_ORDER, shard_names
from weixing.text.vocabulary import FILE_NAME, TOKENIZER

MODEL_FILES = frozenset(
    {
        *(CONFIG, FILE_NAME, TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json"),
        *(*IN_ORDER, H5_WEIGHTS, ONNX_WEIGHTS, *SENTENCE_FILES),
        *("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt"),
    }
)
UNKNOWN = "no file of a model; --include takes it along"
SECRET = "looks like a secret, and is never uploaded"
HIDDEN = "hidden, or a cache"
TRAINING_STATE = "state of a training"
RECORD = "record of a run, with paths of this machine"
# The first that fits says why a file or folder stays here.
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"(.*/)?\.env(\..*)?|(.*/)?(\.netrc|\.pypirc|\.npmrc|id_(rsa|dsa|ecdsa|ed25519))", SECRET),
    (r".*\.(pem|key|p12|pfx|keystore|kdbx)", SECRET),
    (r"(.*/)?(token|credentials?|secrets?)(\.(json|txt|ya?ml|toml|ini))?", SECRET),
    (r"(.*/)?\..*|(.*/)?__pycache__/.*", HIDDEN),
    (r"(.*/)?checkpoint[^/]*/.*", TRAINING_STATE),
    (r"(.*/)?(optimizer|scheduler|state|rng_state[^/]*|training_args)\.(pt|bin|pth)", TRAINING_STATE),
    (r"(.*/)?(run|demo|result|metrics|results)\.jsonl?|(.*/)?predictions/.*", RECORD),
)
SECRET_TEXT = re.compile(
    rb"\b(hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|gh[pousr]_[A-Za-z0-9]{36,}|AKIA[0-9A-Z]{16})\b"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
SEARCHED_BYTES = 4_000_000  # larger files are weights, not texts with a token in them
TEXTS = (".json", ".txt", ".md", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".csv", ".tsv", ".py", ".sh", "")


@dataclass(frozen=True)
class UploadedFile:
    """A file that goes to the hub: its path there, where it lies here, its size in bytes and SHA-256."""

    path: str
    source: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class LeftFile:
    """A file or folder (its name ends in ``/``) that stays here, its size in bytes, and why."""

    path: str
    size: int
    why: str


def choose_files(folder: Path, include: Sequence[str] = ()) -> tuple[list[UploadedFile], list[LeftFile]]:
    """The files in `folder` that go to the hub, and what stays here.

    Args:
        include: patterns of further files to take along, relative to `folder`: ``figures/*.png``.

    Raises:
        UserError: a pattern fits nothing, or takes what looks like a secret; a text has one in it.
    """
    files = _list_files(folder)
    known = MODEL_FILES | _shards(folder)
    for pattern in include:
        if not any(fnmatch(path, pattern) for path in files):
            raise UserError(f"--include {pattern} fits no file", where=folder, accepted="a file in it: figures/*.png")
    taken: dict[str, Path] = {}
    left: list[LeftFile] = []
    for path, source in files.items():
        wanted, why = any(fnmatch(path, pattern) for pattern in include), _why_left_out(path)
        if wanted and why == SECRET:
            raise UserError("this looks like a secret, and is never uploaded", where=source)
        if (wanted and why != HIDDEN) or (path in known and why is None):
            taken[path] = source
        else:
            left.append(LeftFile(path, source.stat().st_size, why or UNKNOWN))
    for source in taken.values():
        _refuse_secrets_in(source)
    hashed = [UploadedFile(path, source, source.stat().st_size, sha256_of(source)) for path, source in taken.items()]
    return hashed, _by_folder(left)


def _list_files(folder: Path) -> dict[str, Path]:
    """Every file below `folder` by its relative path; linked folders are not entered, linked files are files."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            source = Path(parent, name)
            if source.is_file():
                found[source.relative_to(folder).as_posix()] = source
    return found


def _shards(folder: Path) -> set[str]:
    indices = [folder / name for name in IN_ORDER if name.endswith(".index.json") and (folder / name).is_file()]
    return {shard for index in indices for shard in shard_names(index).values()}


def _why_left_out(path: str) -> str | None:
    return next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, path, re.IGNORECASE)), None)


def _by_folder(files: Iterable[LeftFile]) -> list[LeftFile]:
    """One entry for all files of one kind that lie in one folder at the top."""
    groups: dict[tuple[str, str], int] = {}
    for file in files:
        top, slash, _ = file.path.partition("/")
        groups[top + slash, file.why] = groups.get((top + slash, file.why), 0) + file.size
    return [LeftFile(path, size, why) for (path, why), size in sorted(groups.items())]


def _refuse_secrets_in(file: Path) -> None:
    if file.stat().st_size > SEARCHED_BYTES or file.suffix.lower() not in TEXTS:
        return
    content = file.read_bytes()
    if match := SECRET_TEXT.search(content):
        line = content.count(b"\n", 0, match.start()) + 1
        raise UserError(
            f"there is what looks like a token or a private key: {match[0][:6].decode()}…",
            where=f"{file}:{line}",
            action="Take it out; if anyone else has seen it, have it withdrawn where it was made",
        )
