"""The part of a model card that shows how to use the model: code that runs as it stands. Pure.

Each text is written in both languages side by side, so that they say the same.
"""

import pprint

from weixing.reporting.card_facts import HERE, QUESTION, SENTENCES, Facts
from weixing.reporting.card_words import one_of
from weixing.reporting.wording import Language

TEXT = "输入任意文本内容"
SENTENCE, OTHER_SENTENCE = "这家酒店的服务很周到", "酒店的人招呼得很好"


def usage(facts: Facts, language: Language) -> str:
    """Code for PyTorch, TensorFlow and weixing, under headings of the third level."""
    parts = [_where(facts, language)] if facts.id == HERE else []
    parts += {
        "fill-mask": [_fill_mask(facts, language), _features(facts, language)],
        "text-classification": [_classification(facts, language)],
        "token-classification": [_classification(facts, language)],
        SENTENCES: [_sentences(facts, language)],
        "feature-extraction": [_features(facts, language)],
    }[facts.task]
    return "\n\n".join([*parts, _tensorflow(facts, language), _weixing(facts, language)])


def _where(facts: Facts, language: Language) -> str:
    return one_of(
        language,
        zh="以下代码在模型文件夹里运行；在别处运行时，把 `.` 换成模型的路径或模型名。",
        en="The code runs in the folder of the model; elsewhere, write its path or its id in place of `.`.",
    )


def _fill_mask(facts: Facts, language: Language) -> str:
    heading = one_of(language, zh="### PyTorch：完形填空", en="### Fill-mask in PyTorch")
    said = one_of(
        language,
        zh="本模型对这句话的回答（由 `weixing fill-mask` 算出，transformers 的结果相同，误差在浮点舍入之内）：",
        en="What this model answers (by `weixing fill-mask`; transformers' answer is the same but for rounding):",
    )
    code = f'''from transformers import pipeline

unmasker = pipeline("fill-mask", model="{facts.id}")
unmasker("{QUESTION}")'''
    answers = [{**answer, "score": float(f"{answer['score']:.4g}")} for answer in facts.answers]
    shown = pprint.pformat(answers, width=100, sort_dicts=False)
    return f"{heading}\n\n{_python(code)}\n\n{said}\n\n```python\n{shown}\n```"


def _features(facts: Facts, language: Language) -> str:
    heading = one_of(language, zh="### PyTorch：特征", en="### Features in PyTorch")
    each, sentence = (
        one_of(language, zh="每个词元一个向量", en="a vector a token"),
        one_of(language, zh="整段文本一个向量：各词元的平均", en="one for the text: the mean over its tokens"),
    )
    code = f'''import torch
from transformers import BertModel, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("{facts.id}")
model = BertModel.from_pretrained("{facts.id}")
inputs = tokenizer("{TEXT}", return_tensors="pt")
with torch.no_grad():
    hidden = model(**inputs).last_hidden_state  # [1, T, {facts.shape.hidden}]: {each}
vector = hidden.mean(dim=1)  # [1, {facts.shape.hidden}]: {sentence}'''
    return f"{heading}\n\n{_python(code)}"


def _sentences(facts: Facts, language: Language) -> str:
    heading = one_of(
        language, zh="### sentence-transformers：句向量", en="### Sentence vectors in sentence-transformers"
    )
    said = one_of(language, zh="第一句与其余各句的余弦相似度", en="cosines of the first sentence and the others")
    code = f'''from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{facts.id}")
vectors = model.encode(["{TEXT}", "{SENTENCE}", "{OTHER_SENTENCE}"])  # [3, {facts.shape.hidden}]
model.similarity(vectors[:1], vectors[1:])  # {said}'''
    return f"{heading}\n\n{_python(code)}"


def _classification(facts: Facts, language: Language) -> str:
    zh, en = ("文本分类", "Classification") if facts.task == "text-classification" else ("序列标注", "Tagging")
    heading = one_of(language, zh=f"### PyTorch：{zh}", en=f"### {en} in PyTorch")
    labels = ", ".join(facts.labels or [])
    said = one_of(language, zh=f"类别：{labels}", en=f"Labels: {labels}")
    code = f'''from transformers import pipeline

classify = pipeline("{facts.task}", model="{facts.id}")
classify("{SENTENCE}")'''
    return f"{heading}\n\n{said}\n\n{_python(code)}"


def _tensorflow(facts: Facts, language: Language) -> str:
    heading = "### TensorFlow"
    needs = one_of(
        language,
        zh="TensorFlow 的模型类只在 transformers 4 里有：",
        en="Only transformers 4 has models for TensorFlow:",
    )
    install = "```bash\npip install 'transformers<5' 'safetensors<0.6' tensorflow tf-keras\n```"
    used = facts.id
    parts = [heading, needs, install]
    if not facts.for_tensorflow:
        used = f"{'..' if facts.id == HERE else '.'}/{facts.name}-tf"
        parts += [
            one_of(
                language,
                zh="这里没有 TensorFlow 格式的权重（`tf_model.h5`），先转换一次：",
                en="There are no weights for TensorFlow (`tf_model.h5`) here; convert the model once:",
            ),
            f"```bash\npip install 'weixing[tf]'\nweixing convert {facts.id} {used} --to tf\n```",
        ]
    code = f'''import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
from transformers import BertTokenizer, TFBertModel

tokenizer = BertTokenizer.from_pretrained("{used}")
model = TFBertModel.from_pretrained("{used}")
inputs = tokenizer("{TEXT}", return_tensors="tf")
hidden = model(inputs).last_hidden_state  # [1, T, {facts.shape.hidden}]'''
    return "\n\n".join([*parts, _python(code)])


def _weixing(facts: Facts, language: Language) -> str:
    heading = one_of(language, zh="### weixing（微型）", en="### weixing (微型)")
    line = {
        "fill-mask": f'\nmodel.fill_mask("{QUESTION}", top_k=5)',
        "text-classification": f'\nmodel.classify(["{SENTENCE}"])',
    }.get(facts.task, "")
    pooling = "" if facts.task == SENTENCES else ', pooling="mean"'
    array = one_of(
        language,
        zh=f"float32 数组 [文本数, {facts.shape.hidden}]",
        en=f"a float32 array [texts, {facts.shape.hidden}]",
    )
    code = f'''import weixing

model = weixing.load("{facts.id}"){line}
model.features(["{TEXT}"]{pooling})  # {array}'''
    return f"{heading}\n\n{_python(code)}"


def _python(code: str) -> str:
    return f"```python\n{code}\n```"
