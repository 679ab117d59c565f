"""A comparison of two models as a Markdown table. Pure."""

from weixing.reporting.bootstrap import Difference
from weixing.reporting.comparing import Comparison, Side
from weixing.reporting.markdown import markdown_table
from weixing.reporting.table import title


def as_text(comparison: Comparison) -> str:
    """A line a task, then what its columns mean; no line feed at the end."""
    confidence = f"{100 * comparison.confidence:.0f} %"
    header = ["task", "A", "B", "B - A", f"{confidence} interval", "p", "sign flips", "rows", "seeds of A, B"]
    rows = [
        [
            title(task.task, task.split, task.metric),
            *_numbers(task.difference),
            f"{task.rows:,}",
            f"{len(task.first.seeds)}, {len(task.second.seeds)}",
        ]
        for task in comparison.tasks
    ]
    if comparison.mean is not None:
        rows.append([f"mean of {len(rows)}", *_numbers(comparison.mean), "", ""])
    settings = [
        f"- {name} on {title(task.task, task.split, task.metric)}: {_setting(side)}"
        for task in comparison.tasks
        for name, side in (("A", task.first), ("B", task.second))
    ]
    left_out = [
        f"Only {name} was run on {', '.join(tasks)}."
        for name, tasks in (("A", comparison.only_first), ("B", comparison.only_second))
        if tasks
    ]
    paragraphs = [
        "Scores in percent, differences in points; percentile interval and two-sided p-value of a paired bootstrap "
        f"over dev rows and seeds, {comparison.resamples:,} resamples. Sign flips: the share of resamples without a "
        "difference or with the opposite one. The settings were chosen on these same rows, which p does not take into "
        "account; nor, with one seed, the variation between seeds.",
        *left_out,
        "\n".join(settings),
    ]
    return "\n\n".join([markdown_table([header, *rows], "---:"), *paragraphs])


def _numbers(difference: Difference) -> list[str]:
    return [
        f"{difference.first:.2f}",
        f"{difference.second:.2f}",
        f"{difference.difference:+.2f}",
        f"{difference.low:+.2f} to {difference.high:+.2f}",
        f"{difference.p:.4f}",
        f"{100 * difference.sign_flips:.1f} %",
    ]


def _setting(side: Side) -> str:
    numbers = f"{side.epochs} epochs, batch {side.batch_size}, learning rate {side.learning_rate:g}"
    return f"{side.model}, {numbers}, seeds {', '.join(map(str, side.seeds))}"
