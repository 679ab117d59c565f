"""The published scores, and which of them a result may be set beside. Reads one file, which comes with the package.

They are facts from the model card of uer/chinese_roberta_L-2_H-128 and its four sisters: dev accuracy in percent, the
best of 18 runs (epochs 3, 5, 8; batch 32, 64; learning rate 3e-5, 1e-4, 3e-4), one seed each.
"""

import csv
from functools import cache
from importlib import resources

from weixing.tasks.catalogue import CATALOGUE, TNEWS_KEYWORDS

SIX_TASKS = tuple(CATALOGUE)
OTHER_TEXTS = {"tnews": TNEWS_KEYWORDS.name}
"""A task whose published scores are of other texts than its own, and the task that has those: on headlines alone the
same models score 5 to 11 points less (`tasks.catalogue`, docs/experiments.md). A difference between the two says
nothing."""

SCORE = "score"  # the plain mean of the six, as the model card has it
SCORE_AS_PUBLISHED = f"score ({TNEWS_KEYWORDS.name})"
MEANS = {SCORE: SIX_TASKS, SCORE_AS_PUBLISHED: tuple(OTHER_TEXTS.get(task, task) for task in SIX_TASKS)}
"""Columns with the mean of six tasks, and of which six."""

COMPARED_TASKS = {task: task for task in SIX_TASKS if task not in OTHER_TEXTS} | {
    other: task for task, other in OTHER_TEXTS.items()
}
"""Tasks whose scores compare with published ones, and the name that these have in the published table."""

PUBLISHED_RUNS = 18


@cache
def published_scores() -> dict[str, dict[str, float]]:
    """Shape name → task (or ``score``) of the published table → dev score in percent."""
    text = resources.files("weixing.reporting").joinpath("published_scores.csv").read_text(encoding="utf-8")
    return {
        f"{row['layers']}/{row['hidden']}": {task: float(row[task]) for task in (SCORE, *SIX_TASKS)}
        for row in csv.DictReader(text.splitlines())
    }


def published(shape: str | None, column: str) -> float | None:
    """What the published table has of a shape beside a column of ours, whether it compares or not; None: nothing."""
    name = SCORE if column in MEANS else COMPARED_TASKS.get(column, column)
    return published_scores().get(shape or "", {}).get(name)
