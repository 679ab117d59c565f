"""The objective of each kind of label. Pure."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from weixing.errors import UserError
from weixing.tasks.files import Task
from weixing.tasks.objectives import ManyClasses, Number, Objective, OneClass, Tags
from weixing.tasks.rows import Kind
from weixing.tasks.similarity import SAME_OR_NOT, Similarity
from weixing.tasks.tuning import Tuning

ONLY_SIMILARITY = {"contrast": "--contrast", "pooling": "--pooling", "scale": "--scale"}
NEVER_SIMILARITY = {"r_drop": "--r-drop", "teachers": "--teacher"}


def objective_for(task: Task, tuning: Tuning = Tuning()) -> Objective:  # noqa: B008  # frozen
    """The objective of a task, whose training labels say what numbers are like, and dev labels how vectors are judged.

    Raises:
        UserError: something is tuned that this kind of label does not have.
    """
    similarity = task.kind == "similarity"
    _require_defaults(tuning, NEVER_SIMILARITY if similarity else ONLY_SIMILARITY, similarity)
    if similarity:
        metric = "auc" if set(task.dev.labels) <= SAME_OR_NOT else "spearman"
        return Similarity((), tuning.contrast, tuning.pooling, tuning.scale, metric)
    if task.kind == "number":
        numbers = np.array(task.train.labels, dtype=np.float64)
        return Number((), float(numbers.mean()), float(numbers.std()) or 1.0)
    kinds: dict[Kind, type[OneClass | ManyClasses]] = {"class": OneClass, "multi-label": ManyClasses, "tags": Tags}
    return kinds[task.kind](task.labels)


def _require_defaults(tuning: Tuning, options: Mapping[str, str], similarity: bool) -> None:
    for field in fields(tuning):
        if field.name in options and getattr(tuning, field.name) != field.default:
            raise UserError(
                f"{options[field.name]} {'with' if similarity else 'without'} --task similarity",
                accepted="it with any other task" if similarity else "it with --task similarity alone",
            )
