"""Several shapes pretrained on one stream of batches: same rows, same masks, one teacher's word for all.

Each shape is a `weixing.training.pretraining.Run` of its own, with its own folder, weights and optimizers; what they
have in common is made once an update. All are saved at the same steps, so that all can be resumed at one.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from weixing.progress import Progress
from weixing.training.batch import PlacedRows, ReadRows
from weixing.training.pretraining import Run
from weixing.training.progressed import Pretrained
from weixing.training.stopping import stop_request
from weixing.training.teaching import Teacher
from weixing.training.update import CapturedUpdate, Update


class FamilyUpdate:
    """An update of each of several models from one batch.

    Args:
        updates: those of the models alone; the batches are made by the first one's maker.
        teacher: gives targets beside the labels, or None.
    """

    def __init__(self, updates: Sequence[Update], teacher: Teacher | None) -> None:
        self.updates, self.teacher = updates, teacher
        self.batches = updates[0].batches
        self.optimizers = [optimizer for update in updates for optimizer in update.optimizers]

    def __call__(self, rows: ReadRows, seed: int) -> Tensor:
        """Update the models: float32 [models, 3], each as `Update.__call__` has it."""
        return self.apply(self.batches.place(rows, seed), seed)

    def apply(self, placed: PlacedRows, seed: int) -> Tensor:
        """The same from rows on the device."""
        batch = self.batches.make(placed)
        if self.teacher:
            batch = self.teacher(batch)
        return torch.stack([update.learn(batch, seed) for update in self.updates])


class Family:
    """Runs that go side by side.

    Args:
        runs: of the same rows, masks and number of steps, on one device.
        teacher: gives targets beside the labels, or None.
    """

    def __init__(self, runs: Sequence[Run], teacher: Teacher | None) -> None:
        self.runs, self.first = runs, runs[0]
        update = FamilyUpdate([run.update for run in runs], teacher)
        self._update = CapturedUpdate(update) if self.first.captured else update

    def train(self) -> list[Pretrained]:
        """Train all from the step that all have a checkpoint of to the last one; export the models."""
        with ExitStack() as stack:
            for run in self.runs:
                stack.enter_context(run.begun())
            stop = stack.enter_context(stop_request())
            first = self.first
            steps = first.recipe.steps
            progress = stack.enter_context(Progress("pretrain", total=steps, unit="steps", start=first.done.step))
            asked = None
            while first.done.step < steps and asked is None:
                self._step()
                asked = self._after_step(stop.signal)
                progress.advance(1, first.note())
        return [run.finish(asked) for run in self.runs]

    def _step(self) -> None:
        (seed,) = {run.before_update() for run in self.runs}  # one for all
        measured = self._update(self.first.rows(self.first.done.step), seed)
        for run, of_run in zip(self.runs, measured, strict=True):
            run.after_update(of_run)

    def _after_step(self, signal: int | None) -> int | None:
        save_due = self.first.save_due()
        asked = [run.after_step(signal, save_due) for run in self.runs]
        if any(run.done.best_step == run.done.step for run in self.runs):  # that one has saved
            for run in self.runs:
                run.save()
        return asked[0]
