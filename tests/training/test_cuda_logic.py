"""What a GPU does otherwise promises the same run: compiled, in micro-batches, read ahead, looked at now and then.

None of this needs a GPU: the logic runs on the CPU, and steps that may not wait for a device run on one without values.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from weixing.data.masking import Masking
from weixing.data.reach import reach_of
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.files import read_json
from weixing.formats.naming import load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.recipes import RECIPES
from weixing.training import batch as batch_room
from weixing.training import pretraining
from weixing.training.batch import Batch, BatchMaker, masked_loss
from weixing.training.gradients import AutogradGradients, make_gradients
from weixing.training.optimizers import build_optimizers, set_learning_rates
from weixing.training.pretraining import UNTIMED_STEPS, Run
from weixing.training.ranks import ALONE
from weixing.training.readings import Readings
from weixing.training.runlog import read_metrics
from weixing.training.settings import resumed_settings
from weixing.training.start import pretrain
from weixing.training.update import Update
from weixing.zoo import Shape

OPTIONS = (
    *("--data", "--model", "--init", "--recipe", "--steps", "--batch-size", "--micro-batch-size", "--learning-rate"),
    *("--matrix-learning-rate", "--masking-rate", "--masking-unit", "--shuffle-window", "--seed", "--precision"),
    *("--no-compile", "--eval-data", "--report-every", "--eval-every", "--save-every", "--keep"),
)
ROWS = 8


def train(shards: Path | None, output: Path, *, resume: bool = False, **given):
    values = {"--data": shards, **{"--" + name.replace("_", "-"): value for name, value in given.items()}}
    given = {option: values.get(option) for option in OPTIONS}
    return pretrain(given, output, load=load_masked_lm, export=lambda *_: None, device_name="cpu", resume=resume)


@pytest.fixture
def model(tiny_vocabulary) -> MaskedLanguageModel:
    model = MaskedLanguageModel(Shape(2, 64, len(tiny_vocabulary), 32))
    initialise(model, "bert", 7)
    return model


@pytest.fixture
def batches(tiny_shards) -> list[Batch]:
    """Four batches of one form: several documents a row."""
    shards = ShardSet(tiny_shards)
    maker = BatchMaker(shards.vocabulary, Masking(shards.vocabulary, rate=0.15), True, torch.device("cpu"))
    made = [maker(shards.rows(np.arange(start, start + ROWS)), None, start) for start in range(0, 4 * ROWS, ROWS)]
    assert all(batch.seen and batch.positions is not None for batch in made)
    return made


def gradients_of(model: MaskedLanguageModel) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("micro", [ROWS, 2])
def test_a_loss_compiled_in_one_piece_gives_the_gradients_of_the_plain_one_and_is_compiled_once(
    model, batches, tiny_shards, micro
):
    from torch._dynamo.backends.debugging import aot_eager

    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return aot_eager(graph, inputs)

    entries = reach_of(ShardSet(tiny_shards)).entries
    compiled = torch.compile(masked_loss, backend=count, fullgraph=True, dynamic=False)
    plain = AutogradGradients(model, "float32", ROWS, entries)
    own = AutogradGradients(model, "float32", micro, entries, compiled)
    for batch in batches:
        expected = [plain(batch, 0), *gradients_of(model)]
        for a, b in zip([own(batch, 0), *gradients_of(model)], expected, strict=True):
            assert (a - b).norm() <= 1e-5 * b.norm().clamp(min=1e-4)
    assert len(graphs) == 1


@pytest.mark.parametrize("compiled", [True, False])
def test_off_the_cpu_gradients_are_autograds_and_all_is_compiled_unless_that_is_switched_off(
    tiny_vocabulary, monkeypatch, compiled
):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: (asked.append((function, options)), function)[1])
    with torch.device("meta"):
        model = MaskedLanguageModel(Shape(1, 64, len(tiny_vocabulary), 32))
    gradients = make_gradients(model, "float32", torch.device("meta"), dropout=0.25, micro_batch_size=ROWS,
                               entries=None, compiled=compiled, ranks=ALONE)  # fmt: skip
    assert isinstance(gradients, AutogradGradients)
    assert model.encoder.embeddings.dropout.p == 0.25
    for device in ("cpu", "meta"):
        monkeypatch.setattr(torch, "Generator", lambda device: torch.default_generator)
        BatchMaker(tiny_vocabulary, Masking(tiny_vocabulary, rate=0.15), True, torch.device(device), compiled)
    assert [(function, options["fullgraph"]) for function, options in asked] == [
        (masked_loss, True), (batch_room._make, True),
    ] * compiled  # fmt: skip


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
@pytest.mark.parametrize("micro", [ROWS, 2])
def test_a_step_never_waits_for_the_device(tiny_shards, tiny_vocabulary, monkeypatch, recipe, micro):
    # On device "meta" tensors have no values: whatever asks for one, or mixes devices, is an error.
    meta = torch.device("meta")
    monkeypatch.setattr(torch, "Generator", lambda device: torch.default_generator)
    shards, recipe = ShardSet(tiny_shards), RECIPES[recipe][0]
    with meta:
        model = MaskedLanguageModel(Shape(2, 64, len(tiny_vocabulary), 32))
    entries = reach_of(shards).entries
    masking = Masking(tiny_vocabulary, rate=0.15, drawn_from=entries, device=meta)
    maker = BatchMaker(tiny_vocabulary, masking, recipe.isolate_documents, meta)
    # torch's fused AdamW knows no device "meta".
    monkeypatch.setattr(torch.optim.AdamW, "__init__", lambda self, groups, fused, **numbers: (
        torch.optim.Adam.__init__(self, groups, decoupled_weight_decay=True, foreach=True, **numbers)
    ))  # fmt: skip
    monkeypatch.setattr("weixing.training.optimizers.has_bf16", lambda device: True)
    gradients = AutogradGradients(model, "float32", micro, entries)
    optimizers = build_optimizers(model, recipe, meta)
    update, readings = Update(maker, gradients, optimizers, 1.0), Readings()
    for step in range(3):
        set_learning_rates(optimizers, step / 3)
        readings.add(step, update(maker.read(shards.rows(np.arange(ROWS)), None), step))
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        readings.take()  # the one place that does


def tensors_of(batch: Batch) -> list[Tensor]:
    masked = batch.masked
    more = [*(batch.seen or ()), *([] if batch.positions is None else [batch.positions])]
    return [masked.ids, masked.positions, masked.labels, masked.weights, *more]


@pytest.mark.parametrize("unit", ["token", "span"])
@pytest.mark.parametrize("isolate", [True, False])
def test_batches_made_by_compiled_code_are_those_of_the_plain_one_for_the_same_draws(tiny_shards, unit, isolate):
    shards = ShardSet(tiny_shards)
    rows = shards.rows(np.arange(ROWS))
    rows[3, 20:] = shards.vocabulary.pad_id
    maker = BatchMaker(shards.vocabulary, Masking(shards.vocabulary, rate=0.15, unit=unit), isolate,
                       torch.device("cpu"))  # fmt: skip
    expected = tensors_of(maker(rows, None, 5))
    maker._make = torch.compile(batch_room._make, backend="aot_eager", fullgraph=True, dynamic=False)
    own = tensors_of(maker(rows, None, 5))
    assert len(own) == (7 if isolate else 6)
    assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


def test_off_the_cpu_batches_of_isolated_documents_are_compiled_once_whatever_they_hold(tiny_shards, monkeypatch):
    monkeypatch.setattr(torch, "Generator", lambda device: torch.default_generator)
    shards = ShardSet(tiny_shards)
    several = shards.rows(np.arange(ROWS))
    whole = several.copy()
    whole[:, 1:][whole[:, 1:] == shards.vocabulary.cls_id] = shards.vocabulary.sep_id  # one document a row
    padded = several.copy()
    padded[3, 20:] = shards.vocabulary.pad_id
    forms = {}
    for device in ("cpu", "meta"):
        masking = Masking(shards.vocabulary, rate=0.15, device=torch.device(device))
        maker = BatchMaker(shards.vocabulary, masking, True, torch.device(device))
        read = [maker.read(rows, None) for rows in (several, whole, padded)]
        forms[device] = {(r.isolated, r.padded, len(tensors_of(maker.mask(r, 1)))) for r in read}
    assert forms == {"cpu": {(True, False, 7), (False, False, 4), (True, True, 7)}, "meta": {(True, True, 7)}}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Runs on the CPU look at their numbers every seven steps, and read two steps ahead."""
    monkeypatch.setitem(pretraining.STEPS_BETWEEN_LOOKS, "cpu", 7)
    monkeypatch.setitem(pretraining.STEPS_READ_AHEAD, "cpu", 2)


