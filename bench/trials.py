"""The pretraining trials of `bench.quality`: which recipes, on which shape, for how many tokens. Pure values."""

from dataclasses import dataclass, field

SEQUENCE_LENGTH = 128
BUDGET_TOKENS = {"2/128": 60_000_000, "4/256": 30_000_000}
"""N: what recipe `uer` may use up, by shape. A token is a position fed, padding included."""
UER_BATCH_SIZE = 64  # rows; the published 512 would leave 916 updates, too few to leave the plateau of frequencies
UER_LEARNING_RATES = ("1e-4", "3e-4", "1e-3", "3e-3")
PUBLISHED_RATE = "1e-4"
WEIXING_BATCH_SIZE = 16
QUICK_MODEL, QUICK_TOKENS = "2/128", 10_000_000
QUICK_RATES = ("1e-4", "1e-3")  # as published, and the best of four after 60 M tokens
QUICK_SHARES = (5, 10, 20, 40, 80)
SEEDS = (7, 8, 9)

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Trial:
    """One pretraining run.

    Args:
        study: what it is for.
        model: shape.
        recipe: by name; `options` of ``weixing pretrain`` that differ from it.
        tokens: positions to be fed, which with `batch_size` rows of 128 makes the updates.
    """

    study: str
    model: str
    recipe: str
    tokens: int
    batch_size: int
    options: Options = ()
    seed: int = SEEDS[0]
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", max(1, round(self.tokens / (self.batch_size * SEQUENCE_LENGTH))))

    @property
    def name(self) -> str:
        """Unlike that of any trial that would end otherwise; fit for a folder."""
        changes = "".join(f"-{option.lstrip('-')}-{value}" for option, value in self.options)
        shape = self.model.replace("/", "x")
        return f"{shape}-{self.recipe}-{self.steps}x{self.batch_size}{changes}-seed-{self.seed}"

    def command(self, data: str, held_out: str, output: str) -> list[str]:
        """The command line that runs it."""
        fixed = [
            "pretrain", "--data", data, "--eval-data", held_out, "--model", self.model, "--recipe", self.recipe,
            "--steps", str(self.steps), "--batch-size", str(self.batch_size), "--seed", str(self.seed),
            "--precision", "bf16", "--out", output, "--json",
        ]  # fmt: skip
        return [*fixed, *(word for pair in self.options for word in pair)]


def _uer(model: str) -> list[Trial]:
    """Recipe `uer` at each peak learning rate."""
    return [
        Trial("uer", model, "uer", BUDGET_TOKENS[model], UER_BATCH_SIZE, (("--learning-rate", rate),))
        for rate in UER_LEARNING_RATES
    ]


def _own(model: str, share: int, seeds: tuple[int, ...] = SEEDS) -> list[Trial]:
    """Recipe `weixing` as it stands, at 1/`share` of what `uer` has."""
    tokens = BUDGET_TOKENS[model] // share
    return [Trial(f"N/{share}", model, "weixing", tokens, WEIXING_BATCH_SIZE, seed=seed) for seed in seeds]


def _lever(model: str, share: int, batch_size: int = WEIXING_BATCH_SIZE, **options: str) -> Trial:
    """Recipe `weixing` with something changed; `options` are those of the command line."""
    named = tuple((f"--{key.replace('_', '-')}", value) for key, value in options.items())
    return Trial("levers", model, "weixing", BUDGET_TOKENS[model] // share, batch_size, named)


LEVERS = [
    _lever("2/128", 20, learning_rate="1e-3"),
    _lever("2/128", 20, learning_rate="4e-3"),
    _lever("2/128", 20, matrix_learning_rate="0.02"),
    _lever("2/128", 20, matrix_learning_rate="0.005"),
    _lever("2/128", 20, batch_size=8),
    _lever("2/128", 20, batch_size=32),
    _lever("2/128", 20, masking_rate="0.3"),
    _lever("2/128", 20, masking_unit="span"),
    _lever("2/128", 5, learning_rate="1e-3"),
    _lever("2/128", 5, learning_rate="4e-3"),
    _lever("4/256", 20, learning_rate="1e-3"),
    _lever("4/256", 20, learning_rate="4e-3"),
    _lever("4/256", 20, matrix_learning_rate="0.02"),
]

TRIALS = [
    *_own("2/128", 5, SEEDS[:1]),
    *_own("2/128", 20, SEEDS[:1]),
    *_own("2/128", 60, SEEDS[:1]),
    *_uer("2/128"),
    *_own("4/256", 5, SEEDS[:1]),
    *_own("4/256", 20, SEEDS[:1]),
    *_own("4/256", 60, SEEDS[:1]),
    *_uer("4/256"),
    *LEVERS,
    *(trial for model in BUDGET_TOKENS for share in (5, 20) for trial in _own(model, share, SEEDS[1:])),
]
"""In the order in which they are run: what says most first."""

QUICK = [
    *(
        Trial("quick", QUICK_MODEL, "uer", QUICK_TOKENS, UER_BATCH_SIZE, (("--learning-rate", rate),))
        for rate in QUICK_RATES
    ),
    *(Trial("quick", QUICK_MODEL, "weixing", QUICK_TOKENS // share, WEIXING_BATCH_SIZE) for share in QUICK_SHARES),
]
"""The headline in minutes: how many tokens recipe `weixing` needs for what `uer` reaches. The longest first."""
