"""`weixing prepare`: corpus → token shards; with --from-uer, a dataset of UER-py → token shards."""

import gc
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weixing.errors import UserError

if TYPE_CHECKING:
    from weixing.data.output import Prepared


def run(
    corpus: Annotated[
        list[str],
        typer.Argument(help="Files (.txt .jsonl, also .gz .zst .xz; .parquet .arrow), folders, globs; s3://…"),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the shards.")],
    seq_length: Annotated[int | None, typer.Option(help="Positions a row. Default: 128.")] = None,
    vocab: Annotated[str | None, typer.Option(help="vocab.txt, model folder or hub id. Default: built in.")] = None,
    layout: Annotated[
        Literal["packed", "uer"] | None, typer.Option(help="packed (default): no waste; uer: UER-py's windows.")
    ] = None,
    documents: Annotated[
        Literal["line", "blank-line"] | None, typer.Option(help="What ends a document in .txt. Default: line.")
    ] = None,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Store word borders (jieba) for masking.")] = False,
    normalize: Annotated[Literal["nfc", "nfkc"] | None, typer.Option(help="Unicode form of the texts.")] = None,
    min_chars: Annotated[int | None, typer.Option(help="Shortest document kept.")] = None,
    max_chars: Annotated[int | None, typer.Option(help="Longest document kept.")] = None,
    chinese_share: Annotated[float | None, typer.Option(help="Least Chinese share, 0 to 1.")] = None,
    deduplicate: Annotated[
        Literal["exact", "near"] | None, typer.Option(help="Leave out documents seen before; near: MinHash.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out documents sharing 13 characters with this dev or test file. May be repeated."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many tokenize at a time. Default: 1.")] = None,
    ray: Annotated[str | None, typer.Option(help="Ray cluster to use: auto or host:port.")] = None,
    from_uer: Annotated[
        bool, typer.Option("--from-uer", help="Read .pt datasets of UER-py's mlm processor; needs their --vocab.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was stopped or killed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Text → token shards: memory-mapped uint16 rows with a manifest.

    Example: weixing prepare corpus/*.txt.gz --out shards128 --workers 2

    Example: weixing prepare corpus.jsonl --exclude dev.tsv --exclude test.tsv --deduplicate near --out shards128

    Example: weixing prepare s3://corpora/news/ saved_dataset/train --out shards128

    Example: weixing prepare dataset.pt --from-uer --vocab google_zh_vocab.txt --out shards128
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's matrix products are not needed: 0.05 s to start them
    gc.set_threshold(100_000)  # loading the compiler makes that many objects, none of them garbage: 0.06 s
    from weixing.text.vocabulary import load_vocabulary

    done: Prepared
    if ray is not None and workers is not None:
        raise UserError("--ray with --workers", accepted="one of them: with --ray all cores of the cluster tokenize")
    if from_uer:
        from weixing.data.uer_dataset import prepare_from_uer

        if vocab is None:
            raise UserError("--from-uer without --vocab", accepted="the vocabulary that the dataset was made with")
        decided = {
            "--documents": documents, "--whole-words": whole_words, "--workers": workers is not None,
            "--layout packed": layout == "packed", "--normalize": normalize, "--min-chars": min_chars is not None,
            "--max-chars": max_chars is not None, "--chinese-share": chinese_share is not None,
            "--deduplicate": deduplicate, "--exclude": exclude, "--resume": resume,
            "--ray": ray,
        }  # fmt: skip
        if pointless := [option for option, value in decided.items() if value]:
            raise UserError(
                f"{', '.join(pointless)} with --from-uer: the dataset holds rows of tokens, cut by UER-py already",
                accepted="--vocab, --out, --seq-length if it is the dataset's, --layout uer, --overwrite, --json",
            )
        done = prepare_from_uer(
            list(corpus), out, vocabulary=load_vocabulary(vocab), sequence_length=seq_length, overwrite=overwrite
        )
    else:
        from weixing.data.cleaning import Cleaning
        from weixing.data.excluding import read_excluded
        from weixing.data.prepare import prepare

        grams, files = read_excluded(exclude) if exclude else (None, ())
        done = prepare(
            list(corpus),
            out,
            vocabulary=load_vocabulary(vocab),
            sequence_length=128 if seq_length is None else seq_length,
            layout=layout or "packed",
            documents=documents or "line",
            whole_words=whole_words,
            workers=1 if workers is None else workers,
            ray=ray,
            cleaning=Cleaning(normalize, min_chars, max_chars, chinese_share, grams, files, deduplicate),
            overwrite=overwrite,
            resume=resume,
        )
    if as_json:
        result = asdict(done)
        if not done.left_out:
            del result["left_out"]  # nothing was cleaned
        print(json.dumps(result, ensure_ascii=False))
        return
    print(
        f"{done.documents:,} documents, {done.bytes_in / 1e6:.1f} MB → {done.rows:,} rows, "
        f"{done.tokens:,} tokens, in {done.seconds:.1f} s → {done.output}"
    )
    if done.left_out:
        print("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in done.left_out.items()))
