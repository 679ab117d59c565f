"""The ONNX graph of a `Bert`, node by node, float32 or int8. No files. Needs the extra `onnx`.

Written out, not traced by torch.onnx, because what onnxruntime makes of a graph depends on its exact form:

- Hidden states are kept as [B·T, H], for which a linear layer with its bias is one Gemm. On [B, T, H] onnxruntime 1.32
  fuses the residual sums into SkipLayerNormalization, which takes a CPU about five times as long as its parts, and the
  biases into BiasGelu, also slower than its parts.
- In int8, queries, keys and values share one quantization of their input, the token table has a scale for each token,
  and the masked-LM decoder is that same table, in the file once. `onnxruntime.quantization.quantize_dynamic` has one
  scale for the whole table, and makes a second one of it for the decoder.
- For a classifier the last layer answers for the first token alone.

Every operator is one of ONNX's own (opset 20), so other runtimes read the file.

Shapes: B sequences, T positions, t of them that ask, H hidden units, V vocabulary entries.
"""

import math
from typing import Any, Literal, cast, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from weixing.errors import UserError
from weixing.formats.bert import PARTS, Bert, Part
from weixing.formats.onnx_file import Output, Precision
from weixing.model.encoder import Encoder, Layer
from weixing.model.heads import MaskedLanguageModelHead
from weixing.zoo import Shape

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ASKED = "asked_positions"  # a fourth input, of one kind of graph
OPSET = 20  # the first with Gelu
IR_VERSION = 10  # read by onnxruntime 1.18 and later
MASKED_SCORE = -10_000.0  # added to the scores of padding, whose share of the softmax is then exactly 0 in float32
TOKEN_TABLE = "embeddings.token.weight"
LARGEST_FILE_BYTES = 2**31 - 1  # of a protocol buffer

Graph = Output | Literal["asked"]

_NEEDED: dict[Graph, Part | None] = {"features": None, "asked": None, "fill-mask": "head", "classify": "classifier"}


def build(bert: Bert, output: Graph, precision: Precision = "fp32") -> onnx.ModelProto:
    """The graph from int64 [B, T] ``input_ids, attention_mask, token_type_ids`` (B and T free) to what `output` names.

    A sequence whose attention mask is 0 everywhere gives numbers without a meaning (not NaN).

    Args:
        output: ``features``: ``last_hidden_state`` [B, T, H], and ``pooler_output`` [B, H] where there is a pooler;
            ``fill-mask``: ``logits`` [B, T, V]; ``classify``: ``logits`` [B, labels]; ``asked``, which is no file's but
            a back end's: a fourth input, int64 [B, t] positions, and their ``asked_state`` [B, t, H].
        precision: ``int8``: weights in 8 bits with a scale for each output unit, the token table with one for each
            token; what the weights are multiplied by in 8 bits with one scale for the whole batch, found as it runs, so
            that a sequence's result depends a little on its neighbours. The rest (biases, LayerNorms, attention
            scores and sums, positions, token types, pooler, classifier) stays float32.

    Raises:
        UserError: the model lacks the part for this output, or is too large for one ONNX file.
    """
    part = _NEEDED[output]
    if part is not None and getattr(bert, part) is None:
        raise UserError(
            f"this model has no {PARTS[part]}, which {output} needs",
            accepted=f"{', '.join(name for name in get_args(Output) if _NEEDED[name] in (None, *bert.parts))} here",
        )
    weight_bytes = sum(weight.numel() for weight in bert.parameters()) * (4 if precision == "fp32" else 1)
    if weight_bytes > LARGEST_FILE_BYTES:
        raise UserError(
            f"an ONNX file of {weight_bytes / 1e9:.1f} GB",
            accepted="at most 2.1 GB, the limit of one ONNX file",
            action="--precision int8 makes it a quarter as large" if precision == "fp32" else None,
        )
    graph = _Graph(precision == "int8")
    outputs = _nodes(graph, bert, output)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS]
    if output == "asked":
        inputs.append(helper.make_tensor_value_info(ASKED, TensorProto.INT64, ["batch", "asked"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            inputs,
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions)
                for name, dimensions in outputs.items()
            ],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="weixing",
    )
    return cast(onnx.ModelProto, model)


