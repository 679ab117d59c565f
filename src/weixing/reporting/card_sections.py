"""The parts of a model card that describe the model: what it is, how it did, its limits, licence, citation. Pure.

Each text is written in both languages side by side, so that they say the same.
"""

from weixing.recipes import RECIPES
from weixing.reporting.card_facts import SENTENCES, Facts
from weixing.reporting.card_words import MISSING, counted, megabytes, one_of, percent
from weixing.reporting.markdown import markdown_table
from weixing.reporting.published import MEANS
from weixing.reporting.rendering import as_markdown
from weixing.reporting.table import Entry, table
from weixing.reporting.wording import Language
from weixing.zoo import FLOPS_PREDICTED_SHARE, FLOPS_SEQUENCE_LENGTH, HIDDEN, LAYERS, ZOO, Shape

HUB = "https://huggingface.co"
CITATION = """@article{zhao2019uer,
  title={UER: An Open-Source Toolkit for Pre-training Models},
  author={Zhao, Zhe and Chen, Hui and Zhang, Jinbin and Zhao, Xin and Liu, Tao and Lu, Wei and Chen, Xi and \
Deng, Haotang and Ju, Qi and Du, Xiaoyong},
  journal={EMNLP-IJCNLP 2019},
  pages={241},
  year={2019}
}

@article{zhao2023tencentpretrain,
  title={TencentPretrain: A Scalable and Flexible Toolkit for Pre-training Models of Different Modalities},
  author={Zhao, Zhe and Li, Yudong and Hou, Cheng and Zhao, Jing and others},
  journal={ACL 2023},
  pages={217},
  year={2023}
}

@article{turc2019,
  title={Well-Read Students Learn Better: On the Importance of Pre-training Compact Models},
  author={Turc, Iulia and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
  journal={arXiv preprint arXiv:1908.08962},
  year={2019}
}"""


def description(facts: Facts, language: Language) -> str:
    """What the model is, and its numbers."""
    shape, published = facts.shape, facts.shape.upstream_id
    kinds = {
        "fill-mask": ("带掩码语言模型头的中文 BERT 编码器", "A Chinese BERT encoder with a masked-LM head"),
        "text-classification": ("以中文 BERT 编码器为底的文本分类器", "A text classifier on a Chinese BERT encoder"),
        "token-classification": (
            "以中文 BERT 编码器为底的序列标注模型",
            "A classifier of tokens on a Chinese BERT encoder",
        ),
        SENTENCES: ("中文句向量模型：BERT 编码器加池化", "A Chinese BERT encoder with pooling, for sentence vectors"),
        "feature-extraction": ("中文 BERT 编码器（不带输出头）", "A Chinese BERT encoder without a head"),
    }
    kind_zh, kind_en = kinds[facts.task]
    family = one_of(
        language,
        zh=f"层数和维度与公开的 [{published}]({HUB}/{published}) 相同。",
        en=f"Depth and width are those of the published [{published}]({HUB}/{published}).",
    )
    other = one_of(
        language, zh="这一规格不在公开的 24 个之列。", en="No model of this shape is among the 24 published ones."
    )
    said = one_of(
        language,
        zh=f"{shape.layers} 层、{shape.hidden} 维，{kind_zh}。",
        en=f"{kind_en}: {counted(shape.layers, 'layer')}, {shape.hidden} hidden units. ",
    )
    numbers = one_of(
        language,
        zh="本页由 `weixing card` 写成，每个数字都取自文件，或由文件算出。",
        en="`weixing card` wrote this page; each of its numbers is read from a file or computed from one.",
    )
    return f"{said}{family if published else other}\n\n{_numbers(facts, language)}\n\n{numbers}"


def _numbers(facts: Facts, language: Language) -> str:
    shape, length, share = facts.shape, FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE
    entries = one_of(language, zh=f"{shape.vocabulary_size:,} 项", en=f"{shape.vocabulary_size:,} entries")
    longest = one_of(language, zh=f"{shape.positions} 个词元", en=f"{shape.positions} tokens")
    features = f"{shape.encoder_flops_per_token(length) / 1e6:,.1f} MFLOP"
    training = f"{shape.training_flops_per_token(length, share) / 1e6:,.1f} MFLOP"
    files = ", ".join(f"`{name}` {megabytes(size)}" for name, size in facts.weights.items())
    rows = [
        ("项目", "what", one_of(language, zh="数值", en="how much")),
        ("注意力头", "attention heads", f"{shape.heads}"),
        ("前馈层维度", "feed-forward units", f"{shape.feed_forward:,}"),
        ("参数量", "parameters", f"{facts.parameters:,}"),
        ("词表", "vocabulary", entries),
        ("最长输入", "longest input", longest),
        (f"编码器前向计算量，每词元（行长 {length}）", f"encoder's forward pass, a token (rows of {length})", features),
        (f"权重文件（{facts.dtype}）", f"weights ({facts.dtype})", files),
    ]
    if facts.task == "fill-mask":
        zh = f"训练计算量，每词元（行长 {length}，掩码 {percent(share)}）"
        rows.insert(-1, (zh, f"training, a token (rows of {length}, {percent(share)} masked)", training))
    return markdown_table([[one_of(language, zh=zh, en=en), value] for zh, en, value in rows])


