"""What sentence-transformers needs beside a Hugging Face folder to make vectors with it. Writes files.

The files are in the form that versions 2 to 6 read: two modules, the model and its pooling.
"""

from pathlib import Path
from typing import get_args

from weixing.files import atomic_folder, read_json, write_json
from weixing.formats.bert import bert_of
from weixing.formats.huggingface import write_folder
from weixing.model.heads import Embedder, SentencePooling
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

POOLING = "1_Pooling"
MODULES_FILE, LIMITS, SETTINGS = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
FILES = (MODULES_FILE, LIMITS, SETTINGS, f"{POOLING}/config.json")
MODES = ("cls_token", "mean_tokens")
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": POOLING, "type": "sentence_transformers.models.Pooling"},
]


def export_embedder(model: Embedder, vocabulary: Vocabulary, folder: Path, *, overwrite: bool = False) -> None:
    """Write a folder that ``SentenceTransformer(folder)`` and transformers' ``BertModel`` open, then read it back.

    Raises:
        UserError: as `weixing.formats.huggingface.export_masked_lm`.
    """
    with atomic_folder(folder, overwrite=overwrite) as beside:
        card = sentence_card(model.encoder.shape, model.pooling)
        write_folder(bert_of(model), vocabulary, beside, model_card=card)
        write_modules(beside, model.encoder.shape, model.pooling)


def write_modules(folder: Path, shape: Shape, pooling: SentencePooling) -> None:
    """The files of sentence-transformers, into a Hugging Face folder that has none of them."""
    write_json(folder / MODULES_FILE, MODULES)
    # The tokenizer knows by itself whether capitals count.
    write_json(folder / LIMITS, {"max_seq_length": shape.positions, "do_lower_case": False})
    write_json(folder / SETTINGS, {"similarity_fn_name": "cosine"})
    (folder / POOLING).mkdir()
    modes = {f"pooling_mode_{mode}": mode.startswith(pooling) for mode in MODES}
    write_json(folder / POOLING / "config.json", {"word_embedding_dimension": shape.hidden, **modes})


def pooling_in(folder: Path) -> SentencePooling | None:
    """The pooling that a folder of sentence vectors names; None: it is no such folder, or names another."""
    file = folder / POOLING / "config.json"
    if not file.is_file():
        return None
    modes = read_json(file, "the pooling of a model of sentence vectors")
    named = [pooling for pooling in get_args(SentencePooling) for mode in MODES if mode.startswith(pooling)
             and isinstance(modes, dict) and modes.get(f"pooling_mode_{mode}")]  # fmt: skip
    return named[0] if len(named) == 1 else None


def sentence_card(shape: Shape, pooling: SentencePooling) -> str:
    """The README.md that such a folder begins with; `weixing card` writes the full one."""
    of = "the mean over all tokens" if pooling == "mean" else "the hidden state of [CLS]"
    return (
        "---\nlanguage: zh\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n---\n\n"
        f"# Chinese sentence vectors, BERT {shape.name}\n\n"
        f"{shape.layers} layers, {shape.hidden} hidden units, {shape.vocabulary_size:,} tokens, at most "
        f"{shape.positions} tokens a text. A vector is {of}; compare by cosine. Made with weixing (微型).\n"
    )
