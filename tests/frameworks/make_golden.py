"""Makes tests/golden/tf1, tf1_kinds and tf_h5 with TensorFlow: `.venv-tf/bin/python tests/frameworks/make_golden.py`.

The checkpoint is of a graph that computes BERT (GELU by erf, as transformers) with google-research/bert's variable
scopes; TensorFlow names and saves the variables, and computes the expected outputs.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
import numpy as np
import tensorflow as tf
import transformers

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
from known_values import known_values  # noqa: E402  # this script runs without the project

v1 = tf.compat.v1
L, H, F, HEADS, V, POSITIONS = 2, 64, 64, 1, 200, 40
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "directionality": "bidi",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": H,
    "initializer_range": 0.02,
    "intermediate_size": F,
    "max_position_embeddings": POSITIONS,
    "num_attention_heads": HEADS,
    "num_hidden_layers": L,
    "pooler_fc_size": H,
    "pooler_type": "first_token_transform",
    "type_vocab_size": 2,
    "vocab_size": V,
}


def variable(name: str, *shape: int) -> tf.Variable:
    full_name = f"{v1.get_variable_scope().name}/{name}"
    return v1.get_variable(name, initializer=known_values(full_name, shape))


def dense(x: tf.Tensor, units: int, scope: str) -> tf.Tensor:
    with v1.variable_scope(scope):
        return tf.matmul(x, variable("kernel", x.shape[-1], units)) + variable("bias", units)


def layer_norm(x: tf.Tensor) -> tf.Tensor:
    with v1.variable_scope("LayerNorm"):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-12) * variable("gamma", H) + variable("beta", H)


def gelu(x: tf.Tensor) -> tf.Tensor:
    return x * 0.5 * (1.0 + tf.math.erf(x / np.sqrt(2.0).astype("f4")))


def attend(x: tf.Tensor, mask: np.ndarray) -> tf.Tensor:
    query, key, value = (dense(x, H, name) for name in ("query", "key", "value"))
    scores = tf.matmul(query, key, transpose_b=True) / np.sqrt(H / HEADS).astype("f4")
    return tf.matmul(tf.nn.softmax(scores + (1.0 - mask[:, None, :]) * -10000.0), value)


def bert(ids: np.ndarray, types: np.ndarray, mask: np.ndarray) -> dict[str, tf.Tensor]:
    with v1.variable_scope("bert"):
        with v1.variable_scope("embeddings"):
            words = variable("word_embeddings", V, H)
            x = tf.gather(words, ids) + tf.gather(variable("token_type_embeddings", 2, H), types)
            x = layer_norm(x + variable("position_embeddings", POSITIONS, H)[: ids.shape[1]])
        for layer in range(L):
            with v1.variable_scope(f"encoder/layer_{layer}"):
                with v1.variable_scope("attention"):
                    with v1.variable_scope("self"):
                        context = attend(x, mask)
                    with v1.variable_scope("output"):
                        x = layer_norm(x + dense(context, H, "dense"))
                with v1.variable_scope("intermediate"):
                    inner = gelu(dense(x, F, "dense"))
                with v1.variable_scope("output"):
                    x = layer_norm(x + dense(inner, H, "dense"))
        with v1.variable_scope("pooler"):
            pooled = tf.tanh(dense(x[:, 0], H, "dense"))
    with v1.variable_scope("cls"):
        with v1.variable_scope("predictions"):
            with v1.variable_scope("transform"):
                head = layer_norm(gelu(dense(x, H, "dense")))
            logits = tf.matmul(head, words, transpose_b=True) + variable("output_bias", V)
        with v1.variable_scope("seq_relationship"):
            weights = variable("output_weights", 2, H)
            relation = tf.matmul(pooled, weights, transpose_b=True) + variable("output_bias", 2)
    return {"hidden": x, "pooled": pooled, "logits": logits, "next_sentence": relation}


def save(prefix: Path, sharded: bool = False) -> v1.Session:
    """Write all variables of the graph."""
    session = v1.Session(config=v1.ConfigProto(device_count={"CPU": 2}))
    session.run(v1.global_variables_initializer())
    v1.train.Saver(sharded=sharded).save(session, str(prefix), write_meta_graph=False, write_state=False)
    return session


def make_checkpoint(folder: Path) -> None:
    """google-research's files, and what TensorFlow computes with them."""
    random = np.random.RandomState(4)
    ids, types = random.randint(0, V, (3, 12)), np.tile(np.arange(12) >= 7, (3, 1)).astype(int)
    mask = (np.arange(12) < np.array([[12], [9], [4]])).astype("f4")
    with tf.Graph().as_default():
        outputs = bert(ids, types, mask)
        v1.get_variable("global_step", initializer=np.int64(1_000_000))
        for trained in v1.trainable_variables():  # the optimizer's moments; of matrices they would be too large here
            if trained.shape.rank == 1:
                for slot in ("adam_m", "adam_v"):
                    name = f"{trained.op.name}/{slot}"
                    v1.get_variable(name, initializer=known_values(name, trained.shape), trainable=False)
        values = save(folder / "bert_model.ckpt").run(outputs)
    np.savez_compressed(folder / "expected.npz", ids=ids, token_types=types, attention=mask.astype(bool), **values)
    (folder / "bert_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [chr(0x4E00 + number) for number in range(V - len(tokens))]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def make_kinds(folder: Path) -> None:
    """Every kind of variable, in two data files; and one that is stored in parts."""
    with tf.Graph().as_default():
        with tf.device("/cpu:0"):
            for dtype in ("float32", "float64", "int32", "int64"):
                v1.get_variable(f"kinds/{dtype}", initializer=np.arange(-3, 9, dtype=dtype).reshape(3, 4))
        with tf.device("/cpu:1"):
            for kind in (tf.float16, tf.bfloat16):
                v1.get_variable(f"kinds/{kind.name}", initializer=tf.cast(np.arange(-3, 9).reshape(3, 4), kind))
            v1.get_variable("scalar", initializer=np.float32(2.5))
            v1.get_variable("text", initializer=tf.constant(["not", "a", "number"]))
        save(folder / "kinds.ckpt", sharded=True)
    with tf.Graph().as_default():
        parts = v1.fixed_size_partitioner(2)
        v1.get_variable("embedding", (4, 2), initializer=v1.ones_initializer(), partitioner=parts)
        save(folder / "partitioned.ckpt")


def make_h5(folder: Path) -> None:
    """`tf_model.h5` as transformers saves it, of two classes that between them have every part."""
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=8,
        num_labels=3,
    )
    for cls in ("TFBertForPreTraining", "TFBertForSequenceClassification"):
        model = getattr(transformers, cls)(config)
        model.build_in_name_scope()
        for weight in model.weights:
            name = weight.name.partition("/")[2]  # without the name of the model
            weight.assign(known_values(name, weight.shape))
        model.save_weights(str(folder / f"{cls}.h5"))


def main() -> None:
    for make, name in ((make_checkpoint, "tf1"), (make_kinds, "tf1_kinds"), (make_h5, "tf_h5")):
        folder = GOLDEN / name
        folder.mkdir(exist_ok=True)
        make(folder)
        for file in sorted(folder.iterdir()):
            print(f"{file.stat().st_size:>8,} {name}/{file.name}")


if __name__ == "__main__":
    main()
