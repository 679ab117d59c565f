"""What is measured on: corpus, vocabulary, shards, task, texts, models, made once in the bench's temporary folder.

With a data folder these are the files of the speed comparisons; without one, the sample corpus and the sentiment task
that come with the package. Every name that is handed out is relative to the temporary folder, in which all children
run, so that the commands in the results hold no path of a machine. Reads and writes files, starts processes.
"""

import lzma
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from bench.children import Finished, run, weixing, worker
from weixing.data.reach import reach_of
from weixing.data.shards import ShardSet
from weixing.text.builtin_vocabulary import builtin_tokens
from weixing.text.sample.generator import sample_documents, sample_task
from weixing.text.vocabulary import Vocabulary

SAMPLE_BYTES = 8_000_000
QUICK_BYTES = 1_000_000
QUICK_ROWS = 320  # of a task's training file
WARM_UP_ROWS = 64
LONGEST_TEXT = 126  # characters, so that with [CLS] and [SEP] no text has more than 128 tokens
SEQUENCE_LENGTH = 128


class Inputs:
    """The inputs of all sections.

    Args:
        folder: the temporary folder.
        data: a folder with bench/corpus_8mb.txt.xz, vocab/google_zh_vocab.txt and tasks/; None: what is built in.
        quick: less of everything.
    """

    def __init__(self, folder: Path, data: Path | None, quick: bool) -> None:
        self.folder, self.data, self.quick = folder, data, quick

    @property
    def description(self) -> str:
        """What the corpus, task and texts are."""
        source = "corpus_8mb, chnsenticorp, book_review" if self.data else "built-in sample corpus and sentiment task"
        return f"{source}, the first part alone" if self.quick else source

    @cached_property
    def vocabulary(self) -> str:
        """vocab.txt."""
        if self.data:
            shutil.copy(self.data / "vocab" / "google_zh_vocab.txt", self.folder / "vocab.txt")
        else:
            Vocabulary(builtin_tokens()).write(self.folder / "vocab.txt")
        return "vocab.txt"

    @cached_property
    def vocabulary_size(self) -> int:
        """Entries of the vocabulary."""
        return len(Vocabulary.read(self.folder / self.vocabulary))

    @cached_property
    def _corpus(self) -> bytes:
        """The corpus once, one document a line."""
        if self.data:
            text = lzma.decompress((self.data / "bench" / "corpus_8mb.txt.xz").read_bytes())
        else:
            text = b"".join(f"{document}\n".encode() for document in sample_documents(SAMPLE_BYTES))
        return text[: text.index(b"\n", QUICK_BYTES) + 1] if self.quick else text

    def corpus(self, copies: int = 1) -> str:
        """The corpus, so many times over."""

        name = f"corpus-{copies}x.txt"

        def make() -> None:
            with open(self.folder / name, "wb") as stream:
                for _ in range(copies):
                    stream.write(self._corpus)
                stream.flush()
                os.fsync(stream.fileno())  # so that it is not written to the disk while something is measured

        return self._once(name, make)

    def corpus_bytes(self, copies: int = 1) -> int:
        """Size of `corpus`."""
        return copies * len(self._corpus)

    @cached_property
    def one_document(self) -> str:
        """A corpus of one line: what is left of a command's time is its start-up."""
        (self.folder / "one-line.txt").write_bytes(self._corpus[: self._corpus.index(b"\n") + 1])
        return "one-line.txt"

    @cached_property
    def task(self) -> str:
        """The folder of the task's train.tsv and dev.tsv."""
        return self._task("task", QUICK_ROWS if self.quick else None)

    @cached_property
    def small_task(self) -> str:
        """The same with few rows, for what is run before something is timed."""
        return self._task("small-task", WARM_UP_ROWS)

    def _task(self, folder: str, rows: int | None) -> str:
        source = self.data / "tasks" / "chnsenticorp" if self.data else sample_task("sentiment")
        (self.folder / folder).mkdir()
        for name in ("train.tsv", "dev.tsv"):
            header, *lines = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
            (self.folder / folder / name).write_text("".join([header, *lines[:rows]]), encoding="utf-8")
        return folder

    @cached_property
    def task_name(self) -> str:
        """What the task is called."""
        return "chnsenticorp" if self.data else "sentiment"

    @cached_property
    def texts(self) -> str:
        """A file of texts, one a line, in the order of the dev file that they come from."""
        source = self.data / "tasks" / "book_review" if self.data else sample_task("sentiment")
        header, *rows = (source / "dev.tsv").read_text(encoding="utf-8").splitlines()
        column = header.split("\t").index("text_a")
        texts = [row.split("\t")[column][:LONGEST_TEXT] for row in rows]
        kept = texts[:QUICK_ROWS] if self.quick else texts
        (self.folder / "texts.txt").write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
        return "texts.txt"

    def first_texts(self, count: int) -> str:
        """The first of `texts`."""
        name = f"texts-{count}.txt"

        def make() -> None:
            lines = (self.folder / self.texts).read_text(encoding="utf-8").splitlines(keepends=True)
            (self.folder / name).write_text("".join(lines[:count]), encoding="utf-8")

        return self._once(name, make)

    def shards(self, layout: str, sequence_length: int = SEQUENCE_LENGTH) -> str:
        """The corpus once, as shards."""
        name = f"shards-{layout}-{sequence_length}"
        options = ("--vocab", self.vocabulary, "--layout", layout, "--seq-length", sequence_length)
        return self._once(name, lambda: self.run(weixing("prepare", self.corpus(), "--out", name, *options)))

    def parted_shards(self) -> tuple[str, str]:
        """The corpus as packed shards in two parts: all but its last twentieth, and that, held out."""
        border = self._corpus.rindex(b"\n", 0, len(self._corpus) * 19 // 20) + 1
        parts = {"shards-first": self._corpus[:border], "shards-held-out": self._corpus[border:]}
        for name, text in parts.items():
            file = f"{name}.txt"
            if not (self.folder / name).exists():
                (self.folder / file).write_bytes(text)
                self.run(weixing("prepare", file, "--out", name, "--vocab", self.vocabulary))
        first, held_out = parts
        return first, held_out

    def reached_entries(self, shards: str) -> int:
        """How many vocabulary entries these shards hold."""
        return len(reach_of(ShardSet(self.folder / shards)).entries)

    def model(self, shape: str) -> str:
        """A model of fresh random weights, as this project exports it."""
        name = f"model-{shape.replace('/', '-')}"
        return self._once(name, lambda: self.run(worker("export", shape, self.vocabulary, name)))

    def classifier(self, shape: str) -> str:
        """A model of that shape, fine-tuned on the task from random weights for one epoch."""
        folder = f"classifier-{shape.replace('/', '-')}"
        command = weixing(
            "finetune", "--model", shape, "--vocab", self.vocabulary, "--train", f"{self.task}/train.tsv",
            "--dev", f"{self.task}/dev.tsv", "--epochs", 1, "--batch-sizes", 32, "--learning-rates", "1e-4",
            "--device", "cpu", "--out", folder,
        )  # fmt: skip
        self._once(folder, lambda: self.run(command, timeout=3600))
        return f"{folder}/model"

    def run(self, command: list[str], timeout: float = 900) -> Finished:
        """Run a child in the temporary folder."""
        return run(command, self.folder, timeout=timeout)

    def remove(self, name: str) -> None:
        """Delete what a child made, or an input that is large."""
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _once(self, name: str, make: Callable[[], object]) -> str:
        if not (self.folder / name).exists():
            make()
        return name
