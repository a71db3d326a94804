"""BERT (Devlin et al. 2019), RoBERTa and XLM-RoBERTa (Liu et al. 2019), and MPNet (Song et al. 2020)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mcp_server_embeddings.engine.native.files import TransformerConfig
from mcp_server_embeddings.engine.native.layers import (
    Inputs,
    Weights,
    activation,
    attention,
    embedding,
    padding_bias,
    positions,
    shared_constant,
    split_heads,
)
from mcp_server_embeddings.engine.native.tensors import Tensor
from mcp_server_embeddings.engine.runtime import Node, ops

MPNET_PADDING = 1
"""The padding token's id, after which positions start; a constant in transformers' MPNet, not a configuration key."""

_MPNET_MAX_DISTANCE = 128
"""Distances above this share one bucket; also a constant in transformers."""


class BertConfig(TransformerConfig):
    """``config.json`` of BERT, RoBERTa and XLM-RoBERTa."""

    model_type: Literal["bert", "roberta", "xlm-roberta"]
    hidden_act: str = "gelu"
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    type_vocab_size: int = Field(default=2, ge=1)
    pad_token_id: int
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False


class MPNetConfig(TransformerConfig):
    """``config.json`` of MPNet."""

    model_type: Literal["mpnet"]
    hidden_act: str = "gelu"
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    relative_attention_num_buckets: int = Field(default=32, ge=4)


def bert(config: BertConfig, weights: Weights, inputs: Inputs) -> Node:
    """Build the token vectors, shape ``(batch, tokens, hidden_size)``."""
    ids = inputs.ids
    position_ids = positions(ids) if config.model_type == "bert" else _offset_positions(ids, config.pad_token_id)
    types = weights.array("embeddings.token_type_embeddings.weight", (config.type_vocab_size, config.hidden_size))
    type_vectors = types[0] if inputs.types is None else embedding(shared_constant(types), inputs.types)
    x = _embeddings(config, weights.below("embeddings"), ids, position_ids, type_vectors)
    return _encoder(config, weights, x, padding_bias(inputs.mask), _BERT_NAMES)


def mpnet(config: MPNetConfig, weights: Weights, inputs: Inputs) -> Node:
    """Build the token vectors, shape ``(batch, tokens, hidden_size)``."""
    position_ids = _offset_positions(inputs.ids, MPNET_PADDING)
    x = _embeddings(config, weights.below("embeddings"), inputs.ids, position_ids)
    bias = ops.add(_relative_bias(config, weights, inputs.ids), padding_bias(inputs.mask))
    return _encoder(config, weights, x, bias, _MPNET_NAMES)


# Names of a layer's parameters: query, key, value, output, and normalisation of the output.
_BERT_NAMES = tuple(
    f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
)
_MPNET_NAMES = tuple(f"attention.{name}" for name in ("attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm"))


def _embeddings(
    config: BertConfig | MPNetConfig,
    weights: Weights,
    ids: Node,
    position_ids: Node,
    types: "Node | Tensor | None" = None,
) -> Node:
    """Return the normalised sum of the embeddings of each token, its type and its position."""
    size = config.hidden_size
    x = embedding(weights.constant("word_embeddings.weight", (config.vocab_size, size)), ids)
    if types is not None:
        x = ops.add(x, types)
    table = weights.constant("position_embeddings.weight", (config.max_position_embeddings, size))
    return weights.layer_norm(ops.add(x, embedding(table, position_ids)), "LayerNorm", size, config.layer_norm_eps)


def _encoder(config: BertConfig | MPNetConfig, weights: Weights, x: Node, bias: Node, names: tuple[str, ...]) -> Node:
    """Apply all layers, each with layer normalisation after both residual sums."""
    size, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
    *inputs, output, norm = names
    for number in range(config.num_hidden_layers):
        layer = weights.below(f"encoder.layer.{number}")
        query, key, value = (
            split_heads(layer.linear(x, name, (size, size)), config.num_attention_heads, config.head_size)
            for name in inputs
        )
        attended = layer.linear(attention(query, key, value, bias), output, (size, size))
        x = layer.layer_norm(ops.add(attended, x), norm, size, eps)
        hidden = activation(layer.linear(x, "intermediate.dense", (inner, size)), config.hidden_act)
        dense = layer.linear(hidden, "output.dense", (size, inner))
        x = layer.layer_norm(ops.add(dense, x), "output.LayerNorm", size, eps)
    return x


def _offset_positions(ids: Node, padding: int) -> Node:
    """Return positions that start after the padding token's id; padding has that id as its position, as in fairseq."""
    is_token = ops.convert(ops.not_equal(ids, np.int64(padding)), "i64")
    counted = ops.multiply(ops.cum_sum(is_token, np.int64(1)), is_token)
    return ops.add(counted, np.int64(padding))


def _relative_bias(config: MPNetConfig, weights: Weights, ids: Node) -> Node:
    """Return the bias that each head adds for the distance between two tokens; shape ``(1, heads, tokens, tokens)``."""
    max_distance = config.max_position_embeddings
    distances = np.arange(-max_distance, max_distance + 1)
    buckets = _buckets(distances, config.relative_attention_num_buckets)
    by_bucket = weights.array(
        "encoder.relative_attention_bias.weight", (config.relative_attention_num_buckets, config.num_attention_heads)
    )
    by_distance = ops.constant(np.ascontiguousarray(by_bucket[buckets].T))
    position_ids = positions(ids)
    distance = ops.subtract(ops.unsqueeze(position_ids, np.int64(0)), ops.unsqueeze(position_ids, np.int64(1)))
    rows = ops.gather(by_distance, ops.add(distance, np.int64(max_distance)), np.int64(1))
    return ops.unsqueeze(rows, np.int64(0))


def _buckets(distances: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the bucket of each signed distance: one per small distance, else logarithmic (Raffel et al. 2020, T5)."""
    half = count // 2
    exact = half // 2
    size = np.abs(distances)
    # In float32, as in transformers: the bucket edges depend on the precision.
    scale = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        np.log(_MPNET_MAX_DISTANCE / exact)
    )
    far = np.minimum(exact + (scale * np.float32(half - exact)).astype(np.int64), half - 1)
    buckets: NDArray[np.int64] = np.where(size < exact, size, far) + half * (distances > 0)
    return buckets
