"""`weixing classify`: labels of texts by a fine-tuned model, as a table, JSON, or a file of JSON lines or TSV."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from weixing.cli.ways import BACKEND_HELP, PRECISION_HELP, figures, say_way
from weixing.errors import UserError


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Folder of `finetune`, model folder, or hub id.")],
    text: Annotated[str | None, typer.Argument(help="One text; or use --input.")] = None,
    second_text: Annotated[str | None, typer.Argument(help="The second text of a pair.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="A text a line; .jsonl, .tsv; also .gz .zst .xz. Any size.")
    ] = None,
    column: Annotated[str | None, typer.Option("--text", help="Key or column. Default: text, text_a.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="That of the second text. Default: text_b, if any.")] = None,
    out: Annotated[Path | None, typer.Option(help="New .jsonl or .tsv; with --input.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Labels a text. Default: those that hold.")] = None,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most positions in a batch.")] = 4096,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="An error in place of labels; else stop.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was stopped or killed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Labels of texts, or of pairs of texts, with their scores, by a model that `weixing finetune` made.

    Labels that hold: the best one; of several at once those with a score of 1/2 or more; of numbers the number.

    Example: weixing classify --input texts.txt --model tuned --out labels.jsonl
    """
    if (text is None) == (source is None):
        raise UserError("either a text or --input is needed, and not both", action="See: weixing classify --help")
    if (out is None) != (source is None):
        raise UserError("--input and --out are needed together", action="See: weixing classify --help")

    from weixing.inference.model import load

    if source is None or out is None:
        loaded = load(model, backend, precision)
        say_way(loaded, backend)
        scores = loaded.scores([str(text)], None if second_text is None else [second_text])
        found = loaded.require_labels().predicted(scores[0].tolist(), top_k)
        if as_json:
            print(json.dumps(found, ensure_ascii=False, indent=2))
        for each in [] if as_json else found:
            print(f"{each['score']:8.4f}  {each['label']}")
        return

    from weixing.files import require_new
    from weixing.inference.bulk import Request, classify_file

    if out.suffix not in (".jsonl", ".tsv"):
        raise UserError(f"--out {out}", accepted="a name that ends in .jsonl or .tsv")
    require_new(out, overwrite, folder=False)
    loaded = load(model, backend, precision)
    say_way(loaded, backend)
    began = time.perf_counter()
    request = Request(source, out, column, text_pair, skip_bad, batch_tokens, overwrite, resume)
    done = classify_file(loaded, request, top_k)
    seconds = time.perf_counter() - began
    result = {
        **figures(done, loaded, seconds),
        "output": str(out),
    }
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(f"{done.texts:,} texts ({done.tokens:,} tokens) in {seconds:.2f} s, {loaded.precision} → {out}")
