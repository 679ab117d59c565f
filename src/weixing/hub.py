"""The one place that downloads: files of Hugging Face hub repositories, once, then kept in the library's cache.

Opens sockets, but only where a hub id was named and its file is not in the cache; never with HF_HUB_OFFLINE=1.
"""

import re
from contextlib import suppress
from pathlib import Path

from weixing.errors import UserError


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id, ``owner/name`` or ``owner/name@revision``, and not that of ``8/512``."""
    part = r"[A-Za-z0-9](?:[\w.-]*\w)?"
    form = rf"(?!\d+/\d+$)(?!.*(--|\.\.)){part}/{part}(@[\w./-]+)?"
    return re.fullmatch(form, name, re.ASCII) is not None


def cached(repository: str, file: str) -> Path | None:
    """Path of `file` of the hub repository `repository` in the cache, or None."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    with suppress(LocalEntryNotFoundError):
        return Path(hf_hub_download(name, file, revision=revision or None, local_files_only=True))
    return None


def download(repository: str, file: str) -> Path:
    """Path of `file` of the hub repository `repository`, downloaded if it is not in the cache.

    Args:
        repository: ``owner/name``, or ``owner/name@revision`` for another branch, a tag or a commit.

    Raises:
        UserError: it is not in the cache and cannot be had.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    if path := cached(repository, file):
        return path
    name, _, revision = repository.partition("@")
    try:
        return Path(hf_hub_download(name, file, revision=revision or None))
    except HfHubHTTPError as error:
        reason = str(error).split("\n\n")[-1].partition("\n")[0]
        action = "Check the name; a private or gated repository needs `hf auth login`"
    except OSError:
        reason = f"it is not in the cache, and {constants.ENDPOINT} does not answer"
        action = "Check the network, or name a local file or folder"
        if constants.HF_HUB_OFFLINE:
            reason = "it is not in the cache, and HF_HUB_OFFLINE is set"
            action = "Unset HF_HUB_OFFLINE, or name a local file or folder"
    raise UserError(f"cannot get {file}: {reason}", where=repository, action=action)
