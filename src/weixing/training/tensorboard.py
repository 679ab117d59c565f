"""Reports as event files for TensorBoard, beside metrics.jsonl. Writes those files; needs the extra ``track``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.progress import say

EVENT_FILES = "events.out.tfevents.*"
TAGS = {
    "train_loss": "train/loss",
    "eval_loss": "eval/loss",
    "eval_accuracy": "eval/accuracy",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/gradient_norm",
    "tokens_per_second": "speed/tokens_per_second",
    "tokens": "speed/tokens",
}  # of what metrics.jsonl calls them


class EventFiles:
    """One event file for each start of the run; together they say what metrics.jsonl says.

    Args:
        run: the run folder.
        kept: the reports that metrics.jsonl still holds.
        resumed_from: the step that the run goes on from. TensorBoard drops what earlier files say of that step and
            later ones (``purge_step``), also while it is watching.
    """

    def __init__(self, run: Path, kept: Sequence[Mapping[str, Any]], resumed_from: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        begun = any(run.glob(EVENT_FILES))
        self._writer = SummaryWriter(str(run), purge_step=resumed_from)
        for report in kept:
            if not begun or report["step"] >= resumed_from:
                self.write(report)

    def write(self, report: Mapping[str, Any]) -> None:
        """Append one report of `metrics.jsonl`."""
        for key, tag in TAGS.items():
            if key in report:
                self._writer.add_scalar(tag, report[key], report["step"])
        self._writer.flush()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()


def require_tensorboard() -> None:
    """Raises UserError if the library is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            "event files need the library tensorboard", where="--tensorboard",
            action="Install it: pip install 'weixing[track]'",
        ) from None  # fmt: skip


def wants_event_files(run: Path, asked: bool) -> bool:
    """Whether the run in folder `run` is to write event files: it was asked to, now or before it was stopped."""
    if asked or not any(run.glob(EVENT_FILES)):
        return asked
    try:
        require_tensorboard()
    except UserError as error:
        say(f"note: the event files of this run are not gone on with: {error.what}")
        return False
    return True
