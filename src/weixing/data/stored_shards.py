"""Shards in a store (``s3://…``): copied once into a folder of this machine, from where they are memory-mapped.

Opens connections, writes into the cache: ``$WEIXING_CACHE``, or ``~/.cache/weixing``. A copy is named by the checksum
of its manifest, so that shards made anew are copied anew. Several processes may ask for the same at once.
"""

import hashlib
import json
import os
from pathlib import Path

from weixing.errors import UserError
from weixing.files import atomic_folder
from weixing.progress import Progress
from weixing.storage import place, reaching

PIECE_BYTES = 8 << 20


def cache_folder() -> Path:
    """Where copies are kept."""
    return Path(os.environ.get("WEIXING_CACHE") or Path.home() / ".cache" / "weixing") / "shards"


def local_copy(name: str) -> Path:
    """The folder that holds a copy of the shards at `name`; whether they are whole is up to its reader.

    Raises:
        UserError: the store cannot be reached, or there are no shards.
    """
    with reaching(name):
        there = place(name)
        manifest = there / "manifest.json"
        if not manifest.exists():
            raise UserError("there are no finished shards (manifest.json) in this place of the store", where=name)
        content = manifest.read_bytes()
        here = cache_folder() / hashlib.sha256(content).hexdigest()[:16]
        if (here / "manifest.json").exists():
            return here
        shards = json.loads(content)["shards"]
        names = [file for shard in shards for file in (shard["file"], shard["words_file"]) if file]
        sizes = [(there / file).stat().st_size for file in names]
        try:
            with (
                atomic_folder(here) as folder,
                Progress("copy shards", total=sum(sizes) / 1e6, unit="MB") as progress,
            ):
                for file in ["vocab.txt", *names, "manifest.json"]:
                    with (there / file).open("rb") as source, open(folder / file, "wb") as copy:
                        while piece := source.read(PIECE_BYTES):
                            copy.write(piece)
                            progress.advance(len(piece) / 1e6 if file in names else 0)
        except (UserError, OSError):
            if not (here / "manifest.json").exists():  # else another process was quicker
                raise
    return here