def untimed(run: Path) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("seconds", "tokens_per_second")} for r in read_metrics(run)]


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
def test_a_run_looked_at_now_and_then_is_the_run_looked_at_in_every_step_stopped_or_not(
    tiny_shards, tmp_path, monkeypatch, recipe, request
):
    given = {"model": "2/64", "recipe": recipe, "steps": 40, "batch_size": 4, "save_every": 9, "report_every": 15,
             "eval_every": 10, "eval_data": tiny_shards, "learning_rate": 1e-3}  # fmt: skip
    train(tiny_shards, tmp_path / "always", **given)
    request.getfixturevalue("as_on_a_gpu")
    looks = []
    take = Readings.take
    monkeypatch.setattr(Readings, "take", lambda self, ranks: (looks.append(len(self)), take(self, ranks))[1])
    train(tiny_shards, tmp_path / "seldom", **given)
    # Seven steps on, before a save, report or evaluation, and after the tenth step, from which on time is taken.
    assert np.cumsum([seen for seen in looks if seen]).tolist() == [7, 9, 10, 15, 18, 20, 27, 30, 36, 40]

    step = Run._step

    def step_until_stopped(self):
        if self.done.step == 23:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step_until_stopped)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_shards, tmp_path / "stopped", **given)
    train(None, tmp_path / "stopped", resume=True)
    names = ("always", "seldom", "stopped")
    weights = [(tmp_path / n / "checkpoints" / "step-0000040" / "weights.safetensors").read_bytes() for n in names]
    assert weights[0] == weights[1] == weights[2]
    assert untimed(tmp_path / "always") == untimed(tmp_path / "seldom") == untimed(tmp_path / "stopped")