class _Graph:
    """Nodes and constants, as they are added. A value, its node and what it is made of carry one name."""

    def __init__(self, int8: bool) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, tuple[str, str, str]] = {}
        self._shapes: set[str] = set()

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """A node with one output; its name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Tensor | np.ndarray | list[int] | int, name: str) -> str:
        """A constant (whole numbers are int64), made once; its name."""
        if name not in self.constants:
            array = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else np.asarray(value)
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def number(self, value: float, name: str) -> str:
        """A float32 scalar; its name."""
        return self.constant(np.array(value, np.float32), name)

    def int8_rows(self, weight: Tensor, name: str) -> tuple[str, str]:
        """`weight` [out, in] in 8 bits and the scale of each row [out], both constants; their names."""
        rows = weight.detach().cpu().float().numpy()
        scale = np.abs(rows).max(1) / 127
        scale[scale == 0] = 1
        quantized = np.rint(rows / scale[:, None]).astype(np.int8)
        return self.constant(quantized, name + ".int8"), self.constant(scale, name + ".scale")

    def lookup(self, table: Tensor, ids: str, table_name: str, name: str) -> str:
        """Rows of `table` [V, H] for ids [B, T] → [B, T, H]."""
        if not self.int8:
            return self.add("Gather", self.constant(table, table_name), ids, name=name)
        quantized, scale = self.int8_rows(table, table_name)
        row = self.add("Gather", quantized, ids, name=name + ".int8")
        row = self.add("Cast", row, name=name + ".float", to=TensorProto.FLOAT)
        its_scale = self.add("Gather", scale, ids, name=name + ".scales")
        its_scale = self.add("Unsqueeze", its_scale, self.constant([-1], "last"), name=name + ".scale")
        return self.add("Mul", row, its_scale, name=name)

    def linear(self, x: str, weight: Tensor, bias: Tensor, name: str, weight_name: str | None = None) -> str:
        """[rows, in] by `weight` [out, in], plus `bias` [out] → [rows, out]; in int8 if the graph is."""
        if not self.int8:
            return self.exact_linear(x, weight, bias, name, weight_name)
        if x not in self._quantized:
            self._quantized[x] = (x + ".uint8", x + ".scale", x + ".zero")
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], self._quantized[x], name=x + ".uint8"))
        quantized, scale, zero = self._quantized[x]
        rows, its_scale = self.int8_rows(weight, weight_name or name + ".weight")
        columns = self.add("Transpose", rows, name=name + ".columns", perm=[1, 0])  # by onnxruntime, once, at load
        product = self.add("MatMulInteger", quantized, columns, zero, name=name + ".int32")
        product = self.add("Cast", product, name=name + ".float", to=TensorProto.FLOAT)
        scale = self.add("Mul", scale, its_scale, name=name + ".scale")
        product = self.add("Mul", product, scale, name=name + ".product")
        return self.add("Add", product, self.constant(bias, name + ".bias"), name=name)

    def exact_linear(self, x: str, weight: Tensor, bias: Tensor, name: str, weight_name: str | None = None) -> str:
        """The same in float32 in any case."""
        its_weight = self.constant(weight, weight_name or name + ".weight")
        return self.add("Gemm", x, its_weight, self.constant(bias, name + ".bias"), name=name, transB=1)

    def norm(self, x: str, norm: nn.LayerNorm, name: str) -> str:
        """LayerNorm over the last dimension."""
        weight, bias = self.constant(norm.weight, name + ".weight"), self.constant(norm.bias, name + ".bias")
        return self.add("LayerNormalization", x, weight, bias, name=name, axis=-1, epsilon=norm.eps)

    def per_sequence(self, x: str, sizes: list[int], name: str) -> str:
        """[B·t, …] → [B, t, *sizes], for any number t of positions."""
        shape = "per_sequence." + ".".join(map(str, sizes))
        if shape not in self._shapes:
            self._shapes.add(
                self.add("Concat", "batch", self.constant([-1, *sizes], shape + ".rest"), name=shape, axis=0)
            )
        return self.add("Reshape", x, shape, name=name)


def _nodes(graph: _Graph, bert: Bert, output: Graph) -> dict[str, list[str | int]]:
    """Every node; the outputs' names and dimensions."""
    encoder, hidden = bert.encoder, bert.shape.hidden
    graph.add("Shape", INPUTS[0], name="batch", end=1)
    x, mask = _embeddings(graph, encoder), _mask(graph)
    for number, layer in enumerate(encoder.layers):
        asking = x
        if number == bert.shape.layers - 1:
            asking = {"classify": _first, "asked": _asked}.get(output, _all)(graph, x, hidden)
        x = _layer(graph, cast(Layer, layer), x, asking, mask, bert.shape, f"layers.{number}")
    if output == "fill-mask":
        head, vectors = cast(MaskedLanguageModelHead, bert.head), encoder.embeddings.token.weight
        y = graph.linear(x, head.dense.weight, head.dense.bias, "head.dense")
        y = graph.norm(graph.add("Gelu", y, name="head.gelu"), head.norm, "head.norm")
        if (
            graph.int8
        ):  # whose product takes three dimensions: no copy of all the logits, a quarter of the time of 2/128
            graph.linear(graph.per_sequence(y, [hidden], "head.sequences"), vectors, head.bias, "logits", TOKEN_TABLE)
        else:
            y = graph.linear(y, vectors, head.bias, "head.decoder", TOKEN_TABLE)
            graph.per_sequence(y, [bert.shape.vocabulary_size], "logits")
        return {"logits": ["batch", "sequence", bert.shape.vocabulary_size]}
    if output == "asked":
        graph.per_sequence(x, [hidden], "asked_state")
        return {"asked_state": ["batch", "asked", hidden]}
    outputs: dict[str, list[str | int]] = {}
    if output == "features":
        graph.per_sequence(x, [hidden], "last_hidden_state")
        outputs["last_hidden_state"] = ["batch", "sequence", hidden]
        x = _first(graph, x, hidden) if bert.pooler is not None else x
    if bert.pooler is not None:
        pooled = graph.exact_linear(x, bert.pooler.weight, bert.pooler.bias, "pooler")
        graph.add("Tanh", pooled, name="pooler_output")
        if output == "features":
            outputs["pooler_output"] = ["batch", hidden]
    if output == "classify":
        classifier = cast(nn.Linear, bert.classifier)
        graph.exact_linear("pooler_output", classifier.weight, classifier.bias, "logits", "classifier.weight")
        outputs["logits"] = ["batch", classifier.out_features]
    return outputs


