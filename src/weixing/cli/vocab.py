"""`weixing vocab`: text → a BERT WordPiece vocabulary."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    corpus: Annotated[list[str], typer.Argument(help="Files (.txt .jsonl, also .gz .zst .xz), folders, globs.")],
    out: Annotated[Path, typer.Option(help="The new vocab.txt.")],
    size: Annotated[int, typer.Option(help="Most entries.")] = 21_128,
    min_frequency: Annotated[int, typer.Option(help="Rarer characters and word pieces become no entry.")] = 5,
    documents: Annotated[Literal["line", "blank-line"], typer.Option(help="What ends a document in .txt.")] = "line",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Text → a BERT WordPiece vocabulary: characters first, then pieces of Latin words and numbers.

    Special tokens have the ids of BERT-Chinese. Says how many tokens of the corpus it does not know.

    Example: weixing vocab corpus/*.txt.gz --out vocab.txt --size 16384
    """
    import time
    from collections.abc import Iterator

    from weixing.files import require_new
    from weixing.progress import Progress
    from weixing.text.corpus import CorpusReader
    from weixing.text.learning import learn_vocabulary

    require_new(out, overwrite, folder=False)
    began = time.monotonic()
    reader = CorpusReader(corpus, documents)
    with Progress("vocab", total=reader.total_bytes / 1e6, unit="MB of files") as progress:

        def watched() -> Iterator[str]:
            for document in reader:
                yield document
                if reader.disk_bytes_read / 1e6 > progress.done:
                    progress.advance(reader.disk_bytes_read / 1e6 - progress.done)

        learnt = learn_vocabulary(watched(), size, min_frequency)
    learnt.vocabulary.write(out)
    unknown_share = learnt.unknown / max(learnt.tokens, 1)
    result = {
        "entries": len(learnt.vocabulary),
        "characters": learnt.characters,
        "documents": learnt.documents,
        "bytes_in": reader.bytes_read,
        "tokens": learnt.tokens,
        "unknown": learnt.unknown,
        "unknown_share": unknown_share,
        "sha256": learnt.vocabulary.sha256,
        "seconds": time.monotonic() - began,
        "output": str(out),
    }
    if as_json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return
    print(
        f"{len(learnt.vocabulary):,} entries, {learnt.characters:,} of them characters, from {learnt.documents:,} "
        f"documents, {reader.bytes_read / 1e6:.1f} MB → {out}\n"
        f"They cover {1 - unknown_share:.3%} of the corpus' {learnt.tokens:,} tokens; the rest is [UNK]."
    )
