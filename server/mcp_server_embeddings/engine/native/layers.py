"""Layers that the supported transformers have in common, as OpenVINO operators."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.native.files import UnsupportedModelError
from mcp_server_embeddings.engine.native.tensors import Tensor
from mcp_server_embeddings.engine.runtime import Node, openvino, ops
from mcp_server_embeddings.errors import ModelLoadError

EXCLUDED = -1e9
"""Added to the attention score of a masked token, so that its weight is exactly 0. It is neither the lowest float nor
minus infinity, because a row in which every token is masked (padding in local attention) must stay finite."""

_LEGACY_NAMES = {"weight": "gamma", "bias": "beta"}
"""Names of LayerNorm's parameters in the first BERT checkpoints."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a transformer's graph, each of shape ``(batch, tokens)`` int64.

    Attributes:
        ids: Token ids.
        mask: 1 for tokens, 0 for padding.
        types: The segment of each token; None if every token has type 0.
    """

    ids: Node
    mask: Node
    types: Node | None = None

    @property
    def nodes(self) -> list[Node]:
        """All inputs of the graph."""
        return [node for node in (self.ids, self.mask, self.types) if node is not None]


class Weights:
    """The tensors of a model whose names start with a prefix, as constants of a graph.

    Args:
        tensors: Tensors by full name.
        prefix: Prefix of every name passed to a method, such as ``bert.``.
    """

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def below(self, name: str) -> "Weights":
        """Select the tensors of one layer, such as ``encoder.layer.0``."""
        return Weights(self._tensors, f"{self._prefix}{name}.")

    def array(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Get one tensor.

        Raises:
            ModelLoadError: The tensor is missing, or its shape is not the configured one.
        """
        stem, _, last = name.rpartition(".")
        names = (f"{self._prefix}{name}", f"{self._prefix}{stem}.{_LEGACY_NAMES.get(last, last)}")
        tensor = next((self._tensors[full] for full in names if full in self._tensors), None)
        if tensor is None:
            raise ModelLoadError(
                f"the weights lack the tensor {names[0]!r} that config.json requires; fetch the model again"
            )
        if tensor.shape != shape:
            raise ModelLoadError(
                f"the tensor {names[0]!r} has the shape {tensor.shape}, config.json says {shape}; fetch the model again"
            )
        return tensor

    def constant(self, name: str, shape: tuple[int, ...]) -> Node:
        """Add one tensor to the graph, without copying it."""
        return shared_constant(self.array(name, shape))

    def linear(self, x: Node, name: str, shape: tuple[int, int], *, bias: bool = True) -> Node:
        """Compute ``x W^T + b``; ``shape`` is (outputs, inputs), as in torch."""
        product = ops.matmul(x, self.constant(f"{name}.weight", shape), False, True)
        return ops.add(product, self.constant(f"{name}.bias", shape[:1])) if bias else product

    def layer_norm(self, x: Node, name: str, size: int, eps: float, *, bias: bool = True) -> Node:
        """Normalize over the last axis, then scale and shift."""
        normal = ops.mvn(x, ops.constant(np.array([-1], np.int64)), True, eps, "inside_sqrt")
        scaled = ops.multiply(normal, self.constant(f"{name}.weight", (size,)))
        return ops.add(scaled, self.constant(f"{name}.bias", (size,))) if bias else scaled


def shared_constant(array: Tensor) -> Node:
    """Make a constant that shares the array's memory."""
    return openvino.op.Constant(np.ascontiguousarray(array), shared_memory=True)


def embedding(table: Node, ids: Node) -> Node:
    """Look up rows of a table."""
    return ops.gather(table, ids, np.int64(0))


def positions(ids: Node) -> Node:
    """Return the positions ``0 … tokens - 1``, shape ``(tokens,)``."""
    length = ops.gather(ops.shape_of(ids, "i64"), np.int64(1), np.int64(0))
    return ops.range(ops.constant(np.int64(0)), length, ops.constant(np.int64(1)), "i64")


def split_heads(x: Node, heads: int, size: int) -> Node:
    """Reshape ``(batch, tokens, heads * size)`` to ``(batch, heads, tokens, size)``."""
    parts = ops.reshape(x, np.array([0, 0, heads, size], np.int64), True)
    return ops.transpose(parts, np.array([0, 2, 1, 3], np.int64))


def attention(query: Node, key: Node, value: Node, bias: Node) -> Node:
    """Compute scaled dot-product attention of all heads, concatenated.

    Args:
        query: Shape ``(batch, heads, tokens, size)``.
        key: Same shape.
        value: Same shape.
        bias: Added to the scores; broadcast to ``(batch, heads, tokens, tokens)``.

    Returns:
        Shape ``(batch, tokens, heads * size)``.
    """
    attended = ops.scaled_dot_product_attention(query, key, value, bias)
    return ops.reshape(ops.transpose(attended, np.array([0, 2, 1, 3], np.int64)), np.array([0, 0, -1], np.int64), True)


def first_token(tokens: Node) -> Node:
    """Return the vector of each row's first token, shape ``(batch, size)``."""
    return ops.gather(tokens, np.int64(0), np.int64(1))


def mean_token(tokens: Node, mask: Node) -> Node:
    """Return the mean of each row's token vectors without padding, shape ``(batch, size)``."""
    weights = ops.unsqueeze(ops.convert(mask, "f32"), np.int64(2))
    summed = ops.reduce_sum(ops.multiply(tokens, weights), np.array([1], np.int64))
    counted = ops.reduce_sum(weights, np.array([1], np.int64))
    return ops.divide(summed, ops.maximum(counted, np.float32(1e-9)))


def padding_bias(mask: Node) -> Node:
    """Return 0 for tokens and ``EXCLUDED`` for padding; shape ``(batch, 1, 1, tokens)``."""
    padded = ops.equal(ops.unsqueeze(mask, np.array([1, 2], np.int64)), np.int64(0))
    return ops.select(padded, np.float32(EXCLUDED), np.float32(0))


def activation(x: Node, name: str) -> Node:
    """Apply an activation by its name in transformers."""
    if name == "gelu":
        return ops.gelu(x, "erf")
    if name in ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"):
        return ops.gelu(x, "tanh")
    if name in ("silu", "swish"):
        return ops.swish(x)
    if name == "relu":
        return ops.relu(x)
    raise UnsupportedModelError(f"the activation {name!r} is not supported")