def _embeddings(graph: _Graph, encoder: Encoder) -> str:
    """[B·T, H]."""
    its, name = encoder.embeddings, "embeddings"
    token = graph.lookup(its.token.weight, INPUTS[0], TOKEN_TABLE, f"{name}.token")
    kinds = graph.constant(its.token_type.weight, f"{name}.token_type.weight")
    kind = graph.add("Gather", kinds, INPUTS[2], name=f"{name}.token_type")
    length = graph.add("Shape", INPUTS[0], name="length", start=1, end=2)
    places = graph.constant(its.position.weight, f"{name}.position.weight")
    place = graph.add("Slice", places, graph.constant([0], "start"), length, name=f"{name}.position")
    x = graph.add("Add", graph.add("Add", token, kind, name=f"{name}.sum"), place, name=f"{name}.whole_sum")
    x = graph.add("Reshape", x, graph.constant([-1, encoder.shape.hidden], "rows"), name=f"{name}.rows")
    return graph.norm(x, its.norm, f"{name}.norm")


def _mask(graph: _Graph) -> str:
    """What is added to the scores, [B, 1, 1, T]: 0, or `MASKED_SCORE` where the key is padding."""
    real = graph.add("Unsqueeze", INPUTS[1], graph.constant([1, 2], "mask.axes"), name="mask.real")
    real = graph.add("Cast", real, name="mask.float", to=TensorProto.FLOAT)
    padding = graph.add("Sub", graph.number(1, "one"), real, name="mask.padding")
    return graph.add("Mul", padding, graph.number(MASKED_SCORE, "mask.score"), name="mask")


