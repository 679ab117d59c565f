"""An output that grows chunk by chunk beside its place and survives a kill. Writes files.

``.NAME.part`` has what is done, ``.NAME.part.json`` says how far that is and of what task it is a part. The data is on
the disk before the file that counts it; what a kill leaves beyond that is cut off. Both are gone once `finish` has put
the output in its place.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.files import read_json, require_new, write_json


class Part:
    """The growing part of one output.

    Args:
        out: the output's place.
        task: what decides about the output, of JSON's kinds; a part of another task is not gone on with.
        overwrite: whether an output, or the part of one, may be replaced.
        resume: whether to go on with a part that is there.

    Attributes:
        done: what `append` was told last; empty at the beginning.

    Raises:
        UserError: the output exists; or a part of it does, and `resume` was not said, or its task is another.
    """

    def __init__(self, out: Path, task: dict[str, Any], *, overwrite: bool = False, resume: bool = False) -> None:
        require_new(out, overwrite, folder=False)
        self.out, self.task = out, task
        self.data = out.with_name(f".{out.name}.part")
        self.state = out.with_name(f".{out.name}.part.json")
        self.done: dict[str, Any] = {}
        self._size = 0
        if not self.state.exists():
            return
        if resume:
            self._go_on()
        elif not overwrite:
            raise UserError(
                "an earlier run left a part of this output",
                where=self.data,
                action="Go on with it: --resume; or begin anew: --overwrite",
            )
        else:
            self.remove()

    def _go_on(self) -> None:
        before = read_json(self.state, "the state of an unfinished output")
        for key, value in self.task.items():
            if before["task"].get(key) != value:
                raise UserError(
                    f"the part that is there had {key} {json.dumps(before['task'].get(key), ensure_ascii=False)}, "
                    f"not {json.dumps(value, ensure_ascii=False)}",
                    where=self.state,
                    action="Resume with the same settings and files, or begin anew: --overwrite",
                )
        self.done, self._size = before["done"], before["bytes"]
        if not self.data.exists() or self.data.stat().st_size < self._size:
            raise UserError("the part is shorter than it was", where=self.data, action="Begin anew: --overwrite")

    def append(self, content: bytes, done: dict[str, Any]) -> None:
        """Add `content`; once this returns, a kill loses nothing of it. `done` says how far the task is then."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.data, "r+b" if self._size else "wb") as stream:
                stream.truncate(self._size)
                stream.seek(self._size)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            if not self._size:
                self.remove()
            raise
        self._size += len(content)
        write_json(self.state, {"task": self.task, "done": done, "bytes": self._size})
        self.done = done

    def finish(self, complete: Callable[[Path], Path]) -> None:
        """Let `complete` do the rest: to the part itself, or in a file beside it, which it returns; that is the output.

        A kill in the midst of it loses nothing: it is done again.
        """
        made = complete(self.data)
        with open(made, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(made, self.out)
        self.remove()

    def remove(self) -> None:
        """Forget what is done."""
        self.data.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)
