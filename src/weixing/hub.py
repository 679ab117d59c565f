"""The one place that downloads: single files of Hugging Face hub repositories, cached by huggingface_hub.

Opens sockets, but only where a hub id was named; with HF_HUB_OFFLINE=1 only the cache is looked at.
"""

import re
from pathlib import Path

from weixing.errors import UserError


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id, ``owner/name``, and is not the name of a shape (``8/512``)."""
    form = r"[A-Za-z0-9][\w-]*(\.[\w-]+)*/[A-Za-z0-9][\w-]*(\.[\w-]+)*"
    return bool(re.fullmatch(form, name)) and not re.fullmatch(r"\d+/\d+", name)


def download(repository: str, file: str) -> Path:
    """Path of `file` of a hub repository, downloaded once and cached.

    Raises:
        UserError: the file is not in the cache and cannot be had.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repository, file))
    except LocalEntryNotFoundError as error:
        if constants.is_offline_mode():
            what, action = "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE"
        else:
            what, action = f"{constants.ENDPOINT} cannot be reached", "Check the network"
        raise UserError(
            f"{file} is not in the cache and {what}", where=repository, action=f"{action}, or name a local folder"
        ) from error