def _first(graph: _Graph, x: str, hidden: int) -> str:
    """[B·T, H] → what the first tokens hold, [B, H]."""
    sequences = graph.per_sequence(x, [hidden], x + ".sequences")
    return graph.add("Gather", sequences, graph.constant(0, "first"), name=x + ".first", axis=1)


def _asked(graph: _Graph, x: str, hidden: int) -> str:
    """[B·T, H] → what the asked positions hold, [B·t, H]."""
    sequences = graph.per_sequence(x, [hidden], x + ".sequences")
    places = graph.add("Unsqueeze", ASKED, graph.constant([-1], "last"), name="asked.places")
    asked = graph.add("GatherND", sequences, places, name=x + ".asked", batch_dims=1)
    return graph.add("Reshape", asked, graph.constant([-1, hidden], "rows"), name=x + ".asked.rows")


def _all(graph: _Graph, x: str, hidden: int) -> str:
    return x


def _layer(graph: _Graph, layer: Layer, x: str, asking: str, mask: str, shape: Shape, name: str) -> str:
    """[B·T, H], and of them those that ask (all, or the first of each sequence), [B·t, H] → [B·t, H]."""
    attention, inner = layer.attention, layer.feed_forward.inner
    weights = attention.query_key_value.weight.split(shape.hidden)
    biases = attention.query_key_value.bias.split(shape.hidden)
    heads = []
    for part, source, weight, bias in zip(("query", "key", "value"), (asking, x, x), weights, biases, strict=True):
        y = graph.linear(source, weight, bias, f"{name}.{part}")
        y = graph.per_sequence(y, [shape.heads, shape.head_units], f"{y}.split")
        heads.append(graph.add("Transpose", y, name=f"{y}.heads", perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3]))
    query, key, value = heads
    scores = graph.add("MatMul", query, key, name=f"{name}.products")
    scores = graph.add("Div", scores, graph.number(math.sqrt(shape.head_units), "scale"), name=f"{name}.scaled")
    scores = graph.add("Add", scores, mask, name=f"{name}.scores")
    shares = graph.add("Softmax", scores, name=f"{name}.shares", axis=-1)
    y = graph.add("MatMul", shares, value, name=f"{name}.seen")
    y = graph.add("Transpose", y, name=f"{name}.seen.positions", perm=[0, 2, 1, 3])
    y = graph.add("Reshape", y, graph.constant([-1, shape.hidden], "rows"), name=f"{name}.seen.rows")
    y = graph.linear(y, attention.output.weight, attention.output.bias, f"{name}.attention_output")
    x = graph.add("Add", asking, y, name=f"{name}.attention_sum")
    x = graph.norm(x, layer.attention_norm, f"{name}.attention_norm")
    y = graph.add("Gelu", graph.linear(x, inner.weight, inner.bias, f"{name}.inner"), name=f"{name}.gelu")
    y = graph.linear(y, layer.feed_forward.output.weight, layer.feed_forward.output.bias, f"{name}.output")
    x = graph.add("Add", x, y, name=f"{name}.feed_forward_sum")
    return graph.norm(x, layer.feed_forward_norm, f"{name}.feed_forward_norm")
