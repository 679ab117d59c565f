"""Two runs of pretraining, the second from the first, as a card has them to describe."""

from functools import partial
from pathlib import Path

import pytest

from weixing.data.prepare import prepare
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.text.vocabulary import Vocabulary
from weixing.training.start import pretrain

OPTIONS = (
    *("--data", "--model", "--init", "--recipe", "--steps", "--batch-size", "--micro-batch-size", "--learning-rate"),
    *("--matrix-learning-rate", "--masking-rate", "--masking-unit", "--shuffle-window", "--seed", "--precision"),
    *("--no-compile", "--eval-data", "--report-every", "--eval-every", "--save-every", "--keep"),
)


def train(output: Path, **given) -> None:
    """A run of `weixing pretrain` with these options."""
    options = dict.fromkeys(OPTIONS) | {"--" + name.replace("_", "-"): value for name, value in given.items()}
    export = partial(export_masked_lm, overwrite=True)
    pretrain(options, output, load=load_masked_lm, export=export, device_name="cpu")


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_shards: Path, tiny_vocabulary: Vocabulary
) -> Path:
    """A folder with ``first`` (rows of 32, 6 updates) and ``second`` (rows of 64, 4 updates), of shape 1/64."""
    folder = tmp_path_factory.mktemp("runs")
    prepare([tiny_corpus], folder / "rows64", vocabulary=tiny_vocabulary, sequence_length=64)
    train(
        folder / "first", data=tiny_shards, eval_data=folder / "rows64", model="1/64", steps=6, batch_size=4,
        precision="float32",
    )  # fmt: skip
    train(folder / "second", data=folder / "rows64", init=str(folder / "first"), steps=4, batch_size=2, seed=11)
    return folder
