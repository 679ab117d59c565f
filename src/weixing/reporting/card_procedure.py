"""The part of a model card that says how the model was trained, stage by stage, from the records of its runs. Pure.

A row that no stage has anything to say on is left out.
"""

from collections.abc import Callable
from pathlib import Path

from weixing.data.shards import Manifest
from weixing.progress import duration
from weixing.reporting.card_training import FineTuning, Stage, Training
from weixing.reporting.card_words import MISSING, counted, one_of, percent
from weixing.reporting.markdown import markdown_table
from weixing.reporting.wording import Language

Said = str | None
FILES_NAMED = 8  # of a corpus


def procedure(training: Training, language: Language) -> str:
    """Data and procedure of every stage; or that no record was found."""
    if training.fine_tuning is not None:
        return _fine_tuned(training.fine_tuning, language)
    if not training.stages:
        return one_of(
            language,
            zh="没有找到训练记录（`run.json`），所以这里不作说明。",
            en="No record of its training (`run.json`) was found, so nothing is said of it here.",
        )
    count = len(training.stages)
    stages = [one_of(language, zh=f"第 {n} 阶段", en=f"stage {n}") for n in range(1, count + 1)]
    rows = [["", *stages]]
    for zh, en, say in _ROWS:
        cells = [say(stage, language) for stage in training.stages]
        if any(cells):
            rows.append([one_of(language, zh=zh, en=en), *(cell or MISSING for cell in cells)])
    began = _began(training, language)
    made = one_of(
        language,
        zh="由 `weixing pretrain` 训练，任务只有掩码语言模型。以下各项都取自运行目录里的 `run.json`、`metrics.jsonl` "
        "和分片的 `manifest.json`：",
        en="Trained by `weixing pretrain`, on masked language modelling alone. All of this is from `run.json` and "
        "`metrics.jsonl` of the run and `manifest.json` of its shards:",
    )
    return f"{began}{made}\n\n{markdown_table(rows)}"


def _fine_tuned(fine_tuning: FineTuning, language: Language) -> str:
    base, said = fine_tuning.base_model, fine_tuning
    name = f"[{base}](https://huggingface.co/{base})" if base else f"`{said.model}`"
    rows_zh = f"训练集 {said.train_rows:,} 行，验证集 {said.dev_rows:,} 行" if said.train_rows and said.dev_rows else ""
    rows_en = (
        f" {counted(said.train_rows, 'row')} of training and {counted(said.dev_rows, 'row')} of dev set"
        if said.train_rows and said.dev_rows
        else ""
    )
    return one_of(
        language,
        zh=f"由 `weixing finetune` 从 {name} 在任务 `{said.task}` 上微调得到"
        + (f"：{rows_zh}。" if rows_zh else "。")
        + "底座模型的训练过程见它自己的模型卡。",
        en=f"Fine-tuned by `weixing finetune` from {name} on the task `{said.task}`"
        + (f",{rows_en}. " if rows_en else ". ")
        + "How that model was trained, its own card says.",
    )


def _began(training: Training, language: Language) -> str:
    if training.began_from is None:
        return ""
    base = training.base_model
    name = f"[{training.began_from}](https://huggingface.co/{base})" if base else f"`{training.began_from}`"
    return one_of(
        language,
        zh=f"第 1 阶段从 {name} 的权重开始，那个模型自己的训练记录不在这里。",
        en=f"Stage 1 began from the weights of {name}, whose own training is not recorded here. ",
    )


def _corpus(manifest: Manifest | None, shards: str | None, language: Language) -> Said:
    """Files of the corpus, or where the folder `shards` is not there as it was, that folder's name."""
    if manifest is None and shards is None:
        return None
    if manifest is None:
        name = str(shards).replace("\\", "/").rpartition("/")[2]
        return one_of(
            language,
            zh=f"分片 `{name}`（已不在原处，或已改动）",
            en=f"shards `{name}` (no longer there, or changed)",
        )
    files = [source.replace("\\", "/").rpartition("/")[2] for source in manifest.sources]
    named = ", ".join(f"`{file}`" for file in files[:FILES_NAMED])
    if len(files) > FILES_NAMED:
        named += one_of(language, zh=f" 等 {len(files):,} 个文件", en=f" and others, {len(files):,} files in all")
    return named


