"""Tiny tasks that a tiny model learns in a second."""

import random
from pathlib import Path

import pytest

from tests.tasks.grids import LISTS
from weixing.cli.main import run
from weixing.formats.huggingface import export_masked_lm
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.tasks.files import Task, load_task
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD, BAD, FILLER = "好美香", "坏丑臭", "天地人山水火风雨日月星云"


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in (*SPECIALS, *GOOD, *BAD, *FILLER)), encoding="utf-8")
    return Vocabulary.read(path)


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    return Tokenizer(vocabulary)


@pytest.fixture
def encoder(vocabulary: Vocabulary) -> Encoder:
    encoder = Encoder(Shape(1, 64, len(vocabulary), positions=64))
    initialise(encoder)
    return encoder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> str:
    model = MaskedLanguageModel(Shape(1, 64, len(vocabulary), positions=64))
    initialise(model)
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    export_masked_lm(model, vocabulary, folder)
    return str(folder)


def rows(count: int, seed: int, pairs: bool = False) -> str:
    """A TSV of texts of 2 to 30 characters, one of which tells the label."""
    chance = random.Random(seed)
    lines = ["label\ttext_a\ttext_b" if pairs else "label\ttext_a"]
    for _ in range(count):
        label = chance.randrange(2)
        text = chance.choices(FILLER, k=chance.randint(1, 29))
        text.insert(chance.randint(0, len(text)), chance.choice(GOOD if label else BAD))
        half = chance.randint(1, len(text) - 1)  # no text is empty
        texts = ["".join(text[:half]), "".join(text[half:])] if pairs else ["".join(text)]
        lines.append("\t".join([str(label), *texts]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def task_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    (folder / "train.tsv").write_text(rows(300, seed=1), encoding="utf-8")
    (folder / "dev.tsv").write_text(rows(60, seed=2), encoding="utf-8")
    return folder / "train.tsv", folder / "dev.tsv"


@pytest.fixture(scope="session")
def pairs_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """As `task`, each text cut in two at any place."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "train.tsv").write_text(rows(300, seed=1, pairs=True), encoding="utf-8")
    (folder / "dev.tsv").write_text(rows(60, seed=2, pairs=True), encoding="utf-8")
    return load_task("pairs", folder / "train.tsv", folder / "dev.tsv")


@pytest.fixture(scope="session")
def task(task_files: tuple[Path, Path]) -> Task:
    return load_task("tiny", *task_files)


@pytest.fixture(scope="session")
def grid_options(model_folder: str, task_files: tuple[Path, Path]) -> list[str]:
    """Of `finetune`: a grid of eight quick cells."""
    train, dev = map(str, task_files)
    fixed = ["--max-length", "32", "--threads", "1", "--device", "cpu"]
    return ["--model", model_folder, "--train", train, "--dev", dev, *LISTS, *fixed]


@pytest.fixture(scope="session")
def whole_grid(grid_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted run of it in one process leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(["finetune", "--out", str(out), *grid_options]) == 0
    return out