def matrix(facts: Facts, language: Language) -> str:
    """The 24 published models: links, and parameters in millions; this model's shape in bold."""

    def cell(shape: Shape) -> str:
        alias = f" ({shape.alias.capitalize()})" if shape.alias else ""
        link = f"[{shape.name}{alias}]({HUB}/{shape.upstream_id})"
        of_this_shape = facts.shape.upstream_id == shape.upstream_id
        return f"{f'**{link}**' if of_this_shape else link} {shape.parameters / 1e6:.1f} M"

    rows = [["", *(f"H={hidden}" for hidden in HIDDEN)]]
    rows += [[f"**L={layers}**", *(cell(ZOO[f"{layers}/{hidden}"]) for hidden in HIDDEN)] for layers in LAYERS]
    intro = one_of(
        language,
        zh="公开的 24 个中文 RoBERTa 小模型（L 层 × H 维）及其参数量（词表 21,128 项，含掩码语言模型头）：",
        en="The 24 published Chinese RoBERTa miniatures (L layers × H hidden units), with their parameters (21,128 "
        "entries, masked-LM head included):",
    )
    return f"{intro}\n\n{markdown_table(rows, ':---:')}"


def results(facts: Facts, language: Language) -> str | None:
    """The table beside the published scores, and the setting of each best run; None without results."""
    if not facts.results:
        return None
    best = one_of(language, zh="本模型每个任务最好的一次：", en="The best run of this model on each task:")
    header = one_of(
        language,
        zh="任务|划分|指标|成绩|行数|轮数|批大小|学习率|从几次里选",
        en="task|split|metric|score|rows|epochs|batch size|learning rate|best of",
    )
    rows = [header.split("|"), *(_best_row(entry) for entry in own_entries(facts))]
    return f"{as_markdown(table(facts.results), language)}\n{best}\n\n{markdown_table(rows)}"


def own_entries(facts: Facts) -> list[Entry]:
    """What this model has reached on each task, the mean of several left out."""
    return [entry for entry in table(facts.own) if entry.best is not None and entry.column not in MEANS]


def _best_row(entry: Entry) -> list[str]:
    rows = MISSING if entry.rows is None else f"{entry.rows:,}"
    return [
        entry.column, entry.split, entry.metric, f"{entry.best:.2f}", rows, f"{entry.epochs}",
        f"{entry.batch_size}", f"{entry.learning_rate:g}", f"{entry.runs}",
    ]  # fmt: skip


def limits(facts: Facts, language: Language) -> str:
    """What the model cannot do, as far as its files tell."""
    points = [_limit_of_length(facts, language), _limit_of_training(facts, language)]
    if facts.lower_case:
        points.append(
            one_of(
                language,
                zh="不区分大小写：拉丁字母一律先转成小写，并去掉变音符号。",
                en="It knows no capitals: Latin letters are lower-cased and lose their accents.",
            )
        )
    if any(stage.evaluation for stage in facts.training.stages):
        points.append(
            one_of(
                language,
                zh="上面的留出集损失只在同一份留出集、同一词表之间可以比较。",
                en="The held-out loss above compares with others on the same rows and vocabulary alone.",
            )
        )
    points.append(
        one_of(
            language,
            zh="模型会学到训练语料里的错误和偏见；填空的结果不是对事实的陈述。",
            en="It has learnt its corpus's errors and biases; what it fills in states no fact.",
        )
    )
    return "\n".join(f"- {point}" for point in points if point)


def _limit_of_length(facts: Facts, language: Language) -> str:
    positions = facts.shape.positions
    trained = [stage.recipe.get("sequence_length") for stage in facts.training.stages]
    longest = max((length for length in trained if isinstance(length, int)), default=positions)
    text = one_of(
        language,
        zh=f"输入最长 {positions} 个词元（含 [CLS] 和 [SEP]），再长要截断。",
        en=f"An input has at most {positions} tokens, [CLS] and [SEP] included; what is longer is cut.",
    )
    if longest >= positions or facts.training.began_from is not None:
        return text
    return text + one_of(
        language,
        zh=f"训练时每行最长 {longest} 个词元，此后各位置的位置向量没有训练过。",
        en=f" Rows of training had at most {longest}: the position vectors beyond are not trained.",
    )


def _limit_of_training(facts: Facts, language: Language) -> str | None:
    """How much the model has seen beside the published models of its family."""
    fed = [stage.report.get("tokens") for stage in facts.training.stages]
    if not fed or None in fed or facts.training.began_from is not None or not facts.shape.upstream_id:
        return None
    tokens = sum(count for count in fed if count is not None)
    published = sum(recipe.steps * recipe.batch_size * recipe.sequence_length for recipe in RECIPES["uer"])
    share = percent(tokens / published)
    return one_of(
        language,
        zh=f"训练时看过 {tokens:,} 个位置，是公开模型的配方（{published / 1e9:.1f} G 个位置）的 {share}。",
        en=f"It has seen {tokens:,} positions, {share} of the {published / 1e9:.1f} G of the published models' recipe.",
    )


def license_of(facts: Facts, language: Language) -> str:
    """The licence that was stated, or that none was."""
    if facts.license is None:
        return one_of(language, zh="没有声明许可证。", en="None was stated.")
    return one_of(language, zh=f"`{facts.license}`", en=f"`{facts.license}`")


def citation(facts: Facts, language: Language) -> str:
    """The papers that the published cards name."""
    intro = one_of(
        language,
        zh="规格系列与公开成绩出自以下工作：",
        en="The family of shapes and the published scores come from this work:",
    )
    return f"{intro}\n\n```bibtex\n{CITATION}\n```"
