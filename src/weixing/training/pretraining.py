"""The pretraining loop: batch, forward, backward, update, report. Reads shards, writes a run folder.

A step is one optimizer update. The loss is divided by the number of predicted positions of the whole update, so that
micro-batches and ranks change nothing. What a step does is decided by the settings and the step's number alone, so that
a resumed run is the same run, bit for bit on one CPU.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGTERM

import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.data.loader import Loader, RowOrder
from weixing.data.masking import Masking
from weixing.data.reach import Reach, reach_of
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.model.compiled.workers import one_thread
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import begin_with_frequencies
from weixing.progress import Progress, say
from weixing.text.vocabulary import Vocabulary
from weixing.training.ahead import ReadAhead
from weixing.training.batch import BatchMaker, ReadRows
from weixing.training.checkpoint_files import list_checkpoints
from weixing.training.checkpoints import Checkpoints
from weixing.training.devices import peak_flops_per_second
from weixing.training.evaluation import Evaluation, HeldOut
from weixing.training.gradients import make_gradients
from weixing.training.optimizers import build_optimizers, set_learning_rates
from weixing.training.progressed import Pretrained, Progressed
from weixing.training.ranks import Ranks
from weixing.training.readings import Reading, Readings
from weixing.training.runlog import MetricsLog, NoLog
from weixing.training.schedules import warmup_hold_decay
from weixing.training.settings import Settings
from weixing.training.sharding import Memory, empty, gathered, place, scatter, whole_model
from weixing.training.stopping import stop_request
from weixing.training.unreached import fill_unreached
from weixing.training.update import CapturedUpdate, Update
from weixing.training.watch import SAVING

Export = Callable[[MaskedLanguageModel, Vocabulary, Path], None]
"""Writes a finished model into a folder, verified; `weixing.formats`, which comes after this room, has such."""

UNTIMED_STEPS = 10  # start-up, left out of tokens_per_second
# By type of device: a GPU works through what it was given while the host goes on, and is asked now and then about it.
STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 50}
STEPS_READ_AHEAD = {"cpu": 0, "cuda": 2}  # on a CPU the thread would take a core from the step
SECONDS_BETWEEN_SAVES = 600.0


class Run:
    """One pretraining run, on the device of this rank.

    Args:
        settings: everything that decides its course.
        output: the run folder, which exists.
        model: with the weights to start from; trained in place.
        shards: the rows to train on.
        held_out: the rows to evaluate on, or None.
        device: where to run.
        export: writes the finished model into the run's folder ``model``.
        ranks: the processes that train this model together.
        tensorboard: whether to write event files beside metrics.jsonl.
        memory: what is done without to save memory.
    """

    def __init__(
        self,
        settings: Settings,
        output: Path,
        model: MaskedLanguageModel,
        shards: ShardSet,
        held_out: ShardSet | None,
        device: torch.device,
        export: Export,
        ranks: Ranks,
        memory: Memory,
        tensorboard: bool = False,
    ) -> None:
        recipe = settings.recipe
        self.tensorboard = tensorboard
        self.ranks = ranks
        self.settings, self.recipe, self.output, self.device = settings, recipe, output, device
        self.export = export
        self.vocabulary, self.sequence_length = shards.vocabulary, shards.manifest.sequence_length
        # What a model that goes on knows of other entries is left alone: `--init` keeps the whole vocabulary in play.
        self.reach: Reach | None = None
        if recipe.reached_only and not settings.init:
            self.reach = reach_of(shards, ranks.share(len(shards)), ranks.add_up)
            if recipe.initialisation == "neighbours":
                begin_with_frequencies(model.head.bias, torch.from_numpy(self.reach.counts))
        self.model = place(model, device, memory, ranks)
        self.gradients = make_gradients(
            self.model, settings.precision, device, dropout=recipe.dropout,
            micro_batch_size=settings.micro_batch_size, entries=self.reach.entries if self.reach else None,
            compiled=not settings.no_compile, ranks=ranks,
        )  # fmt: skip
        self.optimizers: Sequence[Optimizer] = build_optimizers(
            self.model, recipe, device, self.gradients.workers, self.gradients.copies, self.gradients.pieces
        )
        order = RowOrder(len(shards), settings.seed, recipe.shuffle_window)
        self.loader = Loader(shards, order, recipe.batch_size, ranks.rank, ranks.count)
        masking = Masking(
            self.vocabulary, rate=recipe.masking_rate, unit=recipe.masking_unit,
            drawn_from=self.reach.entries if self.reach else None, device=device,
        )  # fmt: skip
        self.batches = BatchMaker(
            self.vocabulary, masking, recipe.isolate_documents, device, compiled=not settings.no_compile,
            rank=ranks.rank, ranks=ranks.count,
        )  # fmt: skip
        self.update = Update(self.batches, self.gradients, self.optimizers, recipe.gradient_clip)
        self.captured = device.type == "cuda" and not settings.no_compile and ranks.count == 1
        self._update = CapturedUpdate(self.update) if self.captured else self.update
        self.rows = ReadAhead(self._read, STEPS_READ_AHEAD[device.type])
        self.held_out = HeldOut(held_out, recipe.isolate_documents) if held_out else None
        self.checkpoints = Checkpoints(output / "checkpoints", settings.keep)
        self.done = Progressed()
        self._readings = Readings()
        self._looks_every = STEPS_BETWEEN_LOOKS[device.type]
        self._timed_from = UNTIMED_STEPS  # a step
        self._span: tuple[int, float] | None = None  # of steps not yet looked at: the first, and when it began

    def train(self) -> Pretrained:
        """Train from the newest checkpoint, if there is one, to the last step; export the model."""
        with (
            self.begun(),
            stop_request() as stop,
            Progress("pretrain", total=self.recipe.steps, unit="steps", start=self.done.step) as progress,
        ):
            asked = None
            while self.done.step < self.recipe.steps and asked is None:
                self._step()
                asked = self.after_step(stop.signal, self.save_due())
                progress.advance(1, self.note())
        done = self.finish(asked)
        if done.stopped_by:
            say(f"stopped after step {done.steps:,}; go on with: weixing pretrain --out {self.output} --resume")
        return done

    @contextmanager
    def begun(self) -> Iterator[None]:
        """The state from which the next step goes on, and what must be open for steps; what ends them ends that."""
        (self._peak,) = self.ranks.totals(peak_flops_per_second(self.device, self.settings.precision))
        # Nothing random may come between here and the first step: from now on the state is the checkpoint's.
        torch.manual_seed(self.settings.seed)
        self._resume()
        self.gradients.refresh()
        self._log = MetricsLog(self.output, self.done.step, self.tensorboard) if self.ranks.first else NoLog()
        if not self.done.step:
            self.save()  # so that --init weights are pinned, and a run killed early can be resumed
            self.checkpoints.wait()
        self.model.train()
        if self.done.step and self._due(self.settings.evaluate_every):
            self._evaluate()  # a checkpoint is written before its step is evaluated
        self._timed_from = self.done.step + UNTIMED_STEPS
        self._last_save = time.monotonic()
        self._began = self._last_save - self.done.seconds
        with self.rows, self.checkpoints, one_thread(self.gradients.workers):
            yield

    def _step(self) -> None:
        seed = self.before_update()
        self.after_update(self._update(self.rows(self.done.step), seed))

    def before_update(self) -> int:
        """Set what the next update needs; return its seed, of masks and dropout."""
        step = self.done.step
        if self._span is None:
            self._span = step, time.perf_counter()
        self.ranks.at(step, "computing")
        set_learning_rates(self.optimizers, self.learning_rate_factor(step))
        seed = _masking_seed(self.settings.seed, step)
        if self.ranks.count > 1:  # autograd's dropout: other draws on each rank, which a checkpoint need not hold
            torch.manual_seed(seed + self.ranks.rank)
        return seed

    def after_update(self, measured: Tensor) -> None:
        """Count the update, and what was `measured` in it (`Update.__call__`)."""
        done = self.done
        self._readings.add(done.step, measured)
        done.step += 1
        if self._span is None or done.step - self._span[0] >= self._looks_every or done.step == self._timed_from:
            self._settle()

    def after_step(self, signal: int | None, save_due: bool) -> int | None:
        """Report, save and evaluate where that is due; the signal by which to stop, if any rank has got one."""
        self.checkpoints.look()
        if self._due(self.settings.report_every):
            self._report()
        asked, save_due = self._agreed(signal, save_due)
        if save_due:
            self.save()
            self._last_save = time.monotonic()
        if self._due(self.settings.evaluate_every):
            self._evaluate()
        return asked

    def _read(self, step: int) -> ReadRows:
        return self.batches.read(*self.loader.update(step))

    def _look(self) -> None:
        """Take in what the steps have measured, for which the device is waited for."""
        for reading in self._readings.take(self.ranks):
            self._stop_if_not_finite(reading)
            self.done.loss_sum += reading.loss
            self.done.predicted += reading.predicted
            self.done.grad_norm = reading.norm

    def _settle(self) -> None:
        """Look, and take the time; nothing may be reported, saved or evaluated before."""
        self._look()
        if self._span is None:
            return
        (first, began), self._span = self._span, None
        self.done.seconds = time.monotonic() - self._began
        if first >= self._timed_from:
            self.done.timed_steps += self.done.step - first
            self.done.timed_seconds += time.perf_counter() - began

    def learning_rate_factor(self, step: int) -> float:
        """Factor on the peak learning rates in update `step` (from 0)."""
        steps = self.recipe.steps
        return warmup_hold_decay(
            step,
            warmup_steps=int(steps * self.recipe.warmup_share),
            decay_steps=round(steps * self.recipe.decay_share),
            total_steps=steps,
        )

    def save(self, urgent: bool = False) -> None:
        """Begin to write a checkpoint of the state as it is; `urgent`: rather than the one that is being written."""
        self._settle()
        progress = {key: value for key, value in vars(self.done).items() if key != "step"}
        self._log.sync()
        self.ranks.at(self.done.step, SAVING)
        model, optimizers = gathered(self.model, self.optimizers, self.ranks)
        if self.ranks.first:
            self.checkpoints.save(self.done.step, model, optimizers, progress, self.device, self.done.best_step, urgent)

    def _resume(self) -> None:
        """Put the newest checkpoint's state back, which rank 0 alone reads; all ranks have the same weights then."""

        def load() -> Progressed | None:
            found = self.checkpoints.load(read[0], read[1], self.device)
            return Progressed(step=found[0], **found[1]) if found else None

        read = empty(self.model, self.optimizers)
        resumed = self.ranks.by_first(load)
        if resumed:
            self.done = resumed
            scatter(read, self.model, self.optimizers, self.ranks)

    def _agreed(self, signal: int | None, save_due: bool) -> tuple[int | None, bool]:
        """A signal that any rank has got, and whether rank 0 is to save."""
        votes = [signal == SIGINT, signal is not None, save_due and self.ranks.first]
        interrupted, stopped, save = self.ranks.totals(*votes)
        return (int(SIGINT if interrupted else SIGTERM) if stopped else None), bool(save)

    def _due(self, every: int) -> bool:
        return self.done.step % every == 0 or self.done.step == self.recipe.steps

    def save_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        every = self.settings.save_every
        if self.done.step == self.recipe.steps:
            return True
        if every:
            return self.done.step % every == 0
        return time.monotonic() - self._last_save >= SECONDS_BETWEEN_SAVES

    def _report(self) -> None:
        self._settle()
        done = self.done
        done.train_loss = done.loss_sum / max(1.0, done.predicted)
        done.loss_sum = done.predicted = 0.0
        self._log.write(
            {
                "step": done.step,
                "tokens": self._tokens(done.step),
                "seconds": round(done.seconds, 3),
                "train_loss": done.train_loss,
                "learning_rate": self.recipe.peak_learning_rate * self.learning_rate_factor(done.step - 1),
                "tokens_per_second": round(self._tokens_per_second(), 1),
                "grad_norm": done.grad_norm,
            }
        )

    def _evaluate(self) -> None:
        if self.held_out is None:
            return
        self._settle()
        self.ranks.at(self.done.step, "evaluating")
        self._complete()
        result: Evaluation = self.held_out.evaluate(
            self.model, self.device, self.settings.precision, self.gradients.workers, self.ranks
        )
        self.done.evaluation = {"eval_loss": result.loss, "eval_accuracy": result.accuracy}
        self._log.write({"step": self.done.step, "tokens": self._tokens(self.done.step), **self.done.evaluation})
        where = f"{self.settings.shape.name}, " if self.settings.family else ""
        say(f"{where}step {self.done.step:,}: held-out loss {result.loss:.4f}, accuracy {result.accuracy:.4f}")
        if result.loss < self.done.best_loss:
            self.done.best_step, self.done.best_loss = self.done.step, result.loss
            self.save()

    def _complete(self) -> None:
        """Fill in the vocabulary entries that no row reaches; training never reads them."""
        if self.reach:
            fill_unreached(self.model, self.reach)

    def finish(self, asked: int | None) -> Pretrained:
        """Export the model, or save the state if a signal has `asked` to stop before the last step."""
        complete = self.done.step == self.recipe.steps
        if complete:
            self._complete()
            self.model.eval()
            self.ranks.at(self.done.step, "exporting")
            model = whole_model(self.model, self.ranks)

            def export() -> None:
                self.checkpoints.wait()
                self.export(model, self.vocabulary, self.output / "model")

            self.ranks.by_first(export)
        else:
            self.save(urgent=True)
            self.ranks.together(self.checkpoints.wait)
        self._log.close()
        return Pretrained(
            steps=self.done.step,
            tokens=self._tokens(self.done.step),
            seconds=self.done.seconds,
            tokens_per_second=self._tokens_per_second(),
            train_loss=self.done.train_loss if math.isfinite(self.done.train_loss) else None,
            eval_loss=self.done.evaluation.get("eval_loss"),
            eval_accuracy=self.done.evaluation.get("eval_accuracy"),
            peak_fraction=self._peak_fraction(),
            output=str(self.output),
            stopped_by=None if complete else asked,
            rank=self.ranks.rank,
        )

    def _tokens(self, steps: int) -> int:
        return steps * self.recipe.batch_size * self.sequence_length

    def _tokens_per_second(self) -> float:
        return self._tokens(self.done.timed_steps) / self.done.timed_seconds if self.done.timed_steps else 0.0

    def _peak_fraction(self) -> float:
        shape = self.model.encoder.shape
        if self.reach:  # what is left out is no work done
            shape = replace(shape, vocabulary_size=len(self.reach.entries))
        flops = shape.training_flops_per_token(self.sequence_length, self.recipe.masking_rate)
        return flops * self._tokens_per_second() / self._peak

    def note(self) -> str:
        """The run in a few words."""
        loss = f"loss {self.done.train_loss:.3f}, " if math.isfinite(self.done.train_loss) else ""
        return f"{loss}{self._tokens_per_second():,.0f} tokens/s, {100 * self._peak_fraction():.0f} % of peak"

    def _stop_if_not_finite(self, reading: Reading) -> None:
        """Nothing was saved or reported since the last look, so that the last checkpoint is from before `reading`."""
        if math.isfinite(reading.loss) and math.isfinite(reading.norm):
            return
        self.checkpoints.wait()
        self._log.close()
        saved = list_checkpoints(self.output / "checkpoints")
        raise UserError(
            f"the {'loss' if not math.isfinite(reading.loss) else 'gradient norm'} is not finite in step "
            f"{reading.step:,}, at learning rate "
            f"{self.recipe.peak_learning_rate * self.learning_rate_factor(reading.step):g}; "
            "no update from there on is kept",
            where=self.output,
            action=f"Start again with a lower --learning-rate. Last checkpoint: {saved[-1] if saved else 'none'}",
        )


def _masking_seed(seed: int, step: int) -> int:
    return (seed * 0x9E3779B97F4A7C15 + step) % 2**63
