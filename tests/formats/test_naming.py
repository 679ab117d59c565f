"""What a model may be called."""

from pathlib import Path

import pytest
import torch

from weixing.errors import UserError
from weixing.formats import naming
from weixing.formats.huggingface import FILES_READ, export_masked_lm
from weixing.formats.naming import describe_model, load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary, load_vocabulary

IDS = torch.tensor([[2, 5, 4, 3]])


@pytest.fixture
def run(tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary) -> Path:
    """A run folder, its model exported."""
    export_masked_lm(model, vocabulary, tmp_path / "tiny-run" / "model")
    (tmp_path / "tiny-run" / "run.json").write_text("{}")
    return tmp_path / "tiny-run"


@pytest.mark.parametrize("name", ["tiny", "2/128", "3/192"])
def test_a_shape_is_fresh_weights_that_the_seed_decides(name: str, vocabulary: Vocabulary) -> None:
    first, given = load_masked_lm(name, vocabulary=vocabulary)
    assert given is vocabulary
    assert first.encoder.shape.vocabulary_size == len(vocabulary)
    assert torch.equal(first(IDS), load_masked_lm(name, vocabulary=vocabulary, seed=7)[0](IDS))
    assert not torch.equal(first(IDS), load_masked_lm(name, vocabulary=vocabulary, seed=8)[0](IDS))


def test_a_shape_without_a_vocabulary_takes_the_built_in_one() -> None:
    model, vocabulary = load_masked_lm("2/128")
    assert vocabulary == load_vocabulary("builtin")
    assert model.encoder.shape.vocabulary_size == len(vocabulary)


def test_a_model_folder_and_its_run_folder_are_the_same_model(run: Path, model: MaskedLanguageModel) -> None:
    for name in (str(run), str(run / "model")):
        assert torch.equal(load_masked_lm(name)[0](IDS), model(IDS))


def test_a_model_with_another_vocabulary_than_the_one_required_is_refused(run: Path, vocabulary: Vocabulary) -> None:
    load_masked_lm(str(run), vocabulary=vocabulary)
    with pytest.raises(UserError, match=r"vocabulary is .* not"):
        load_masked_lm(str(run), vocabulary=Vocabulary([*vocabulary.tokens[:-1], "别"]))


def test_a_hub_id_is_fetched_file_by_file_and_read(
    run: Path, model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(repository: str, file: str) -> Path:
        fetched.append((repository, file))
        return run / "model" / file

    monkeypatch.setattr(naming, "download", download)
    assert torch.equal(load_masked_lm("someone/some-model")[0](IDS), model(IDS))
    assert fetched == [("someone/some-model", file) for file in FILES_READ]


def test_what_is_no_name_of_a_model_is_refused_with_the_list_of_names_and_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(naming, "download", lambda *_: pytest.fail("a download was tried"))
    (tmp_path / "runs").mkdir()
    for name in ("huge", "runs/tny", "./runs/tny", "/nowhere/at/all", "a/b/c", "builtin"):
        with pytest.raises(UserError, match=r"2/128 … 12/768.*model folder.*hub id"):
            load_masked_lm(name)


def test_a_run_that_has_not_exported_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model in this folder"):
        load_masked_lm(str(tmp_path))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"not exported.*--resume"):
        load_masked_lm(str(tmp_path))


def test_a_label_is_short_and_says_where_weights_are_untrained(run: Path) -> None:
    assert describe_model("tiny") == describe_model("2/128") == "2/128 untrained"
    assert describe_model(str(run)) == describe_model(str(run / "model")) == "tiny-run"
    assert describe_model("uer/chinese_roberta_L-8_H-512") == "uer/chinese_roberta_L-8_H-512"
