"""Results made by hand, for the tests of this room."""

from weixing.tasks.catalogue import CATALOGUE, NAMED
from weixing.tasks.results import Result


def result(
    score: float,
    *,
    model: str = "run",
    task: str = "book_review",
    seed: int = 7,
    epochs: int = 3,
    split: str = "dev",
    metric: str = "accuracy",
    total: int | None = None,
    **details,
) -> Result:
    """A run; of a public task on its whole dev set, unless `total` says otherwise."""
    rows = total if total is not None else NAMED[task].dev.rows if task in NAMED else 100
    correct = round(score * rows / 100)
    return Result(model, task, split, metric, score, epochs, 32, 1e-4, seed, 1.5, 30, correct, rows, details=details)


def six(first: float, model: str, shape: str, **details) -> list[Result]:
    """The six tasks with scores of `first`, `first` + 1 and so on, each with one run on whole data."""
    return [
        result(first + number, model=model, task=task, shape=shape, **{"data": "complete", **details})
        for number, task in enumerate(CATALOGUE)
    ]


def many() -> list[Result]:
    """Everything that a table may have to say: seeds, partial and altered data, another dev set, other metrics."""
    tiny = {"model": "tiny|<b>", "shape": "2/128", "weights": "aaa"}
    return [
        result(84.44, task="book_review", data="complete", **tiny),
        result(84.04, task="book_review", data="complete", seed=8, **tiny),
        result(80.0, task="book_review", data="complete", epochs=5, **tiny),
        result(91.0, task="chnsenticorp", data="complete", **tiny),
        result(80.5, task="lcqmc", data="partial", data_note="train is test.txt, 12,500 rows", **tiny),
        result(55.25, task="tnews", data="complete", **tiny),
        result(52.0, task="iflytek", data="altered", **tiny),
        result(62.0, task="ocnli", data="complete", **tiny),
        result(71.0, task="names", metric="entity_f1", data="custom", **tiny),
        result(90.0, model="base", shape="12/768", task="book_review", total=4000),
        result(77.0, model="base", shape="12/768", task="book_review", split="test"),
        result(99.0, model="odd", shape="3/192", task="names", metric="entity_f1", data="custom"),
    ]
