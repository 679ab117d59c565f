"""The model card says what files say, in both languages; the hub's own library reads it; its code runs."""

import contextlib
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from weixing.data.shards import read_manifest
from weixing.errors import UserError
from weixing.formats.huggingface import import_model
from weixing.formats.naming import weights_sha256
from weixing.recipes import RECIPES
from weixing.reporting.card import card, marker_of, write_card
from weixing.reporting.card_facts import Facts, gather
from weixing.reporting.card_words import LANGUAGES
from weixing.tasks.results import Result
from weixing.training.runlog import read_metrics
from weixing.zoo import ZOO, Shape

HEADINGS = {
    "zh": ["模型说明", "24 个小模型", "评测结果", "使用方法", "训练数据与过程", "局限", "许可证", "引用"],
    "en": [
        *("Model description", "The 24 miniatures", "Results", "How to use", "Training data and procedure"),
        *("Limits", "Licence", "Citation"),
    ],
}


def own_result(model: Path, score: float, seed: int = 7, **details: Any) -> Result:
    loaded, vocabulary = import_model(model)
    weights = weights_sha256(str(model), loaded.encoder, vocabulary)[:12]
    return Result(
        "tiny", "book_review", "dev", "accuracy", score, 3, 32, 1e-4, seed, 1.5, 30, round(80 * score), 8000,
        details={"weights": weights, "shape": "1/64", **details},
    )  # fmt: skip


