"""The published scores, and which of them a result may be set beside. Reads one file, which comes with the package.

They are facts from the model card of uer/chinese_roberta_L-2_H-128 and its four sisters: dev accuracy in percent, the
best of 18 runs (epochs 3, 5, 8; batch 32, 64; learning rate 3e-5, 1e-4, 3e-4), one seed each.
"""

import csv
from functools import cache
from importlib import resources

from weixing.tasks.catalogue import CATALOGUE

SIX_TASKS = tuple(CATALOGUE)
SCORE = "score"  # the plain mean of the six, as the model card has it
PUBLISHED_RUNS = 18

OTHER_EDITION = frozenset({"tnews"})
"""Tasks whose published scores are of another edition of the data than `tasks.catalogue` describes: on TNEWS of CLUE
2020 the same models score 5 to 11 points less (Tiny 51.5, Base 57.6: `examples/benchmark/clue` of PaddleNLP; see also
issue 228 of UER-py). A difference to them says nothing."""


@cache
def published_scores() -> dict[str, dict[str, float]]:
    """Shape name → task (or ``score``) → published dev score in percent."""
    text = resources.files("weixing.reporting").joinpath("published_scores.csv").read_text(encoding="utf-8")
    return {
        f"{row['layers']}/{row['hidden']}": {task: float(row[task]) for task in (SCORE, *SIX_TASKS)}
        for row in csv.DictReader(text.splitlines())
    }


def published(shape: str | None, task: str) -> float | None:
    """The published score of a shape on a task (or ``score``); None where there is none."""
    return published_scores().get(shape or "", {}).get(task)
