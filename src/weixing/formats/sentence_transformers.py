"""What makes a model folder one of sentence vectors: the files by which `sentence-transformers` opens it. Writes files.

Two modules: the transformer in the folder itself, and the pooling. `sentence-transformers` is not needed.
"""

import json
from pathlib import Path

from weixing.files import atomic_folder, write_json
from weixing.formats.bert import bert_of
from weixing.formats.huggingface import write_folder
from weixing.model.encoder import Encoder
from weixing.text.vocabulary import Vocabulary

MODULES = "modules.json"
POOLING = "1_Pooling"
_MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


def export_sentence_encoder(
    encoder: Encoder, vocabulary: Vocabulary, folder: Path, *, pooling: str, max_length: int
) -> None:
    """Write a folder that sentence-transformers and transformers open, then read the weights back and compare.

    Args:
        pooling: ``mean`` or ``cls``.
        max_length: longest row, in tokens, [CLS] and [SEP] included.
    """
    with atomic_folder(folder) as beside:
        write_folder(bert_of(encoder), vocabulary, beside)
        write_json(beside / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
        (beside / POOLING).mkdir()
        modes = {name: mode == pooling for mode, name in _MODES.items()}
        write_json(beside / POOLING / "config.json", {"word_embedding_dimension": encoder.shape.hidden, **modes})
        (beside / MODULES).write_text(json.dumps(_modules(), indent=2) + "\n", encoding="utf-8")


def _modules() -> list[dict[str, object]]:
    kinds = (("", "Transformer"), (POOLING, "Pooling"))
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