def table_rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell; of rows that begin alike the first."""
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE):
        first, *others = line.split(" | ")
        rows.setdefault(first, others)
    return rows


@pytest.fixture(scope="module")
def folder(runs: Path) -> Path:
    return runs / "second" / "model"


@pytest.fixture(scope="module")
def facts(folder: Path) -> Facts:
    results = [own_result(folder, 82.5), own_result(folder, 84.25, seed=8)]
    return gather(
        str(folder.parent),
        repository="some-org/tiny",
        results=results,
        license="apache-2.0",
        datasets=["some/corpus"],
    )


@pytest.fixture(scope="module")
def text(facts: Facts) -> str:
    return card(facts, LANGUAGES)


def test_the_hubs_library_reads_the_metadata(text: str) -> None:
    data = ModelCard(text).data
    assert (data.language, data.license, data.library_name) == ("zh", "apache-2.0", "transformers")
    assert (data.pipeline_tag, data.mask_token, data.datasets) == ("fill-mask", "[MASK]", ["some/corpus"])
    assert data.widget == [{"text": "中国的首都是[MASK]京。"}]
    assert {"bert", "chinese", "L-1_H-64"} <= set(data.tags)
    assert data.base_model is None
    (result,) = data.eval_results
    assert (data.model_name, result.dataset_name, result.dataset_split) == ("tiny", "book_review", "dev")
    assert (result.task_type, result.metric_type, result.metric_value) == ("text-classification", "accuracy", 84.25)
    assert result.metric_name == "accuracy, %, best of 2 runs"


def test_both_languages_have_the_same_parts_and_chinese_comes_first(facts: Facts, text: str) -> None:
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS["zh"] + HEADINGS["en"]
    assert "[English](#english)" in text
    assert "\n# English\n" in text
    chinese, english = (card(facts, (language,)) for language in LANGUAGES)
    assert re.findall(r"^## (.+)$", chinese, re.MULTILINE) == HEADINGS["zh"]
    assert re.findall(r"^## (.+)$", english, re.MULTILINE) == HEADINGS["en"]
    assert "English" not in chinese
    assert len(re.findall(r"^\|", chinese, re.MULTILINE)) == len(re.findall(r"^\|", english, re.MULTILINE))
    prose = re.sub(r"\A---.*?\n---\n|```.*?```", "", english, flags=re.DOTALL).replace("微型", "")
    assert re.findall(r"[一-鿿]", prose) == []


def test_the_description_has_exact_numbers(folder: Path, text: str) -> None:
    shape, rows = Shape(1, 64, 404), table_rows(text)
    assert rows["参数量"] == rows["parameters"] == [f"{shape.parameters:,}"]
    assert rows["词表"] == ["404 项"]
    assert rows["最长输入"] == ["512 个词元"]
    assert rows["training, a token (rows of 128, 15 % masked)"] == [
        f"{shape.training_flops_per_token(128, 0.15) / 1e6:.1f} MFLOP"
    ]
    layer = 8 * 64**2 + 4 * 64 * 256 + 4 * 128 * 64
    assert rows["encoder's forward pass, a token (rows of 128)"] == [f"{layer / 1e6:.1f} MFLOP"]
    size = (folder / "model.safetensors").stat().st_size
    assert rows["weights (float32)"] == [f"`model.safetensors` {size / 1e6:.1f} MB"]


def test_the_matrix_links_all_24_published_models(text: str) -> None:
    links = re.findall(r"\[(\d+/\d+)(?: \(\w+\))?\]\(https://huggingface.co/(uer/[^)]+)\) ([\d.]+) M", text)
    expected = [(shape.name, shape.upstream_id, f"{shape.parameters / 1e6:.1f}") for shape in ZOO.values()]
    assert links == 2 * expected


def test_both_stages_stand_as_their_runs_recorded_them(runs: Path, tiny_shards: Path, text: str) -> None:
    rows = table_rows(text)
    reports = [[r for r in read_metrics(runs / name) if "train_loss" in r][-1] for name in ("first", "second")]
    evaluation = [r for r in read_metrics(runs / "first") if "eval_loss" in r][-1]
    records = [json.loads((runs / name / "run.json").read_text()) for name in ("first", "second")]
    manifests = [read_manifest(tiny_shards), read_manifest(runs / "rows64")]
    assert rows["updates"] == ["6", "4"]
    fed = [6 * 4 * 32, 4 * 2 * 64]
    passes = [tokens / (m.rows * m.sequence_length) for tokens, m in zip(fed, manifests, strict=True)]
    assert rows["positions fed, padding included"] == [
        f"{tokens} ({count:.2f} passes)" for tokens, count in zip(fed, passes, strict=True)
    ]
    assert rows["喂入的位置数（含填充）"] == [
        f"{tokens}（数据的 {count:.2f} 遍）" for tokens, count in zip(fed, passes, strict=True)
    ]
    assert rows["corpus"] == ["`corpus.txt`", "`corpus.txt`"]
    assert rows["size of the corpus"] == [
        f"{m.documents} documents, {m.bytes_in / 1e6:.1f} MB, {m.tokens:,} tokens" for m in manifests
    ]
    assert rows["row length, tokens (layout)"] == ["32 (packed)", "64 (packed)"]
    assert rows["seed"] == ["7", "11"]
    assert rows["precision of matrix products"] == [record["settings"]["precision"] for record in records]
    assert rows["started"] == [record["started"] for record in records]
    assert rows["device"] == [
        f"{r['machine']['device']}, {r['machine']['cores']} core{'s' * (r['machine']['cores'] > 1)}, 1 thread"
        for r in records
    ]
    assert rows["last training loss"] == [f"{report['train_loss']:.4f}" for report in reports]
    loss, accuracy = evaluation["eval_loss"], evaluation["eval_accuracy"]
    assert rows["on held-out rows"] == [f"loss {loss:.4f}, accuracy {100 * accuracy:.1f} %", "–"]
    assert rows["留出集成绩"] == [f"损失 {loss:.4f}，准确率 {100 * accuracy:.1f} %", "–"]


def test_no_path_of_the_machine_gets_into_a_card(runs: Path, tmp_path: Path, text: str) -> None:
    assert str(runs) not in text
    assert str(tmp_path.parent) not in text


def test_limits_follow_from_the_runs(text: str) -> None:
    assert "训练时每行最长 64 个词元" in text
    assert "Rows of training had at most 64:" in text


def test_the_share_of_the_published_positions_is_told_for_a_published_shape(facts: Facts) -> None:
    published = sum(recipe.steps * recipe.batch_size * recipe.sequence_length for recipe in RECIPES["uer"])
    assert published == 81_920_000_000  # 1,000,000 × 512 × 128 + 250,000 × 128 × 512
    share = f"{100 * (6 * 4 * 32 + 4 * 2 * 64) / published:.3g} %"
    english = card(replace(facts, shape=Shape(2, 128, 404)), ("en",))
    assert f"It has seen 1,280 positions, {share} of the 81.9 G of the published models' recipe." in english
    assert "**[2/128 (Tiny)](https://huggingface.co/uer/chinese_roberta_L-2_H-128)**" in english


def test_without_run_and_results_a_card_says_so_or_says_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "alone")
    text = card(gather(str(tmp_path / "alone")), LANGUAGES)
    assert "没有找到训练记录（`run.json`）" in text
    assert "No record of its training (`run.json`) was found" in text
    assert "评测结果" not in text
    assert "没有声明许可证。" in text
    data = ModelCard(text).data
    assert data.license is None
    assert data.eval_results is None
    assert '("fill-mask", model=".")' in text


def test_a_run_elsewhere_can_be_named_but_must_have_trained_such_a_model(
    runs: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "alone")
    assert len(gather(str(tmp_path / "alone"), run=runs / "second").training.stages) == 2
    assert len(gather(str(tmp_path / "alone"), run=runs / "first").training.stages) == 1
    shutil.copytree(runs / "first", tmp_path / "other", ignore=shutil.ignore_patterns("checkpoints"))
    record = json.loads((tmp_path / "other" / "run.json").read_text())
    record["settings"]["shape"]["layers"] = 2
    (tmp_path / "other" / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"trained a model of .*'layers': 2"):
        gather(str(tmp_path / "alone"), run=tmp_path / "other")
    with pytest.raises(UserError, match=r"no run.json of a run here"):
        gather(str(tmp_path / "alone"), run=tmp_path / "alone")


def changed(run: Path, copy: Path, **settings: Any) -> Facts:
    """Facts about a copy of a run whose run.json has other settings."""
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    record = json.loads((copy / "run.json").read_text())
    record["settings"] |= settings
    (copy / "run.json").write_text(json.dumps(record))
    return gather(str(copy))


def test_shards_that_are_gone_or_changed_are_not_described(runs: Path, tmp_path: Path) -> None:
    for name, settings in (("gone", {"data": str(tmp_path / "no")}), ("changed", {"data_sha256": "0" * 64})):
        facts = changed(runs / "first", tmp_path / name, **settings, eval_data=None)
        rows = table_rows(card(facts, ("en",)))
        shards = Path(facts.training.stages[0].settings["data"]).name
        assert rows["corpus"] == [f"shards `{shards}` (no longer there, or changed)"]
        assert "size of the corpus" not in rows
        assert "held-out corpus" not in rows
        assert rows["positions fed, padding included"] == ["768"]


def test_a_run_that_began_from_a_hub_id_names_it(runs: Path, tmp_path: Path) -> None:
    facts = changed(runs / "first", tmp_path / "run", init="uer/chinese_roberta_L-2_H-128@main")
    text = card(facts, LANGUAGES)
    assert ModelCard(text).data.base_model == "uer/chinese_roberta_L-2_H-128"
    assert "[uer/chinese_roberta_L-2_H-128@main](https://huggingface.co/uer/chinese_roberta_L-2_H-128)" in text
    assert "is not recorded here" in text
    assert "not trained" not in text  # what lengths that model was trained at is not known


def test_a_run_that_began_from_a_folder_without_a_record_names_it_without_its_path(runs: Path, tmp_path: Path) -> None:
    facts = changed(runs / "first", tmp_path / "run", init=str(tmp_path / "gone" / "base"))
    text = card(facts, ("en",))
    assert "Stage 1 began from the weights of `base`" in text
    assert ModelCard(text).data.base_model is None


def test_a_teacher_is_named_without_its_path(runs: Path, tmp_path: Path) -> None:
    facts = changed(runs / "first", tmp_path / "run", teacher=str(tmp_path / "teachers" / "base"), teacher_share=0.5)
    assert table_rows(card(facts, ("en",)))["teacher"][0] == "`base`, 50 % of the targets"


def test_runs_that_name_each_other_end(runs: Path, tmp_path: Path) -> None:
    assert len(changed(runs / "first", tmp_path / "run", init=str(tmp_path / "run")).training.stages) == 1


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("run.json", lambda text: text.replace('"masking_rate": 0.15', '"masking_rate": "much"'), "masking_rate is"),
        ("metrics.jsonl", lambda text: re.sub('"tokens": .*?,', '"tokens": null,', text), "tokens is None"),
        ("metrics.jsonl", lambda text: "{\n" + text, "this line is no report"),
        ("run.json", lambda text: text[:-5], "this is not run.json of a run"),
    ],
)
def test_damaged_records_are_named(runs: Path, tmp_path: Path, file: str, change, message: str) -> None:
    shutil.copytree(runs / "first", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    path = tmp_path / "run" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message) as caught:
        gather(str(tmp_path / "run"))
    assert str(caught.value).startswith(str(path))


def test_results_of_other_models_are_shown_but_not_claimed(folder: Path) -> None:
    other = Result("1/64 untrained", "book_review", "dev", "accuracy", 99.0, 3, 32, 1e-4, 7, 1.0, 30, 99, 100)
    text = card(gather(str(folder), results=[other, own_result(folder, 81.0, data="partial")]), ("en",))
    assert table_rows(text)["1/64 untrained"]
    (result,) = ModelCard(text).data.eval_results
    assert (result.metric_value, result.dataset_name) == (81.0, "book_review (partial)")
    assert "book_review: partial data" in text  # the table's footnote
    with pytest.raises(UserError, match="none of these results are of the model second") as caught:
        gather(str(folder), results=[other])
    assert "1/64 untrained" in str(caught.value)


def test_results_without_weights_are_told_by_the_models_name(folder: Path) -> None:
    result = Result("second", "own", "test", "accuracy", 70.0, 3, 32, 1e-4, 7, 1.0, 30, 70, 100)
    assert gather(str(folder), results=[result]).own == [result]


CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_a_card_runs_and_answers_as_it_says(
    facts: Facts, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    shutil.copytree(folder, tmp_path / "some-org" / "tiny")
    monkeypatch.chdir(tmp_path)  # where the hub id names this folder
    fill_mask, answers, features, tensorflow, own = CODE.findall(card(facts, (language,)))
    said = eval(answers)
    *setup, question = fill_mask.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(setup), names)
    for answer, expected in zip(eval(question, names), said, strict=True):
        assert answer == expected | {"score": pytest.approx(expected["score"], rel=2e-4)}
    exec(features, names)
    assert names["hidden"].shape == (1, 10, 64)
    assert names["vector"].shape == (1, 64)
    exec(own.replace('model.fill_mask("中', 'answer = model.fill_mask("中'), names)
    assert [row["token"] for row in names["answer"]] == [row["token"] for row in said]
    compile(tensorflow, "card", "exec")
    assert "TFBertModel.from_pretrained" in tensorflow


def test_the_code_runs_in_the_folder_where_no_hub_id_is_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "alone")
    text = card(gather(str(tmp_path / "alone")), ("zh",))
    monkeypatch.chdir(tmp_path / "alone")
    with contextlib.redirect_stdout(io.StringIO()):
        for code in CODE.findall(text):
            if "TFBertModel" not in code:
                exec(code, {})
    assert "weixing convert . ../alone-tf --to tf" in text


def test_a_folder_for_tensorflow_needs_no_conversion(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "both")
    (tmp_path / "both" / "tf_model.h5").write_bytes(b"h5")
    text = card(gather(str(tmp_path / "both"), repository="a/b"), ("en",))
    assert "weixing convert" not in text
    assert 'TFBertModel.from_pretrained("a/b")' in text
    assert "`tf_model.h5` 0.0 MB" in text


def test_a_card_replaces_that_of_export_and_itself_but_nothing_written_by_hand(facts: Facts, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    text, other = card(facts, LANGUAGES), card(facts, ("zh",))
    file.write_text(facts.short_card, encoding="utf-8")
    write_card(text, file, facts)
    write_card(other, file, facts)
    assert file.read_text(encoding="utf-8") == other
    for by_hand in ("# mine\n", text.replace("apache-2.0", "mit"), text + "more\n", facts.short_card + "\nmore"):
        file.write_text(by_hand, encoding="utf-8")
        with pytest.raises(UserError, match="by hand"):
            write_card(text, file, facts)
        assert file.read_text(encoding="utf-8") == by_hand
    file.write_bytes(text.replace("\n", "\r\n").encode())  # as git may check it out
    write_card(text, file, facts)
    file.write_text("# mine\n", encoding="utf-8")
    write_card(text, file, facts, overwrite=True)
    assert file.read_text(encoding="utf-8") == text


def test_the_marker_tells_the_weights_and_a_changed_text(facts: Facts, text: str) -> None:
    marker = marker_of(text)
    assert marker
    assert marker.untouched
    assert marker.weights_sha256 == facts.weights_file_sha256
    edited = marker_of(text.replace("局限", "限制"))
    assert edited
    assert not edited.untouched
    assert marker_of("# mine\n") is None
