"""What a model may be called."""

from pathlib import Path

import pytest
import torch
import transformers

from weixing.errors import UserError
from weixing.formats import naming
from weixing.formats.huggingface import FILES_READ, export_classifier, export_masked_lm
from weixing.formats.naming import describe_model, load_encoder, load_masked_lm, weights_sha256
from weixing.formats.weight_files import OLD_WEIGHTS, WEIGHTS
from weixing.inference.model import Model
from weixing.model.heads import Classifier, MaskedLanguageModel
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
    monkeypatch.setattr(naming, "cached", lambda repository, file: None)
    assert torch.equal(load_masked_lm("someone/some-model")[0](IDS), model(IDS))
    assert fetched == [("someone/some-model", file) for file in (*FILES_READ, "tokenizer_config.json")]


def test_a_hub_id_whose_weights_are_of_the_old_form_alone_is_read(
    run: Path, model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(transformers.BertForMaskedLM.from_pretrained(run / "model").state_dict(), run / "model" / OLD_WEIGHTS)
    (run / "model" / WEIGHTS).unlink()

    def download(repository: str, file: str) -> Path:
        if not (run / "model" / file).exists():
            raise UserError(f"cannot get {file}", where=repository)
        return run / "model" / file

    monkeypatch.setattr(naming, "download", download)
    monkeypatch.setattr(naming, "cached", lambda repository, file: None)
    assert torch.equal(load_masked_lm("someone/some-model")[0](IDS), model(IDS))
    (run / "model" / OLD_WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"cannot get model\.safetensors"):
        load_masked_lm("someone/some-model")


@pytest.mark.parametrize("name", ["tiny", "2/128"])
@pytest.mark.parametrize("file", ["config.json", "model/config.json", "run.json"])
def test_a_name_that_a_shape_and_a_folder_share_is_refused(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True)
    load_masked_lm(name, vocabulary=vocabulary)
    (Path(name) / file).parent.mkdir(exist_ok=True)
    (Path(name) / file).write_text("{}")
    with pytest.raises(UserError, match=rf"Write \./{name} for the folder"):
        load_masked_lm(name, vocabulary=vocabulary)


def test_fresh_weights_are_announced_and_weights_that_are_read_are_not(
    run: Path, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    load_masked_lm("tiny", vocabulary=vocabulary)
    assert capsys.readouterr().err == "note: 2/128 has fresh random weights\n"
    load_masked_lm(str(run))
    assert capsys.readouterr().err == ""


def test_the_encoder_of_a_classifier_is_loaded_and_its_lack_of_a_masked_lm_head_said(
    tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    export_classifier(classifier, vocabulary, ["a", "b", "c"], tmp_path / "tuned")
    encoder, _ = load_encoder(str(tmp_path / "tuned"))
    assert torch.equal(encoder(IDS), classifier.encoder(IDS))
    assert capsys.readouterr().err.endswith("not used: classifier and pooler\n")
    with pytest.raises(UserError, match=r"no masked-LM head.*features"):
        load_masked_lm(str(tmp_path / "tuned"))


def test_the_sum_of_the_weights_tells_models_apart_and_is_the_same_at_every_load(
    run: Path, vocabulary: Vocabulary
) -> None:
    def sum_of(name: str, its_vocabulary: Vocabulary = vocabulary) -> str:
        return weights_sha256(name, *load_encoder(name, vocabulary=its_vocabulary))

    other = Vocabulary([*vocabulary.tokens[:-1], "别"])
    sums = [sum_of(str(run)), sum_of("2/128"), sum_of("2/128", other), sum_of("1/128")]
    assert len(set(sums)) == 4
    assert sum_of("tiny") == sums[1]
    model, _ = load_masked_lm(str(run))
    assert weights_sha256(str(run), model.encoder, vocabulary) == sums[0]
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.inner.bias[3] += 1e-6
    assert weights_sha256(str(run), model.encoder, vocabulary) != sums[0]


def test_what_is_no_name_of_a_model_is_refused_with_the_list_of_names_and_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(naming, "download", lambda *_: pytest.fail("a download was tried"))
    (tmp_path / "runs").mkdir()
    for name in ("huge", "runs/tny", "./runs/tny", "/nowhere/at/all", "a/b/c"):
        with pytest.raises(UserError, match=r"2/128 … 12/768.*model folder.*hub id"):
            load_masked_lm(name)


def test_the_model_of_the_package_is_there_without_a_download_and_knows_the_capital(monkeypatch) -> None:
    monkeypatch.setattr(naming, "download", lambda *_: pytest.fail("a download was tried"))
    model, vocabulary = load_masked_lm("builtin")
    assert vocabulary == load_vocabulary(None)
    assert sum(file.stat().st_size for file in naming.BUILTIN_FOLDER.iterdir()) < 12e6
    best = Model(model.eval(), vocabulary).fill_mask("中国的首都是[MASK]京。")[0]
    assert best["token_str"] == "北"
    assert best["score"] > 0.5


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
