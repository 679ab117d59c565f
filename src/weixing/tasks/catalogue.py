"""The six tasks of the published table and a variant, as frozen values: what belongs to each, how to tell whole data.

Sizes and labels are those of the sources named in each entry. SHA-256 sums are of whole files as their publishers give
them (`sha256`), and of the rows in them whatever the form of the file (`rows_sha256`, by
`weixing.tasks.checking.digest`); None where the whole file was not at hand.
"""

from dataclasses import dataclass, replace
from typing import Literal

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Part:
    """One split as published; `rows` are those with a label, which is what is trained and scored on."""

    rows: int
    sha256: str | None = None
    rows_sha256: str | None = None


@dataclass(frozen=True)
class NamedTask:
    """A task that a name stands for everywhere.

    `labels` are ids and, where they are known, names, in the order of the ids; `columns` are those of files without a
    header (text, second text, label); `text` names the keys of the text where they are not the usual one; `folder` is
    that of the data, the task's own name if None; `train_files` and `dev_files` are names of files, the preferred one
    first; `stand_ins` may serve for training where there is no training file. `quirks` are one line each.
    """

    name: str
    title: str
    title_zh: str
    pairs: bool
    labels: dict[str, str | None]
    train: Part
    dev: Part
    test: Part
    train_files: tuple[str, ...]
    dev_files: tuple[str, ...]
    source: str
    licence: str
    quirks: tuple[str, ...] = ()
    columns: tuple[str, str, str] | None = None
    text: str | None = None
    folder: str | None = None
    stand_ins: tuple[str, ...] = ()
    metric: str = "accuracy"


NONE_STATED = "none stated; for research"
NUMBERED = "UER-py's TSV edition has other labels (numbers from 0); data with it count as altered."