def _amount(manifest: Manifest | None, language: Language) -> Said:
    if manifest is None:
        return None
    size = f"{manifest.bytes_in / 1e6:,.1f} MB"
    return one_of(
        language,
        zh=f"{manifest.documents:,} 篇文档，{size}，{manifest.tokens:,} 个词元",
        en=f"{counted(manifest.documents, 'document')}, {size}, {counted(manifest.tokens, 'token')}",
    )


def _kept_out(manifest: Manifest | None, language: Language) -> Said:
    """The files whose texts the corpus was cleared of."""
    cleaning = manifest.cleaning if manifest else None
    if not cleaning or not cleaning["exclude"]:
        return None
    named = ", ".join(f"`{file['file']}`" for file in cleaning["exclude"])
    count = cleaning["left_out"]["excluded"]
    return one_of(
        language,
        zh=f"与 {named} 有连续 13 个字符相同的 {count:,} 篇文档没有用于训练",
        en=f"{counted(count, 'document')} that shared 13 characters in a row with {named} left out",
    )


def _rows_read(stage: Stage, language: Language) -> Said:
    recipe, corpus = stage.recipe, stage.corpus
    length = recipe.get("sequence_length")
    if length is None:
        return None
    layout = corpus.layout if corpus else recipe.get("layout")
    return f"{length}" + (f" ({layout})" if layout else "")


def _optimizer(stage: Stage, language: Language) -> Said:
    muon = one_of(language, zh="编码器的矩阵用 Muon，其余用 AdamW", en="Muon on the encoder's matrices, else AdamW")
    uer = one_of(language, zh="UER-py 的 AdamW（不作偏差修正）", en="UER-py's AdamW (no bias correction)")
    names = {"muon": muon, "uer_adamw": uer}
    name = stage.recipe.get("optimizer")
    return names.get(name, name) if isinstance(name, str) else None


def _learning_rate(stage: Stage, language: Language) -> Said:
    recipe = stage.recipe
    if "peak_learning_rate" not in recipe:
        return None
    rate = f"AdamW {recipe['peak_learning_rate']:g}"
    return rate + (f", Muon {recipe['matrix_learning_rate']:g}" if recipe.get("optimizer") == "muon" else "")


def _schedule(stage: Stage, language: Language) -> Said:
    warmup, decay = stage.recipe.get("warmup_share"), stage.recipe.get("decay_share")
    if warmup is None or decay is None:
        return None
    return one_of(
        language,
        zh=f"前 {percent(warmup)} 线性升温，后 {percent(decay)} 线性降到 0",
        en=f"linear warm-up in the first {percent(warmup)}, linear decay to 0 in the last {percent(decay)}",
    )


def _weight_decay(stage: Stage, language: Language) -> Said:
    recipe = stage.recipe
    if "weight_decay" not in recipe:
        return None
    decay = f"AdamW {recipe['weight_decay']:g}"
    return decay + (f", Muon {recipe['matrix_weight_decay']:g}" if recipe.get("optimizer") == "muon" else "")


def _masking(stage: Stage, language: Language) -> Said:
    rate, unit = stage.recipe.get("masking_rate"), stage.recipe.get("masking_unit")
    if rate is None:
        return None
    units = {
        "token": one_of(language, zh="逐词元", en="token by token"),
        "word": one_of(language, zh="整词", en="whole words"),
        "span": one_of(language, zh="连续片段", en="spans"),
    }
    return percent(rate) + (f", {units.get(unit, unit)}" if isinstance(unit, str) else "")


def _teacher(stage: Stage, language: Language) -> Said:
    name, share = stage.settings.get("teacher"), stage.settings.get("teacher_share")
    if not isinstance(name, str) or not isinstance(share, int | float):
        return None
    name = Path(name).name if Path(name).is_absolute() else name
    return one_of(
        language,
        zh=f"`{name}`，占训练目标的 {percent(share)}",
        en=f"`{name}`, {percent(share)} of the targets",
    )


def _fed(stage: Stage, language: Language) -> Said:
    tokens, passes = stage.report.get("tokens"), stage.passes
    if tokens is None:
        return None
    if passes is None:
        return f"{tokens:,}"
    return f"{tokens:,}" + one_of(language, zh=f"（数据的 {passes:.2f} 遍）", en=f" ({passes:.2f} passes)")