def test_all_steps_but_the_first_ten_of_a_start_are_timed(tiny_shards, tmp_path, as_on_a_gpu, monkeypatch):
    timed = []
    finish = Run.finish
    monkeypatch.setattr(Run, "finish", lambda self, *a: (timed.append(self.done.timed_steps), finish(self, *a))[1])
    given = {"model": "1/64", "batch_size": 2, "save_every": 5, "report_every": 100, "eval_every": 100}
    done = train(tiny_shards, tmp_path / "run", steps=45, **given)
    assert timed == [45 - UNTIMED_STEPS]
    assert 0 < (45 - UNTIMED_STEPS) * 2 * 32 / done.tokens_per_second < done.seconds


@pytest.mark.parametrize("looks_every", [1, 7])
def test_a_loss_that_is_not_finite_is_named_by_its_step_and_never_saved_or_reported(
    tiny_shards, tmp_path, monkeypatch, looks_every
):
    monkeypatch.setitem(pretraining.STEPS_BETWEEN_LOOKS, "cpu", looks_every)
    step = Run._step

    def break_weights(self):
        if self.done.step == 16:
            with torch.no_grad():
                self.model.encoder.layers[0].feed_forward.inner.bias[3] = float("nan")
            self.gradients.refresh()
        step(self)

    monkeypatch.setattr(Run, "_step", break_weights)
    said = "not finite in step 16, .*no update from there on is kept.*step-0000014"
    with pytest.raises(UserError, match=said):
        train(tiny_shards, tmp_path / "run", model="2/64", steps=40, batch_size=4, save_every=7, report_every=6)
    assert [report["step"] for report in read_metrics(tmp_path / "run")] == [6, 12]
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert all(tensor.isfinite().all() for tensor in load_file(newest / "weights.safetensors").values())


def test_no_compile_is_recorded_and_kept_to(tiny_shards, tmp_path):
    given = {"model": "1/64", "steps": 2, "batch_size": 2}
    for name, chosen in (("with", None), ("without", True)):
        train(tiny_shards, tmp_path / name, no_compile=chosen, **given)
        assert read_json(tmp_path / name / "run.json", "")["settings"]["no_compile"] is bool(chosen)
    options = dict.fromkeys(OPTIONS)
    assert resumed_settings(tmp_path / "without", {**options, "--no-compile": True}).no_compile
    assert resumed_settings(tmp_path / "without", options).no_compile
    with pytest.raises(UserError, match=r"--no-compile True .*the run: False"):
        resumed_settings(tmp_path / "with", {**options, "--no-compile": True})