_ALL = (
    NamedTask(
        name="book_review",
        title="sentiment of book reviews",
        title_zh="书评情感分类",
        pairs=False,
        labels={"0": "negative", "1": "positive"},
        train=Part(
            20_000,
            "75a2415d1ccf8a5091d67cdaee383c4a23aabd1b870669498bda2e33ca6ad843",
            "a0714baa75e6b91858014bbb53b9998edbbde9f2d911a91cbc1ce37b27de1ff8",
        ),
        dev=Part(
            8_000,
            "e05b8884296c78a98d89e721809bc6619114d667c9be32e42d9a0b3623a6daf1",
            "b1c76306e8f3fdf901226e2e8811e7d8e91cb69bcb5abbc45f726d587aaf261b",
        ),
        test=Part(8_000, "f31832460768ce765f63728dfad8a16ccf421438f13c5b06a1b14aa5359277e2"),
        train_files=("train.tsv",),
        dev_files=("dev.tsv",),
        source="https://github.com/dbiir/UER-py/tree/master/datasets/book_review",
        licence=NONE_STATED,
    ),
    NamedTask(
        name="chnsenticorp",
        title="sentiment of reviews of hotels, books and computers",
        title_zh="酒店、图书、电脑评论情感分类",
        pairs=False,
        labels={"0": "negative", "1": "positive"},
        train=Part(
            9_600,
            "0b2653c23e5c79f539472e90cb10522f0ada4b80d3da95572d8b48fda47d5b33",
            "78bdde88fcd415715bb2c2819a707dd56515d5bd6056c1e56148dbca1d6557fc",
        ),
        dev=Part(
            1_200,
            "d129e443eac08ce7643013dad496a8edf282be39cac1a4f2ad080818b296b331",
            "66675679c099781750e3c2f9a3a03f38cef6e65971e2b42a5a6068ab4a9c1c38",
        ),
        test=Part(1_200, "34f9d71eba6096cd8689e18913d28cf9a5f3c18a6c2804cd13304a321738c4bc"),
        train_files=("train.tsv",),
        dev_files=("dev.tsv",),
        source="https://github.com/dbiir/UER-py/tree/master/datasets/chnsenticorp",
        licence=NONE_STATED,
        quirks=("One dev row is 0.083 points: differences below 1 point say little.",),
    ),
    NamedTask(
        name="lcqmc",
        title="do two questions ask the same",
        title_zh="问句匹配",
        pairs=True,
        labels={"0": "different", "1": "same"},
        train=Part(238_766),
        dev=Part(
            8_802,
            "d3cd41ed89b8f6196a76ebff2aa03d5ecf42edcd12942aa865d34f7e570af7c2",
            "bbeb54f3a170ca72a912339d7c5878acaec00a3a235aca4b2c01320891707fbc",
        ),
        test=Part(
            12_500,
            "8969f9c16050f40df9da6f591443a47bc14c17a504a354ee4cc4ab5b9aa303d9",
            "a5cced6e2d16f2b022062e7afae274c9659e612772b63cae8da383a7214630ee",
        ),
        train_files=("train.txt", "train.tsv"),
        dev_files=("dev.txt", "dev.tsv"),
        source="https://aclanthology.org/C18-1166",
        licence="for research; asked of the authors",
        quirks=(
            "Files come without a header (text_a, text_b, label) or, from UER-py, with one; both are read.",
            "Where there is no training file, the test file stands in for it, and the data count as partial.",
        ),
        columns=("1", "2", "3"),
        stand_ins=("test.txt", "test.tsv"),
    ),
    NamedTask(
        name="tnews",
        title="topic of a headline",
        title_zh="今日头条新闻标题分类",
        pairs=False,
        labels={
            "100": "故事", "101": "文化", "102": "娱乐", "103": "体育", "104": "财经", "106": "房产", "107": "汽车",
            "108": "教育", "109": "科技", "110": "军事", "112": "旅游", "113": "国际", "114": "股票", "115": "农业",
            "116": "游戏",
        },
        train=Part(
            53_360,
            "e2c6c008569d23b50778a45abe4c2d9cef140177982203ed7dbad9ddcd748b25",
            "698b474bbfdfb3eef947e7dbdce460912070c12deb2f4f8e029bc472341e2ef9",
        ),
        dev=Part(
            10_000,
            "0dd33323dfdf224a690f684746b00048a46b70f3b244d411293c8470572644ef",
            "70ef4e5eecefe267f0870413d4a59ae30d8e632b083af385baa9c0f7a7d6e0bc",
        ),
        test=Part(10_000),
        train_files=("train.json", "train.tsv"),
        dev_files=("dev.json", "dev.tsv"),
        source="https://github.com/CLUEbenchmark/CLUE",
        licence=NONE_STATED,
        quirks=(
            "This is the edition of CLUE (2020). That of ChineseGLUE (2019) has 266,000 training and 57,000 dev rows "
            "and scores near 90: never mix them.",
            "The published scores (62.0 to 67.0) are not of headlines alone, which give the same models 51 to 58: see "
            "tnews_keywords.",
            NUMBERED,
        ),
    ),
    NamedTask(
        name="iflytek",
        title="kind of an application, by its long description",
        title_zh="应用描述长文本分类",
        pairs=False,
        labels=dict.fromkeys(map(str, range(119))),
        train=Part(12_133),
        dev=Part(
            2_599,
            "1e129ad7973ecb8d31e0e633e57d5c7d680577c6faacaf25ce0cbd953ca96698",
            "5c1539bfc44ca77062b53b27bedc4ec2776753b9a938ac8415af4c05ab37556c",
        ),
        test=Part(2_600),
        train_files=("train.json", "train.tsv"),
        dev_files=("dev.json", "dev.tsv"),
        source="https://github.com/CLUEbenchmark/CLUE",
        licence=NONE_STATED,
        quirks=(
            "The name of each label stands beside it in the files (label_des).",
            "Texts are longer than 128 tokens; the published scores are of their first 128.",
        ),
    ),
    NamedTask(
        name="ocnli",
        title="does one sentence follow from another",
        title_zh="原生中文自然语言推理",
        pairs=True,
        labels={"contradiction": "矛盾", "entailment": "蕴含", "neutral": "中立"},
        train=Part(
            50_437,
            "cb47a6c00105bfb49bbb791dd537b284d3138f9f1ad5cd1e187afc470ff004e0",
            "76c1e4dfa559132cdf9b574ec423b45c74ca96bcb205e43d636bcf244dafe3e5",
        ),
        dev=Part(
            2_950,
            "001ded235d73a18dac68a45a38cd5f9b3f9311fa4246df623e199422c073ddc5",
            "9b97f4109a1c520be23f3d03761937a965c70b883e72e24b36a1b6f752c78692",
        ),
        test=Part(3_000),
        train_files=("train.50k.json", "train.json", "train.tsv"),
        dev_files=("dev.json", "dev.tsv"),
        source="https://github.com/CLUEbenchmark/OCNLI",
        licence="CC BY-NC 2.0",
        quirks=(
            "Rows labelled - have no agreed label and are left out: 49 of 50,486 and 50 of 3,000.",
            "Its smaller training files (30k, 10k, 3k) are for other experiments.",
            NUMBERED,
        ),
    ),
)  # fmt: skip

CATALOGUE: dict[str, NamedTask] = {task.name: task for task in _ALL}

TNEWS_KEYWORDS = replace(
    CATALOGUE["tnews"],
    name="tnews_keywords",
    title="topic of a headline and its keywords",
    title_zh="今日头条新闻标题与关键词分类",
    folder="tnews",
    text="sentence,keywords",
    train=replace(
        CATALOGUE["tnews"].train, rows_sha256="b5005bc0d1027903c9f8ae8be9691c06733322be0b8a03f604a4f71dcba3e992"
    ),
    dev=replace(CATALOGUE["tnews"].dev, rows_sha256="490ba32deaf332935d9143a8cd88019d111b596ea85d20cd30108164da3abe09"),
    train_files=("train.json",),
    dev_files=("dev.json",),
    quirks=(
        "What the published scores of tnews are of, by all that is known: docs/experiments.md has the measurement.",
        "Most headlines have keywords beside them, 27 % have none; CLUE's test set 1.1 has none at all.",
    ),
)

NAMED: dict[str, NamedTask] = CATALOGUE | {TNEWS_KEYWORDS.name: TNEWS_KEYWORDS}
"""All that a name stands for: the six, and tnews as its published scores have it."""
