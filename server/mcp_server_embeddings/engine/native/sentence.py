"""From a model's files to one graph: transformer, pooling and what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    NORM_EPSILON,
    WEIGHTS_FILE,
    DenseConfig,
    ModelFiles,
    Module,
    NormalizeConfig,
    PoolingConfig,
    UnsupportedModelError,
    read_config,
    read_transformer_settings,
)
from mcp_server_embeddings.engine.native.layers import Weights, positions
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.native.tokenizer import transformer_tokenizer
from mcp_server_embeddings.engine.native.transformer import Transformer, build_transformer
from mcp_server_embeddings.engine.prompts import prompts_for
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


@dataclass(frozen=True, slots=True)
class NativeModel:
    """A model as a graph.

    Attributes:
        identity: The same that ``ReferenceEncoder`` gives this model.
        tokenizer_json: In the format of the ``tokenizers`` library.
        graph: From ``input_ids`` and ``attention_mask`` to one vector a row.
    """

    identity: ModelIdentity
    tokenizer_json: str
    graph: "openvino.Model"


def native_model(files: ModelFiles) -> NativeModel:
    """Build a model with a transformer.

    Raises:
        UnsupportedModelError: It has a part that is not built here.
        ModelLoadError: A file is damaged or disagrees with another.
    """
    if files.unsupported:
        raise UnsupportedModelError(files.unsupported)
    first, *rest = files.modules or (None,)
    if first is None or first.kind != "Transformer" or not rest or rest[0].kind != "Pooling":
        raise UnsupportedModelError(f"its modules are {', '.join(module.kind for module in files.modules) or 'none'}")
    transformer = build_transformer(first.folder)
    settings = read_transformer_settings(first.folder, transformer.positions, plain=files.plain)
    if settings.max_tokens > transformer.positions:
        raise UnsupportedModelError(f"its token limit is over the {transformer.positions} positions it has")
    mean = PoolingConfig(pooling_mode="mean")
    pooling = mean if files.plain else read_config(rest[0].folder / CONFIG_FILE, PoolingConfig)
    vectors, dimensions = _after_pooling(_pooled(transformer, pooling), transformer.size, rest[1:])
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
    graph = openvino.Model([vectors], [transformer.ids, transformer.mask], files.located.name)
    return NativeModel(identity, transformer_tokenizer(first.folder, lowercase=settings.lowercase), graph)


def _pooled(transformer: Transformer, pooling: PoolingConfig) -> Node:
    """One vector a row, shape ``(batch, size)``."""
    tokens, mask = transformer.tokens, transformer.mask
    if pooling.pooling_mode == "cls":
        return ops.gather(tokens, np.int64(0), np.int64(1))
    if pooling.pooling_mode == "mean":
        weights = ops.unsqueeze(ops.convert(mask, "f32"), np.int64(2))
        summed = ops.reduce_sum(ops.multiply(tokens, weights), np.array([1], np.int64))
        counted = ops.reduce_sum(weights, np.array([1], np.int64))
        return ops.divide(summed, ops.maximum(counted, np.float32(1e-9)))
    last = ops.reduce_max(ops.multiply(mask, positions(mask)), np.array([1], np.int64))
    return ops.gather(tokens, last, np.int64(1), 1)


def _after_pooling(vectors: Node, size: int, modules: Sequence[Module]) -> tuple[Node, int]:
    """What the modules after pooling make of a vector, and how long it is then."""
    for module in modules:
        path = module.folder / CONFIG_FILE
        if module.kind == "Normalize":
            read_config(path, NormalizeConfig, optional=True)
            vectors = _normalised(vectors)
        elif module.kind == "Dense":
            dense = read_config(path, DenseConfig)
            act = _ACTIVATIONS.get(dense.activation_function)
            if act is None:
                raise UnsupportedModelError(f"the activation {dense.activation_function!r} is not known")
            if dense.in_features != size:
                raise ModelLoadError(f"a Dense module takes {dense.in_features} numbers and is given {size}")
            weights = Weights(Tensors(module.folder / WEIGHTS_FILE))
            vectors = act(weights.linear(vectors, "linear", (dense.out_features, size), bias=dense.bias))
            size = dense.out_features
        else:
            raise UnsupportedModelError(f"the module {module.kind} is not built here")
    return vectors, size


def _normalised(vectors: Node) -> Node:
    squares = ops.reduce_sum(ops.multiply(vectors, vectors), np.array([1], np.int64), True)
    return ops.divide(vectors, ops.maximum(ops.sqrt(squares), np.float32(NORM_EPSILON)))
