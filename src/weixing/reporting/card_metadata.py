"""The metadata at the head of a model card: made, and checked, as the hub reads it. Pure; opens no socket.

The hub itself checks a card once more before it takes a file; what it would refuse for its form is refused here first.
"""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from weixing.errors import UserError
from weixing.reporting.card_facts import QUESTION, SENTENCES, Facts
from weixing.reporting.card_sections import own_entries
from weixing.text.vocabulary import MASK
from weixing.zoo import Shape

LICENSE_FORM = r"[a-z0-9][a-z0-9.+-]*"
LANGUAGE_FORM = r"[a-z]{2,3}(-[A-Za-z0-9]+)*|code|multilingual"
LICENSES = "an identifier of the hub, such as apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0, or other"
CLASSIFICATION = ("text-classification", "Text Classification")
OTHERS = {  # by metric
    "entity_f1": ("token-classification", "Token Classification"),
    "auc": ("sentence-similarity", "Sentence Similarity"),
}


def metadata(facts: Facts) -> ModelCardData:
    """What a card says of the model to programs.

    Raises:
        UserError: the licence or a data set is not of the hub's form.
    """
    if facts.license is not None and not re.fullmatch(LICENSE_FORM, facts.license):
        raise UserError(f"--license {facts.license}", accepted=LICENSES)
    for name in facts.datasets:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII):
            raise UserError(f"--dataset {name}", accepted="a data set of the hub: OWNER/NAME, or NAME")
    data: dict[str, Any] = {
        "language": "zh",
        "license": facts.license,
        "library_name": "sentence-transformers" if facts.task == SENTENCES else "transformers",
        "pipeline_tag": facts.task,
        "tags": _tags(facts.shape),
        "datasets": facts.datasets or None,
        "base_model": facts.training.base_model,
    }
    if facts.task == "fill-mask":
        data |= {"mask_token": MASK, "widget": [{"text": QUESTION}]}
    if facts.own:
        results = _eval_results(facts)
        metrics = list(dict.fromkeys(result.metric_type for result in results))
        data |= {"metrics": metrics, "model_name": facts.name, "eval_results": results}
    return ModelCardData(**data)


def _tags(shape: Shape) -> list[str]:
    return ["bert", "chinese", "weixing", f"L-{shape.layers}_H-{shape.hidden}"]


def _eval_results(facts: Facts) -> list[EvalResult]:
    results = []
    for entry in own_entries(facts):
        assert entry.best is not None
        task_type, task_name = OTHERS.get(entry.metric, CLASSIFICATION)
        remarks = f" ({', '.join(entry.remarks)})" if entry.remarks else ""  # of its data: partial, altered, …
        results.append(
            EvalResult(
                task_type=task_type,
                task_name=task_name,
                dataset_type=entry.task,
                dataset_name=entry.task + remarks,
                dataset_split=entry.split,
                metric_type=entry.metric,
                metric_name=f"{entry.metric}, %" + (f", best of {entry.runs} runs" if entry.runs > 1 else ""),
                metric_value=round(entry.best, 2),
            )
        )
    return results


def read_metadata(text: str, where: Path) -> ModelCardData:
    """The metadata at the head of a README.md.

    Raises:
        UserError: there is none, or it is not of the form that the hub takes.
    """
    import yaml

    if not re.match(r"\s*---\r?\n([\s\S]*?\n)?---[ \t]*(\r?\n|$)", text):
        raise UserError(
            "there is no metadata at its head",
            where=where,
            accepted="a block of YAML between two lines ---",
            action="Write the card with: weixing card --model FOLDER",
        )
    try:
        data = ModelCard(text).data
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"its metadata is no YAML: {reason}", where=where) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"its metadata is wrong: {error}", where=where) from None
    assert isinstance(data, ModelCardData)
    _check(data, where)
    return data


def _check(data: ModelCardData, where: Path) -> None:
    languages = data.language if isinstance(data.language, list) else [data.language]
    for language in languages:
        if language is not None and not (isinstance(language, str) and re.fullmatch(LANGUAGE_FORM, language)):
            raise UserError(f"language is {language!r}", where=where, accepted="an ISO 639 code, such as zh or en")
    if data.license is not None and not (isinstance(data.license, str) and re.fullmatch(LICENSE_FORM, data.license)):
        raise UserError(f"license is {data.license!r}", where=where, accepted=LICENSES)
    for field in ("library_name", "pipeline_tag", "license_name", "license_link", "mask_token"):
        value = data.get(field)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{field} is {value!r}", where=where, accepted="one text")
    for field in ("tags", "datasets", "metrics", "base_model"):
        value = data.get(field)
        names = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(name, str) for name in names):
            raise UserError(f"{field} is {value!r}", where=where, accepted="a list of texts")
