"""A model folder on its way to the hub: checked and listed first, uploaded when that is wanted. Opens files.

Sockets are opened in `weixing.hub_upload` alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.formats.huggingface import finite_weights, read_folder
from weixing.formats.naming import find_model_folder
from weixing.formats.weight_files import weights_in
from weixing.hub import is_hub_id
from weixing.hub_upload import MAIN, Uploaded, upload
from weixing.reporting.card import README, marker_of
from weixing.reporting.card_facts import weights_file_sha256
from weixing.reporting.card_metadata import LICENSES, read_metadata
from weixing.reporting.publish_files import LeftFile, UploadedFile, choose_files


@dataclass(frozen=True)
class Plan:
    """What would be uploaded, and what not; `notes` are for whoever decides."""

    repository: str
    folder: Path
    license: str
    files: list[UploadedFile]
    left_out: list[LeftFile]
    notes: list[str]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def plan(folder: Path, repository: str, include: Sequence[str] = ()) -> Plan:
    """Check the model in `folder`, a model or run folder, and list what of it goes to the hub.

    Args:
        repository: hub id, ``owner/name``.
        include: as in `choose_files`.

    Raises:
        UserError: no complete model is there; its README.md is missing, is not of the hub's form, states no licence,
            or describes other weights; something looks like a secret.
    """
    if "@" in repository or not is_hub_id(repository):
        raise UserError(f"--to {repository}", accepted="a hub id, OWNER/NAME (a branch: --revision)")
    if not folder.is_dir():
        raise UserError("there is no such folder", where=folder, accepted="a model folder, or a run folder")
    folder = find_model_folder(str(folder))
    source = read_folder(folder, any_head=True)
    finite_weights(source.bert)
    text = _read_card(folder)
    data = read_metadata(text, folder / README)
    if data.license is None:
        raise UserError(
            "no licence is stated",
            where=folder / README,
            accepted=LICENSES,
            action=f"State it: weixing card --model {folder} --license apache-2.0",
        )
    files, left_out = choose_files(folder, include)
    return Plan(repository, folder, data.license, files, left_out, _notes(folder, text, repository))


def publish(
    planned: Plan, *, private: bool = False, revision: str = MAIN, message: str | None = None, overwrite: bool = False
) -> Uploaded:
    """Upload what was planned.

    Raises:
        UserError: a file has changed since; or as `weixing.hub_upload.upload`.
    """
    files = {file.path: file.source for file in planned.files}
    if changed := [file.path for file in planned.files if file.source.stat().st_size != file.size]:
        raise UserError(f"changed meanwhile: {', '.join(changed)}", where=planned.folder, action="Run it again")
    message = message or f"Upload {planned.repository.partition('/')[2]} with weixing"
    return upload(planned.repository, files, private=private, revision=revision, message=message, overwrite=overwrite)


def summary(planned: Plan, revision: str, private: bool, done: Uploaded | None) -> dict[str, Any]:
    """As ``--json`` prints it; `done` is None where nothing was uploaded."""
    return {
        "repository": planned.repository,
        "revision": revision,
        "private": private,
        "license": planned.license,
        "bytes": planned.size,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in planned.files],
        "left_out": [asdict(file) for file in planned.left_out],
        "notes": planned.notes,
        "uploaded": None if done is None else asdict(done),
    }


def _read_card(folder: Path) -> str:
    file = folder / README
    if not file.is_file():
        action = f"Write it: weixing card --model {folder} --license apache-2.0"
        raise UserError("there is no README.md", where=folder, action=action)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason} at byte {error.start}", where=file) from None
    marker = marker_of(text)
    if marker is not None and marker.weights_sha256 != weights_file_sha256(folder):
        raise UserError(
            "this card was written for other weights than those beside it",
            where=file,
            action=f"Write it again: weixing card --model {folder}, with the options that it was written with",
        )
    return text


def _notes(folder: Path, text: str, repository: str) -> list[str]:
    notes = []
    if marker_of(text) is not None and f'"{repository}"' not in text:
        notes.append(
            f"the examples in README.md do not name {repository}: `weixing card --repo {repository}` writes them"
        )
    weights = weights_in(folder)
    if weights is not None and weights.suffix == ".bin":
        notes.append(f"{weights.name} is a pickle, which the hub warns of: `weixing convert {folder} NEW --to hf`")
    return notes
