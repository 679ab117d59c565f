"""The resolved settings of a pretraining run: what run.json records and `--resume` compares. Reads run.json."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.files import read_json
from weixing.recipes import Recipe, recipe_for
from weixing.training.checkpoints import KEEP
from weixing.training.devices import Precision
from weixing.zoo import Shape, parse_shape

DEFAULT_SEED = 7
RUN_KIND = "pretrain"


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run's course, and how often it reports.

    Args:
        data, eval_data: folders of shards; data_sha256, eval_data_sha256: identity of their rows.
        shape: of the model; init: model whose weights it starts from, or None.
        micro_batch_size: rows of one forward pass; an update may take several.
        no_compile: whether a GPU does without torch.compile.
        report_every, evaluate_every: in steps; save_every: in steps, None: every ten minutes.
        keep: how many of the newest checkpoints stay; a resumed run may have another number.
        family: the shapes that are trained side by side with this one, itself among them; none: it is trained alone.
        teacher, teacher_sha256: model that gives a share of the targets, and its identity, or None.
        teacher_share: that share; the rest is the labels'.
    """

    data: str
    data_sha256: str
    shape: Shape
    init: str | None
    recipe: Recipe
    micro_batch_size: int
    seed: int
    precision: Precision
    eval_data: str | None
    eval_data_sha256: str | None
    report_every: int
    evaluate_every: int
    save_every: int | None
    no_compile: bool = False
    keep: int = KEEP
    family: tuple[str, ...] = ()
    teacher: str | None = None
    teacher_sha256: str | None = None
    teacher_share: float = 0.0

    def options(self) -> dict[str, Any]:
        """The settings under the names of the command line's options."""
        return {
            "--data": self.data,
            "--model": self.shape.name,
            "--init": self.init,
            "--recipe": self.recipe.name,
            "--steps": self.recipe.steps,
            "--batch-size": self.recipe.batch_size,
            "--micro-batch-size": self.micro_batch_size,
            "--learning-rate": self.recipe.peak_learning_rate,
            "--matrix-learning-rate": self.recipe.matrix_learning_rate,
            "--masking-rate": self.recipe.masking_rate,
            "--masking-unit": self.recipe.masking_unit,
            "--shuffle-window": self.recipe.shuffle_window,
            "--seed": self.seed,
            "--precision": self.precision,
            "--no-compile": self.no_compile,
            "--eval-data": self.eval_data,
            "--report-every": self.report_every,
            "--eval-every": self.evaluate_every,
            "--save-every": self.save_every,
            "--keep": self.keep,
            "--teacher": self.teacher,
            "--teacher-share": self.teacher_share,
        }


