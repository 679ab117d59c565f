"""What tables and pages say, in English and in Chinese. Plain values.

Names of models, tasks and metrics, and notes on data, stand as the results have them.
"""

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Words:
    """Everything that is said, in one language. Braces are filled by `str.format`."""

    tag: str  # of the language, for HTML
    # The table
    title: str
    model: str
    score: str
    published: str
    difference: str
    best_of: str
    seeds: str
    one_seed: str
    mean_of_seeds: str
    brackets: str
    comma: str
    gap: str  # between sentences
    legend: str
    legend_published: str
    legend_missing: str
    # Footnotes of it
    partial: str
    altered: str
    custom: str
    other_dev: str
    note: str
    other_texts: str
    mean_parts: str
    difference_over: str
    # The page around it
    notes: str
    back: str
    family: str
    family_text: str
    layers: str
    hidden: str
    empty: str
    map_of_score: str
    map_of_five: str
    map_of_size: str
    map_of_speed: str
    map_of_compute: str
    stand_in: str
    five_text: str
    darker_is_more: str
    logarithmic: str
    published_mark: str
    partial_mark: str
    other_shapes: str
    provenance: str
    command: str
    file: str
    entries: str
    exact: str


ENGLISH = Words(
    tag="en",
    title="Results by model and task",
    model="model",
    score="mean of six",
    published="published {shape}",
    difference="difference",
    best_of="best of {runs}",
    seeds="{mean} ± {spread}, {seeds} seeds",
    one_seed="1 seed",
    mean_of_seeds="mean over seeds {mean}",
    brackets="{text} ({detail})",
    comma="; ",
    gap=" ",
    legend="Scores in percent, on the dev set. A score is the best of its runs, chosen on that same dev set and so "
    "optimistic; beside it, of how many runs, and mean ± sample standard deviation over the seeds of its setting.",
    legend_published="The published scores are the best of {runs} runs, one seed each.",
    legend_missing="–: not run, or not known.",
    partial="{task}: partial data{note}",
    altered="{task}: altered data{note}, so not compared with the published score",
    custom="{task}: other data than the public ones{note}, so not compared with the published score",
    other_dev="{task}: another dev set, of {rows} rows, so not compared with the published score",
    note=" ({note})",
    other_texts="{task}: the published score is of other texts, those of {other}; no difference is given",
    mean_parts="with parts from partial or altered data: {parts}",
    difference_over="mean difference over {tasks}",
    notes="Notes",
    back="back to the table",
    family="The family",
    family_text="Six depths by four widths. A shape's number is that of its best model in the table above.",
    layers="layers",
    hidden="hidden units",
    empty="no result",
    map_of_score="{column}, %",
    map_of_five="Mean of five tasks, %",
    map_of_size="Parameters, millions",
    map_of_speed="Texts per second",
    map_of_compute="Compute, MFLOP per token",
    stand_in="It stands in for speed, of which there is no measurement: a forward pass in rows of 128, 15 % predicted.",
    five_text="Without tnews, whose published scores are of other texts.",
    darker_is_more="Darker is more.",
    logarithmic="Colours by the logarithm.",
    published_mark="* published score; the model was not run here.",
    partial_mark="† from partial or altered data.",
    other_shapes="Not in the map, being no shape of the family: {shapes}.",
    provenance="Where this comes from",
    command="Made with weixing {version} by",
    file="file",
    entries="entries",
    exact="Numbers are rounded for reading; each stands in full in this page's <data> elements, and --format csv or "
    "json prints them.",
)

CHINESE = Words(
    tag="zh-Hans",
    title="各模型在各任务上的结果",
    model="模型",
    score="六项平均",
    published="公开成绩 {shape}",
    difference="差值",
    best_of="{runs} 次中最佳",
    seeds="{mean} ± {spread}，{seeds} 个种子",
    one_seed="1 个种子",
    mean_of_seeds="各种子均值 {mean}",
    brackets="{text}（{detail}）",
    comma="；",
    gap="",
    legend="成绩为验证集上的百分数。每格取各次运行中的最佳值；它正是在同一验证集上挑出来的，因此偏乐观。旁边注明："
    "从几次运行中挑出，以及该组超参数在各随机种子上的均值 ± 样本标准差。",
    legend_published="公开成绩为 {runs} 次运行中的最佳值，每组超参数一个种子。",
    legend_missing="–：未运行，或未知。",
    partial="{task}：数据不完整{note}",
    altered="{task}：数据有改动{note}，不与公开成绩比较",
    custom="{task}：所用数据并非公开数据{note}，不与公开成绩比较",
    other_dev="{task}：所用的是另一个验证集（{rows} 条），不与公开成绩比较",
    note="（{note}）",
    other_texts="{task}：公开成绩用的是另一种文本，即 {other} 的文本，不给出差值",
    mean_parts="平均值中有的成绩来自不完整或有改动的数据：{parts}",
    difference_over="以下任务差值的平均：{tasks}",
    notes="注",
    back="返回表格",
    family="模型家族",
    family_text="六种层数 × 四种宽度。每种规模取上表中该规模最好的模型。",
    layers="层数",
    hidden="隐藏单元",
    empty="无结果",
    map_of_score="{column}，%",
    map_of_five="五项任务平均，%",
    map_of_size="参数量，百万",
    map_of_speed="每秒文本数",
    map_of_compute="计算量，每词元百万次浮点运算",
    stand_in="没有实测速度，以计算量代替：长 128 的行、预测 15% 词元的一次前向计算。",
    five_text="不含 tnews，其公开成绩用的是另一种文本。",
    darker_is_more="颜色越深，数值越大。",
    logarithmic="颜色按对数取。",
    published_mark="* 为公开成绩，此处未运行该模型。",
    partial_mark="† 来自不完整或有改动的数据。",
    other_shapes="不属于该家族、未列入图中的规模：{shapes}。",
    provenance="数据来源",
    command="由 weixing {version} 以此命令生成",
    file="文件",
    entries="条数",
    exact="数字为便于阅读而取整；完整数值写在本页的 <data> 元素中，也可用 --format csv 或 json 输出。",
)

WORDS: dict[Language, Words] = {"en": ENGLISH, "zh": CHINESE}
