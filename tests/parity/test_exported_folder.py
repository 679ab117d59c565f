"""An exported folder in the hands of transformers, used as its own documentation says."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.inference.model import Model
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary, load_vocabulary
from weixing.zoo import Shape

TEXTS = [
    "输入任意文本内容",
    "你好",
    "Hello WORLD 2024,café!",
    "中国的首都是[MASK]京。",
    "",
    "字" * 60,
    "㐀𠀀 \t未知字",
]
POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary("builtin")


@pytest.fixture(scope="module")
def model(vocabulary: Vocabulary) -> MaskedLanguageModel:
    model = MaskedLanguageModel(Shape(2, 128, len(vocabulary)))
    initialise(model, "uer")
    with torch.no_grad():
        model.encoder.embeddings.token.weight *= 4  # logits far enough apart for an order
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: MaskedLanguageModel, vocabulary: Vocabulary) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_masked_lm(model, vocabulary, folder)
    return folder


@pytest.mark.parametrize(
    "text", ["中国的首都是[MASK]京。", "[MASK]好", "他说[MASK]京和上[MASK]都很大", "Hello [MASK]龘 wörld [SEP] 2024"]
)
def test_fill_mask_gives_what_the_pipeline_gives(text: str, folder: Path, model: MaskedLanguageModel) -> None:
    theirs = transformers.pipeline("fill-mask", model=str(folder), top_k=7)(text)
    ours = Model(model, load_vocabulary(folder)).fill_mask(text, top_k=7)
    several = text.count("[MASK]") > 1
    assert (len(ours), isinstance(ours[0], list)) == (len(theirs), several)
    for row, their_row in zip(ours if several else [ours], theirs if several else [theirs], strict=True):
        for candidate, expected in zip(row, their_row, strict=True):
            assert candidate == expected | {"score": pytest.approx(expected["score"], rel=1e-5)}


@pytest.mark.parametrize("pooling", ["cls", "mean", "tokens"])
def test_features_are_the_hidden_states_of_bert_model(
    pooling: str, folder: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    bert = transformers.BertModel.from_pretrained(folder).eval()
    ours = Model(model, vocabulary).features(TEXTS, pooling, batch_tokens=40)
    for vector, text in zip(ours, TEXTS, strict=True):
        with torch.inference_mode():
            hidden = bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        expected = {"cls": hidden[0], "mean": hidden.mean(0), "tokens": hidden}[pooling]
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected, rtol=1e-5, atol=1e-5)


def test_bert_model_pools_the_first_token_the_same_at_every_load(folder: Path) -> None:
    inputs = transformers.BertTokenizer.from_pretrained(folder)("你好世界", return_tensors="pt")
    outputs = []
    for _ in range(2):
        bert, info = transformers.BertModel.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"]
        outputs.append(bert.eval()(**inputs))
    assert torch.equal(outputs[0].pooler_output, outputs[1].pooler_output)
    torch.testing.assert_close(outputs[0].pooler_output, outputs[0].last_hidden_state[:, 0].tanh())


def test_masked_language_model_misses_no_key_and_leaves_the_pooler_alone_unused(
    folder: Path, model: MaskedLanguageModel
) -> None:
    theirs, info = transformers.BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert info["unexpected_keys"] == POOLER
    assert theirs.dtype == torch.float32
    ids = torch.arange(1024).view(2, 512)
    with torch.inference_mode():
        logits, expected = model(ids), theirs.eval()(ids).logits
    assert ((logits - expected).abs().max() / expected.abs().max()).item() < 1e-5


def test_the_auto_classes_find_model_and_tokenizer(folder: Path) -> None:
    assert isinstance(transformers.AutoModelForMaskedLM.from_pretrained(folder), transformers.BertForMaskedLM)
    assert isinstance(transformers.AutoTokenizer.from_pretrained(folder), transformers.BertTokenizer)


@pytest.mark.parametrize("files", ["as exported", "tokenizer.json alone", "vocab.txt alone"])
def test_every_way_to_the_tokenizer_gives_our_ids_and_the_limit_of_512(
    files: str, folder: Path, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    kept = {
        "as exported": ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"],
        "tokenizer.json alone": ["tokenizer.json", "tokenizer_config.json"],
        "vocab.txt alone": ["vocab.txt", "tokenizer_config.json"],
    }
    for name in kept[files]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    theirs, ours = transformers.BertTokenizer.from_pretrained(tmp_path), Tokenizer(vocabulary)
    assert theirs.model_max_length == 512
    assert theirs.mask_token_id == vocabulary.mask_id
    assert theirs.pad_token_id == vocabulary.pad_id
    for text in TEXTS:
        ids = [vocabulary.cls_id, *ours.encode(text, specials=True), vocabulary.sep_id]
        assert theirs(text).input_ids == ids
    pair = theirs("你好", "世界")
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1, 1]


def test_a_classifier_gives_transformers_logits_and_labels(tmp_path: Path, vocabulary: Vocabulary) -> None:
    classifier = Classifier(Encoder(Shape(2, 128, len(vocabulary))), labels=3)
    initialise(classifier, "uer")
    labels = ["体育", "财经", "娱乐"]
    export_classifier(classifier, vocabulary, labels, tmp_path / "classifier")
    theirs, info = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path / "classifier", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert [theirs.config.id2label[number] for number in range(3)] == labels
    ids = torch.arange(60).view(3, 20) * 100
    token_types = torch.zeros_like(ids)
    token_types[:, 9:] = 1
    expected = theirs.eval()(ids, token_type_ids=token_types).logits
    torch.testing.assert_close(classifier.eval()(ids, token_types), expected, rtol=1e-5, atol=1e-5)
    scores = transformers.pipeline("text-classification", model=str(tmp_path / "classifier"), top_k=None)(["你好"])[0]
    assert {score["label"] for score in scores} == set(labels)