def new_settings(
    given: dict[str, Any], shards: ShardSet, held_out: ShardSet | None, shape: Shape, precision: Precision
) -> Settings:
    """Settings of a new run from the options that were `given` (under their names, None: not given).

    Raises:
        UserError: an option out of range, or one that the shards cannot serve.
    """
    manifest = shards.manifest
    base = recipe_for(given["--recipe"] or "weixing", manifest.sequence_length)
    changes = {
        "steps": given["--steps"],
        "batch_size": given["--batch-size"],
        "peak_learning_rate": given["--learning-rate"],
        "matrix_learning_rate": given["--matrix-learning-rate"],
        "masking_rate": given["--masking-rate"],
        "masking_unit": given["--masking-unit"],
        "shuffle_window": given["--shuffle-window"],
    }
    # Windows of layout uer have no [CLS] of their own, so there are no borders to keep to.
    changes["isolate_documents"] = base.isolate_documents and manifest.layout == "packed"
    recipe = replace(base, **{name: value for name, value in changes.items() if value is not None})
    steps = recipe.steps
    settings = Settings(
        data=plain(given["--data"]),
        data_sha256=manifest.sha256,
        shape=shape,
        init=plain(given["--init"]),
        recipe=recipe,
        micro_batch_size=_given(given, "--micro-batch-size", recipe.batch_size),
        seed=_given(given, "--seed", DEFAULT_SEED),
        precision=precision,
        eval_data=plain(given["--eval-data"]),
        eval_data_sha256=held_out.manifest.sha256 if held_out else None,
        report_every=_given(given, "--report-every", max(1, min(50, steps // 20))),
        evaluate_every=_given(given, "--eval-every", max(1, steps // 10)),
        save_every=given["--save-every"],
        no_compile=bool(given["--no-compile"]),
        keep=_given(given, "--keep", KEEP),
    )
    _check(settings, shards, held_out)
    return settings


def _check(settings: Settings, shards: ShardSet, held_out: ShardSet | None) -> None:
    _check_counts(settings)
    options = settings.options()
    if settings.recipe.batch_size % settings.micro_batch_size:
        raise UserError(
            f"--micro-batch-size {settings.micro_batch_size}",
            accepted=f"a divisor of the batch size, {settings.recipe.batch_size}",
        )
    if not 0 <= settings.seed < 2**63:
        raise UserError(f"--seed {settings.seed}", accepted="0 to 2⁶³ - 1")
    for option in ("--learning-rate", "--matrix-learning-rate"):
        if not 0 <= options[option] < float("inf"):
            raise UserError(f"{option} {options[option]}", accepted="a number from 0 up")
    if not 0 < settings.recipe.masking_rate <= 1:
        raise UserError(f"--masking-rate {settings.recipe.masking_rate}", accepted="above 0, at most 1")
    if settings.recipe.masking_unit == "word" and not shards.manifest.has_words:
        raise UserError(
            "these shards have no word borders", where=shards.folder, action="Prepare them with --whole-words"
        )
    for rows in (shards, held_out):
        if rows and rows.manifest.sequence_length > settings.shape.positions:
            raise UserError(
                f"rows of {rows.manifest.sequence_length} positions", where=rows.folder,
                accepted=f"at most {settings.shape.positions}, the model's positions",
            )  # fmt: skip


def _check_counts(settings: Settings) -> None:
    options = settings.options()
    for option in ("--steps", "--batch-size", "--micro-batch-size", "--shuffle-window", "--report-every",
                   "--eval-every", "--save-every", "--keep"):  # fmt: skip
        if options[option] is not None and options[option] < 1:
            raise UserError(f"{option} {options[option]}", accepted="1 or more")


def resumed_settings(run: Path, given: dict[str, Any]) -> Settings:
    """Settings of the run in folder `run`; options that were `given` must be those of the run.

    Raises:
        UserError: there is no run there, or a given option differs.
    """
    value = read_json(run / "run.json", "run.json of a run to resume")
    if not isinstance(value, dict) or value.get("kind") != RUN_KIND:
        raise UserError("this is no folder of a pretraining run", where=run / "run.json")
    stored = value["settings"]
    recipe = {**stored["recipe"], "betas": tuple(stored["recipe"]["betas"])}
    family = tuple(stored.get("family", ()))
    settings = Settings(**{**stored, "recipe": Recipe(**recipe), "shape": Shape(**stored["shape"]), "family": family})
    shape = parse_shape(str(given["--model"]))
    given = {**given, "--model": shape.name if shape else given["--model"]}
    if given.get("--keep") is not None:
        settings = replace(settings, keep=given["--keep"])
        _check_counts(settings)
    options = settings.options()
    different = [
        f"{option} {plain(value)} (the run: {options[option]})"
        for option, value in given.items()
        if value is not None and plain(value) != options[option]
    ]
    if different:
        raise UserError(
            "--resume with other settings: " + ", ".join(different), where=run,
            action="Leave these options out to go on as before, or start a new run with another --out",
        )  # fmt: skip
    return settings


def as_json(settings: Settings) -> dict[str, Any]:
    """The settings as run.json holds them."""
    return asdict(settings)


def _given(given: dict[str, Any], option: str, default: int) -> int:
    return default if given[option] is None else given[option]


def plain(value: Any) -> Any:
    """Folders as absolute paths, so that a run may be resumed from another folder; anything else as it is."""
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_dir()):
        return str(Path(value).resolve())
    return value
