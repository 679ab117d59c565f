"""`weixing inspect`: what a model file is."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[str, typer.Argument(help="A checkpoint, a model folder, a run folder, or a hub id.")],
    config: Annotated[Path | None, typer.Option(help="Configuration of a UER or TensorFlow checkpoint.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tell a model's format, shape, numbers and tensors, and what keeps it from being used.

    Nothing in a file is ever executed.

    Example: weixing inspect book_review_model.bin-8000
    """
    from weixing.formats.bert import PARTS
    from weixing.formats.inspection import inspect, summary

    found = inspect(model, config)
    if as_json:
        print(json.dumps(summary(found), ensure_ascii=False, indent=2))
        return
    shape = found.shape
    rows = {"format": found.format, "weights": str(found.where)}
    if shape:
        assumed = " (assumed: --config FILE would tell)" if found.heads_assumed else ""
        rows["shape"] = f"{shape.name}: {shape.heads} heads{assumed}, feed-forward {shape.feed_forward:,}"
        rows["tables"] = (
            f"{shape.vocabulary_size:,} tokens, {shape.positions} positions, {shape.token_types} token types"
        )
    rows["heads on it"] = ", ".join(PARTS[part] for part in found.parts) or "none"
    rows["parameters"] = f"{found.parameters:,}"
    rows["tensors"] = ", ".join(f"{count} {kind}" for kind, count in found.tensors.items())
    rows["vocabulary"] = (
        f"{found.vocabulary[0]} ({found.vocabulary[1]:,} tokens)" if found.vocabulary else "none beside it"
    )
    rows["LayerNorms"] = found.layer_norms
    aside = Counter(found.left_aside.values())
    for name, tensors in (("missing", found.missing), ("unknown", found.unknown)):
        if tensors:
            rows[name] = f"{len(tensors)}: {', '.join(tensors[:8])}{', …' if len(tensors) > 8 else ''}"
    if aside:
        rows["left aside"] = ", ".join(f"{count} ({what})" for what, count in aside.items())
    for name, value in rows.items():
        print(f"{name:12s} {value}")
    for problem in found.problems:
        print(f"problem: {problem}")