def _machine(stage: Stage, language: Language) -> Said:
    machine = stage.machine
    if "device" not in machine:
        return None
    cores, threads = machine.get("cores"), machine.get("threads")
    if machine.get("type") == "cuda" or cores is None or threads is None:
        return str(machine["device"])
    used = one_of(
        language, zh=f"{cores} 核，{threads} 线程", en=f"{counted(cores, 'core')}, {counted(threads, 'thread')}"
    )
    return f"{machine['device']}, {used}"


def _software(stage: Stage, language: Language) -> Said:
    versions = [("weixing", stage.version), *((key, stage.machine.get(key)) for key in ("torch", "python"))]
    return ", ".join(f"{name} {version}" for name, version in versions if version) or None


def _held_out(stage: Stage, language: Language) -> Said:
    evaluation = stage.evaluation
    if "eval_loss" not in evaluation:
        return None
    loss = f"{evaluation['eval_loss']:.4f}"
    if "eval_accuracy" not in evaluation:
        return loss
    accuracy = f"{100 * evaluation['eval_accuracy']:.1f} %"
    return one_of(language, zh=f"损失 {loss}，准确率 {accuracy}", en=f"loss {loss}, accuracy {accuracy}")


def _number(find: Callable[[Stage], object], form: str = "") -> Callable[[Stage, Language], Said]:
    """A row that has one number or word a stage."""

    def say(stage: Stage, language: Language) -> Said:
        value = find(stage)
        return None if value is None else format(value, form)

    return say


def _hours(stage: Stage, language: Language) -> Said:
    seconds = stage.report.get("seconds")
    return None if seconds is None else f"{duration(seconds)}{f' ({seconds / 3600:.2f} h)' if seconds >= 60 else ''}"


_ROWS: tuple[tuple[str, str, Callable[[Stage, Language], Said]], ...] = (
    ("语料", "corpus", lambda stage, language: _corpus(stage.corpus, stage.settings.get("data"), language)),
    ("语料规模", "size of the corpus", lambda stage, language: _amount(stage.corpus, language)),
    ("排除的测评文本", "evaluation texts kept out", lambda stage, language: _kept_out(stage.corpus, language)),
    ("行长（词元数；排列方式）", "row length, tokens (layout)", _rows_read),
    ("配方", "recipe", _number(lambda stage: stage.recipe.get("name"))),
    ("更新步数", "updates", _number(lambda stage: stage.report.get("step"), ",")),
    ("每步行数", "rows an update", _number(lambda stage: stage.recipe.get("batch_size"), ",")),
    ("喂入的位置数（含填充）", "positions fed, padding included", _fed),
    ("优化器", "optimizer", _optimizer),
    ("峰值学习率", "peak learning rate", _learning_rate),
    ("学习率变化", "schedule", _schedule),
    ("权重衰减", "weight decay", _weight_decay),
    ("丢弃率", "dropout", _number(lambda stage: stage.recipe.get("dropout"), "g")),
    ("掩码比例", "masked", _masking),
    ("教师模型", "teacher", _teacher),
    ("矩阵乘法精度", "precision of matrix products", _number(lambda stage: stage.settings.get("precision"))),
    ("随机种子", "seed", _number(lambda stage: stage.settings.get("seed"))),
    ("开始时间", "started", _number(lambda stage: stage.started)),
    ("用时", "time", _hours),
    ("中断后继续的次数", "resumed, times", _number(lambda stage: stage.resumed or None)),
    ("速度（位置/秒）", "positions a second", _number(lambda stage: stage.report.get("tokens_per_second"), ",.0f")),
    ("设备", "device", _machine),
    ("软件", "software", _software),
    ("最后的训练损失", "last training loss", _number(lambda stage: stage.report.get("train_loss"), ".4f")),
    (
        "留出集",
        "held-out corpus",
        lambda stage, language: _corpus(stage.held_out, stage.settings.get("eval_data"), language),
    ),
    ("留出集规模", "size of it", lambda stage, language: _amount(stage.held_out, language)),
    ("留出集成绩", "on held-out rows", _held_out),
)
