"""ModernBERT (Warner et al. 2024): rotary positions, local and global attention, gated layers."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mcp_server_embeddings.engine.native.files import Config, TransformerConfig
from mcp_server_embeddings.engine.native.layers import (
    EXCLUDED,
    Inputs,
    Weights,
    activation,
    attention,
    embedding,
    padding_bias,
    positions,
    shared_constant,
)
from mcp_server_embeddings.engine.runtime import Node, ops

LayerType = Literal["full_attention", "sliding_attention"]


class _Rope(Config):
    rope_type: Literal["default"] = "default"
    rope_theta: float | None = Field(default=None, gt=0)


class ModernBertConfig(TransformerConfig):
    """``config.json`` of ModernBERT, as transformers 4 and 5 write it."""

    model_type: Literal["modernbert"]
    hidden_activation: str = "gelu"
    norm_eps: float = Field(default=1e-5, gt=0)
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_attention: int = Field(default=128, ge=2)
    global_attn_every_n_layers: int = Field(default=3, ge=1)
    global_rope_theta: float = Field(default=160_000.0, gt=0)
    local_rope_theta: float = Field(default=10_000.0, gt=0)
    layer_types: tuple[LayerType, ...] | None = None
    rope_parameters: dict[LayerType, _Rope] | None = None
    rope_scaling: None = None

    @model_validator(mode="after")
    def _one_type_per_layer(self) -> "ModernBertConfig":
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError("layer_types does not have one entry per layer")
        return self

    def layer_type(self, number: int) -> LayerType:
        """Return whether a layer attends to all tokens or only to near ones."""
        if self.layer_types is not None:
            return self.layer_types[number]
        return "sliding_attention" if number % self.global_attn_every_n_layers else "full_attention"

    def theta(self, kind: LayerType) -> float:
        """Return the base of the rotary frequencies."""
        rope = (self.rope_parameters or {}).get(kind)
        if rope is not None and rope.rope_theta is not None:
            return rope.rope_theta
        return self.global_rope_theta if kind == "full_attention" else self.local_rope_theta


def modernbert(config: ModernBertConfig, weights: Weights, inputs: Inputs) -> Node:
    """Build the token vectors, shape ``(batch, tokens, hidden_size)``."""
    size = config.hidden_size
    position_ids = positions(inputs.ids)
    kinds = {config.layer_type(number) for number in range(config.num_hidden_layers)}
    rotations = {kind: _rotation(position_ids, config, config.theta(kind)) for kind in kinds}
    biases = {kind: _bias(inputs.mask, position_ids, config.local_attention // 2, kind) for kind in kinds}

    def normalized(x: Node, weights: Weights, name: str) -> Node:
        return weights.layer_norm(x, name, size, config.norm_eps, bias=config.norm_bias)

    table = weights.constant("embeddings.tok_embeddings.weight", (config.vocab_size, size))
    x = normalized(embedding(table, inputs.ids), weights, "embeddings.norm")
    for number in range(config.num_hidden_layers):
        layer, kind = weights.below(f"layers.{number}"), config.layer_type(number)
        normed = normalized(x, layer, "attn_norm") if number else x  # the embeddings are already normalized
        x = ops.add(x, _attention(config, layer.below("attn"), normed, rotations[kind], biases[kind]))
        x = ops.add(x, _gated(config, layer.below("mlp"), normalized(x, layer, "mlp_norm")))
    return normalized(x, weights, "final_norm")


def _attention(config: ModernBertConfig, weights: Weights, x: Node, rotation: tuple[Node, Node], bias: Node) -> Node:
    size, heads = config.hidden_size, config.num_attention_heads
    joint = weights.linear(x, "Wqkv", (3 * size, size), bias=config.attention_bias)
    parts = ops.reshape(joint, np.array([0, 0, 3, heads, config.head_size], np.int64), True)
    by_part = ops.transpose(parts, np.array([2, 0, 3, 1, 4], np.int64))  # (3, batch, heads, tokens, size)
    query, key, value = (ops.gather(by_part, np.int64(part), np.int64(0)) for part in range(3))
    attended = attention(_rotated(query, rotation), _rotated(key, rotation), value, bias)
    return weights.linear(attended, "Wo", (size, size), bias=config.attention_bias)


def _gated(config: ModernBertConfig, weights: Weights, x: Node) -> Node:
    size, inner = config.hidden_size, config.intermediate_size
    joint = weights.linear(x, "Wi", (2 * inner, size), bias=config.mlp_bias)
    halves = ops.split(joint, np.int64(-1), 2)
    hidden = ops.multiply(activation(halves.output(0), config.hidden_activation), halves.output(1))
    return weights.linear(hidden, "Wo", (size, inner), bias=config.mlp_bias)


def _rotation(position_ids: Node, config: ModernBertConfig, theta: float) -> tuple[Node, Node]:
    """Return cosines and sines of each position, shape ``(tokens, head_size)`` (Su et al. 2021, RoFormer).

    They are looked up in tables, because a graph that computes in bf16 would get the angles of late positions wrong.
    """
    exponents = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    frequencies = (np.float32(1) / np.float32(theta) ** exponents).astype(np.float32)
    angles = np.outer(np.arange(config.max_position_embeddings, dtype=np.float32), np.tile(frequencies, 2))
    return embedding(shared_constant(np.cos(angles)), position_ids), embedding(
        shared_constant(np.sin(angles)), position_ids
    )


def _rotated(x: Node, rotation: tuple[Node, Node]) -> Node:
    cosines, sines = rotation
    halves = ops.split(x, np.int64(-1), 2)
    rotated = ops.concat([ops.negative(halves.output(1)), halves.output(0)], -1)
    return ops.add(ops.multiply(x, cosines), ops.multiply(rotated, sines))


def _bias(mask: Node, position_ids: Node, window: int, kind: LayerType) -> Node:
    """Return the bias that masks padding and, in local layers, tokens farther away than ``window``."""
    bias = padding_bias(mask)
    if kind == "full_attention":
        return bias
    distance = ops.abs(ops.subtract(ops.unsqueeze(position_ids, np.int64(0)), ops.unsqueeze(position_ids, np.int64(1))))
    far = ops.select(ops.greater(distance, np.int64(window)), np.float32(EXCLUDED), np.float32(0))
    return ops.add(bias, far)  # at most twice EXCLUDED, which is finite
