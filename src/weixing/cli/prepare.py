"""`weixing prepare`: corpus → token shards."""

import gc
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    corpus: Annotated[list[str], typer.Argument(help="Files (.txt .jsonl, also .gz .zst .xz), folders, globs.")],
    out: Annotated[Path, typer.Option(help="New folder for the shards.")],
    seq_length: Annotated[int, typer.Option(help="Positions a row.")] = 128,
    vocab: Annotated[str | None, typer.Option(help="vocab.txt, model folder or hub id. Default: built in.")] = None,
    layout: Annotated[
        Literal["packed", "uer"], typer.Option(help="packed: no waste; uer: UER-py's windows.")
    ] = "packed",
    documents: Annotated[Literal["line", "blank-line"], typer.Option(help="What ends a document in .txt.")] = "line",
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Store word borders (jieba) for masking.")] = False,
    workers: Annotated[int, typer.Option(help="How many tokenize at a time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Text → token shards: memory-mapped uint16 rows with a manifest.

    Example: weixing prepare corpus/*.txt.gz --out shards128 --seq-length 128 --workers 2
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's matrix products are not needed: 0.05 s to start them
    gc.set_threshold(100_000)  # loading the compiler makes that many objects, none of them garbage: 0.06 s
    from weixing.data.prepare import prepare
    from weixing.text.vocabulary import load_vocabulary

    done = prepare(
        list(corpus),
        out,
        vocabulary=load_vocabulary(vocab),
        sequence_length=seq_length,
        layout=layout,
        documents=documents,
        whole_words=whole_words,
        workers=workers,
        overwrite=overwrite,
    )
    if as_json:
        print(json.dumps(asdict(done), ensure_ascii=False))
        return
    print(
        f"{done.documents:,} documents, {done.bytes_in / 1e6:.1f} MB → {done.rows:,} rows of {seq_length}, "
        f"{done.tokens:,} tokens, in {done.seconds:.1f} s → {done.output}"
    )
