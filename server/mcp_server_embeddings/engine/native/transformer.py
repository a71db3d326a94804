"""Transformers that are built here, by the ``model_type`` of their configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from mcp_server_embeddings.engine.native.bert import MPNET_PADDING, BertConfig, MPNetConfig, bert, mpnet
from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Config,
    TransformerConfig,
    UnsupportedModelError,
    read_config,
)
from mcp_server_embeddings.engine.native.layers import Weights
from mcp_server_embeddings.engine.native.modernbert import ModernBertConfig, modernbert
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.runtime import Node, ops

C = TypeVar("C", bound=TransformerConfig)


@dataclass(frozen=True, slots=True)
class _Architecture(Generic[C]):
    """How one kind of transformer is read and built.

    Attributes:
        config: What its ``config.json`` holds.
        build: From configuration, weights, ids and mask to token vectors.
        token_table: The name of its token embeddings.
        prefix: What a model with a head puts before every name.
        first_position: The row of the position table that the first token takes.
    """

    config: type[C]
    build: Callable[[C, Weights, Node, Node], Node]
    token_table: str
    prefix: str
    first_position: Callable[[C], int] = lambda config: 0


_WORDS = "embeddings.word_embeddings.weight"
_ARCHITECTURES: dict[str, _Architecture[Any]] = {
    "bert": _Architecture(BertConfig, bert, _WORDS, "bert."),
    "roberta": _Architecture(BertConfig, bert, _WORDS, "roberta.", lambda config: config.pad_token_id + 1),
    "xlm-roberta": _Architecture(BertConfig, bert, _WORDS, "roberta.", lambda config: config.pad_token_id + 1),
    "mpnet": _Architecture(MPNetConfig, mpnet, _WORDS, "mpnet.", lambda config: MPNET_PADDING + 1),
    "modernbert": _Architecture(ModernBertConfig, modernbert, "embeddings.tok_embeddings.weight", "model."),
}


@dataclass(frozen=True, slots=True)
class Transformer:
    """A transformer's graph before anything is made of its token vectors.

    Attributes:
        ids: Input, shape ``(batch, tokens)`` int64.
        mask: Input of the same shape: 1 for tokens, 0 for padding.
        tokens: Output, shape ``(batch, tokens, size)``.
        size: Length of a token vector.
        positions: How many tokens it can read.
    """

    ids: Node
    mask: Node
    tokens: Node
    size: int
    positions: int


class _Kind(Config):
    model_type: str
    architectures: tuple[str, ...] | None = None


def build_transformer(folder: Path) -> Transformer:
    """Build the transformer whose ``config.json`` and weights lie in a folder.

    Raises:
        UnsupportedModelError: Its architecture is not built here.
        ModelLoadError: A file is damaged or disagrees with another.
    """
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModelError("its weights are changed by an adapter")
    kind = read_config(folder / CONFIG_FILE, _Kind)
    if any(name.endswith("ForCausalLM") for name in kind.architectures or ()):
        raise UnsupportedModelError(f"it is a {kind.architectures}")
    architecture = _ARCHITECTURES.get(kind.model_type)
    if architecture is None:
        raise UnsupportedModelError(f"the architecture {kind.model_type!r} is not built here")
    config = read_config(folder / CONFIG_FILE, architecture.config)
    weights = _weights(folder, architecture)
    ids, mask = _input("input_ids"), _input("attention_mask")
    tokens = architecture.build(config, weights, ids, mask)
    positions = config.max_position_embeddings - architecture.first_position(config)
    return Transformer(ids, mask, tokens, config.hidden_size, positions)


def _input(name: str) -> Node:
    parameter = ops.parameter([-1, -1], np.int64, name)
    parameter.output(0).set_names({name})
    return parameter


def _weights(folder: Path, architecture: _Architecture[Any]) -> Weights:
    """The weights of a transformer, saved as they are or inside a model with a head."""
    tensors, table = Tensors(folder / WEIGHTS_FILE), architecture.token_table
    prefix = next((before for before in ("", architecture.prefix) if before + table in tensors), None)
    if prefix is None:
        raise UnsupportedModelError(f"its weights have no tensor {table!r}")
    return Weights(tensors, prefix)
