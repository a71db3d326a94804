"""Build the graph of an embedding model: transformer, pooling and the modules after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mcp_server_embeddings.engine.catalogue import prompts_for
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    NORM_EPSILON,
    WEIGHTS_FILE,
    Config,
    ModelFiles,
    Module,
    UnsupportedModelError,
    read_config,
    read_transformer_settings,
)
from mcp_server_embeddings.engine.native.layers import Weights, first_token, mean_token, positions
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.native.tokenizer import transformer_tokenizer
from mcp_server_embeddings.engine.native.transformer import Transformer, build_transformer
from mcp_server_embeddings.engine.runtime import Node, openvino, ops
from mcp_server_embeddings.errors import ModelLoadError

_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": lambda x: x,
    "torch.nn.modules.activation.Tanh": ops.tanh,
    "torch.nn.modules.activation.ReLU": ops.relu,
    "torch.nn.modules.activation.Sigmoid": ops.sigmoid,
    "torch.nn.modules.activation.GELU": lambda x: ops.gelu(x, "erf"),
    "torch.nn.modules.activation.SiLU": ops.swish,
}


class PoolingConfig(Config):
    """The configuration of a Pooling module, as written by any release of sentence-transformers."""

    pooling_mode: Literal["mean", "cls", "lasttoken"]
    include_prompt: Literal[True] = True  # False would exclude the prompt's tokens from pooling

    @model_validator(mode="before")
    @classmethod
    def _from_flags(cls, data: object) -> object:
        """Accept one flag per mode, as written by releases before 5.0."""
        if not isinstance(data, dict) or "pooling_mode" in data:
            return data
        flags = {
            "mean": "pooling_mode_mean_tokens",
            "cls": "pooling_mode_cls_token",
            "max": "pooling_mode_max_tokens",
            "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
            "weightedmean": "pooling_mode_weightedmean_tokens",
            "lasttoken": "pooling_mode_lasttoken",
        }
        modes = [mode for mode, flag in flags.items() if data.get(flag)]
        return {**data, "pooling_mode": modes[0] if len(modes) == 1 else modes or "mean"}


class DenseConfig(Config):
    """The configuration of a Dense module."""

    in_features: int = Field(ge=1)
    out_features: int = Field(ge=1)
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    module_input_name: Literal["sentence_embedding"] = "sentence_embedding"
    module_output_name: Literal["sentence_embedding"] | None = None
    use_residual: Literal[False] = False


class LayerNormConfig(Config):
    """The configuration of a LayerNorm module."""

    dimension: int = Field(ge=1)


LAYER_NORM_EPSILON = 1e-5
"""The default of torch's ``LayerNorm``, which the module does not change."""


class NormalizeConfig(Config):
    """The configuration of a Normalize module; older releases write no file."""

    module_input_name: Literal["sentence_embedding"] = "sentence_embedding"
    module_output_name: Literal["sentence_embedding"] = "sentence_embedding"


@dataclass(frozen=True, slots=True)
class NativeModel:
    """An embedding model as a graph.

    Attributes:
        identity: Identity of the model, equal to that of its ``ReferenceEncoder``.
        tokenizer_json: In the format of the ``tokenizers`` library.
        graph: From ``input_ids`` and ``attention_mask`` to one vector per text.
        tensors: Tensors of the transformer, to be released once the graph is compiled.
    """

    identity: ModelIdentity
    tokenizer_json: str
    graph: "openvino.Model"
    tensors: Tensors


def native_model(files: ModelFiles) -> NativeModel:
    """Build the graph of a model with a transformer.

    Raises:
        UnsupportedModelError: The native engine does not support a part of the model.
        ModelLoadError: A file is corrupt or inconsistent with another.

    Example:
        ``native_model(read_model(locate("BAAI/bge-base-en-v1.5"))).graph``
    """
    if files.unsupported:
        raise UnsupportedModelError(files.unsupported)
    first, *rest = files.modules or (None,)
    if first is None or first.kind != "Transformer" or not rest or rest[0].kind != "Pooling":
        raise UnsupportedModelError(f"its modules are {', '.join(module.kind for module in files.modules) or 'none'}")
    transformer = build_transformer(first.folder)
    settings = read_transformer_settings(first.folder, transformer.positions, plain=files.plain)
    mean = PoolingConfig(pooling_mode="mean")
    pooling = mean if files.plain else read_config(rest[0].folder / CONFIG_FILE, PoolingConfig)
    vectors, dimensions = after_pooling(pooled(transformer, pooling), transformer.size, rest[1:])
    identity = ModelIdentity(
        name=files.located.name,
        sha256=files.located.sha256,
        pooling=pooling.pooling_mode,
        prompts=prompts_for(files.located.name, files.prompts, files.default_prompt_name),
        dimensions=dimensions,
        max_tokens=settings.max_tokens,
        normalised=files.modules[-1].kind == "Normalize",
        matryoshka=files.located.shorter_dimensions,
    )
    graph = openvino.Model([vectors], transformer.inputs.nodes, files.located.name)
    return NativeModel(
        identity, transformer_tokenizer(first.folder, lowercase=settings.lowercase), graph, transformer.tensors
    )


def pooled(transformer: Transformer, pooling: PoolingConfig) -> Node:
    """Return one vector per text, shape ``(batch, size)``."""
    tokens, mask = transformer.tokens, transformer.inputs.mask
    if pooling.pooling_mode == "cls":
        return first_token(tokens)
    if pooling.pooling_mode == "mean":
        return mean_token(tokens, mask)
    last = ops.reduce_max(ops.multiply(mask, positions(mask)), np.array([1], np.int64))
    return ops.gather(tokens, last, np.int64(1), 1)


def after_pooling(vectors: Node, size: int, modules: Sequence[Module]) -> tuple[Node, int]:
    """Apply the modules after pooling; return the vectors and their length."""
    for module in modules:
        path = module.folder / CONFIG_FILE
        if module.kind == "Normalize":
            read_config(path, NormalizeConfig, optional=True)
            vectors = _normalised(vectors)
        elif module.kind == "LayerNorm":
            _check_size(module, read_config(path, LayerNormConfig).dimension, size)
            weights = Weights(Tensors(module.folder / WEIGHTS_FILE))
            vectors = weights.layer_norm(vectors, "norm", size, LAYER_NORM_EPSILON)
        elif module.kind == "Dense":
            vectors, size = dense(vectors, size, module, read_config(path, DenseConfig))
        else:
            raise UnsupportedModelError(f"the module {module.kind} is not supported")
    return vectors, size


def dense(vectors: Node, size: int, module: Module, config: DenseConfig) -> tuple[Node, int]:
    """Apply a Dense module; return the vectors and their length."""
    act = _ACTIVATIONS.get(config.activation_function)
    if act is None:
        raise UnsupportedModelError(f"the activation {config.activation_function!r} is not supported")
    _check_size(module, config.in_features, size)
    weights = Weights(Tensors(module.folder / WEIGHTS_FILE))
    return act(weights.linear(vectors, "linear", (config.out_features, size), bias=config.bias)), config.out_features


def _check_size(module: Module, expected: int, size: int) -> None:
    if expected != size:
        raise ModelLoadError(
            f"a {module.kind} module expects {expected} dimensions but gets {size}; fetch the model again"
        )


def _normalised(vectors: Node) -> Node:
    squares = ops.reduce_sum(ops.multiply(vectors, vectors), np.array([1], np.int64), True)
    return ops.divide(vectors, ops.maximum(ops.sqrt(squares), np.float32(NORM_EPSILON)))
