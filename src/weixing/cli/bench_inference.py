"""`weixing bench-inference`: texts/s, latency, memory and exactness of every way to compute a model on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Model folder, run folder, hub id, or shape.")],
    source: Annotated[
        Path | None, typer.Option("--input", help="Texts like yours, a line each (the first 1,000). Default: built in.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="That each way computes at least.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure every back end and precision here: vectors of texts (mean over tokens), one way after the other.

    Texts/s of many texts, the median latency of one, the process's most memory, the least cosine to float32, and
    transformers beside them if it is installed. Let nothing else run meanwhile.

    Example: weixing bench-inference --model runs/tiny --input texts.txt
    """
    from weixing.inference import lines
    from weixing.inference.choosing import choose
    from weixing.inference.measuring import MOST_TEXTS, measure, sample_texts
    from weixing.progress import say
    from weixing.training.devices import pick_device

    texts = sample_texts()
    if source is not None:
        first = next(lines.chunks(source, lines.form_of(source), most=MOST_TEXTS))
        texts = [text for index, text in enumerate(first.texts) if index not in first.bad]
    results = measure(model, texts, seconds, lambda name: say(f"measuring {name}"))
    auto = choose("auto", "auto", pick_device())
    ours = [each for each in results if each.backend != "transformers" and each.is_exact_enough]
    quickest = max(ours, key=lambda each: each.texts_per_second)
    if as_json:
        values = {
            "model": model,
            "texts": len(texts),
            "auto": auto._asdict(),
            "quickest": {"backend": quickest.backend, "precision": quickest.precision},
            "results": [asdict(each) for each in results],
        }
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return
    print(f"{'back end':13} {'precision':9} {'texts/s':>9} {'ms a text':>10} {'MB':>7} {'least cosine':>13}")
    for each in results:
        marks = ["auto"] if (each.backend, each.precision) == auto else []
        marks += ["quickest"] if each is quickest else []
        marks += [] if each.is_exact_enough else ["too far from float32 for auto"]
        memory = "–" if each.memory_mb is None else f"{each.memory_mb:,.0f}"
        print(
            f"{each.backend:13} {each.precision:9} {each.texts_per_second:>9,.1f} {each.latency_ms:>10.2f} "
            f"{memory:>7} {each.cosine:>13.7f}  {', '.join(marks)}".rstrip()
        )
    if (quickest.backend, quickest.precision) != auto:
        say(f"quicker here than what auto takes: --backend {quickest.backend} --precision {quickest.precision}")
