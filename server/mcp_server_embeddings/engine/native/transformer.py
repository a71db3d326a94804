"""Build the graph of a transformer, chosen by the ``model_type`` of its configuration."""

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
from mcp_server_embeddings.engine.native.layers import Inputs, Weights
from mcp_server_embeddings.engine.native.modernbert import ModernBertConfig, modernbert
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.runtime import Node, ops

C = TypeVar("C", bound=TransformerConfig)


@dataclass(frozen=True, slots=True)
class _Architecture(Generic[C]):
    """Describes how one architecture is read and built.

    Attributes:
        config: Schema of its ``config.json``.
        build: Builds token vectors from configuration, weights and inputs.
        token_table: Name of the token embeddings' tensor.
        prefix: Prefix of every tensor name in a model saved with a head.
        first_position: Row of the position table that the first token uses.
    """

    config: type[C]
    build: Callable[[C, Weights, Inputs], Node]
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
    """A transformer's graph up to its token vectors.

    Attributes:
        inputs: The graph's inputs.
        tokens: Output, shape ``(batch, tokens, size)``.
        size: Length of a token vector.
        positions: Maximum number of tokens.
        tensors: All tensors of the model, including those of a head.
    """

    inputs: Inputs
    tokens: Node
    size: int
    positions: int
    tensors: Tensors


class _ModelType(Config):
    model_type: str
    architectures: tuple[str, ...] | None = None


def build_transformer(folder: Path, *, token_types: bool = False) -> Transformer:
    """Build the transformer from its ``config.json`` and weights in a folder.

    Args:
        folder: The folder of a Transformer module.
        token_types: Add an input for token types, if the model has more than one.

    Raises:
        UnsupportedModelError: The architecture is not supported.
        ModelLoadError: A file is corrupt or inconsistent with another.
    """
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModelError("its weights are changed by an adapter")
    kind = read_config(folder / CONFIG_FILE, _ModelType)
    if any(name.endswith("ForCausalLM") for name in kind.architectures or ()):
        raise UnsupportedModelError(f"it is a {kind.architectures}")
    architecture = _ARCHITECTURES.get(kind.model_type)
    if architecture is None:
        raise UnsupportedModelError(f"the architecture {kind.model_type!r} is not supported")
    config = read_config(folder / CONFIG_FILE, architecture.config)
    tensors = Tensors(folder / WEIGHTS_FILE)
    typed = token_types and isinstance(config, BertConfig) and config.type_vocab_size > 1
    inputs = Inputs(_input("input_ids"), _input("attention_mask"), _input("token_type_ids") if typed else None)
    tokens = architecture.build(config, _transformer_weights(tensors, architecture), inputs)
    positions = config.max_position_embeddings - architecture.first_position(config)
    return Transformer(inputs, tokens, config.hidden_size, positions, tensors)


def _input(name: str) -> Node:
    parameter = ops.parameter([-1, -1], np.int64, name)
    parameter.output(0).set_names({name})
    return parameter


def _transformer_weights(tensors: Tensors, architecture: _Architecture[Any]) -> Weights:
    """Return the weights of the transformer itself, which is saved alone or in a model with a head."""
    table = architecture.token_table
    prefix = next((before for before in ("", architecture.prefix) if before + table in tensors), None)
    if prefix is None:
        raise UnsupportedModelError(f"its weights have no tensor {table!r}")
    return Weights(tensors, prefix)
