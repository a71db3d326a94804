"""From a model's files to one graph: transformer, pooling and what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.native.bert import MPNET_PADDING, BertConfig, MPNetConfig, bert, mpnet
from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Config,
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
from mcp_server_embeddings.engine.native.modernbert import ModernBertConfig, modernbert
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.native.tokenizer import transformer_tokenizer
from mcp_server_embeddings.engine.prompts import prompts_for
from mcp_server_embeddings.engine.runtime import Node, openvino, ops
from mcp_server_embeddings.errors import ModelLoadError

_TINY = 1e-12
"""The least length that Normalize divides by, as in torch's ``normalize``."""

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
    transformer = build_transformer(first)
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


def build_transformer(module: Module) -> Transformer:
    """Build the transformer of a module.

    Raises:
        UnsupportedModelError: Its architecture is not built here.
        ModelLoadError: A file is damaged or disagrees with another.
    """
    ids, mask = (ops.parameter([-1, -1], np.int64, name) for name in ("input_ids", "attention_mask"))
    for parameter, name in ((ids, "input_ids"), (mask, "attention_mask")):
        parameter.output(0).set_names({name})
    if (module.folder / "adapter_config.json").is_file():
        raise UnsupportedModelError("its weights are changed by an adapter")
    path = module.folder / CONFIG_FILE
    found = read_config(path, _Architecture)
    if any(name.endswith("ForCausalLM") for name in found.architectures or ()):
        raise UnsupportedModelError(f"it is a {found.architectures}")
    if found.model_type in ("bert", "roberta", "xlm-roberta"):
        config = read_config(path, BertConfig)
        weights = _weights(module, "embeddings.word_embeddings.weight", _PREFIXES[found.model_type])
        offset = 0 if found.model_type == "bert" else config.pad_token_id + 1
        tokens, size, table = bert(config, weights, ids, mask), config.hidden_size, config.max_position_embeddings
    elif found.model_type == "mpnet":
        mpnet_config = read_config(path, MPNetConfig)
        weights = _weights(module, "embeddings.word_embeddings.weight", "mpnet.")
        offset = MPNET_PADDING + 1
        tokens, size = mpnet(mpnet_config, weights, ids, mask), mpnet_config.hidden_size
        table = mpnet_config.max_position_embeddings
    elif found.model_type == "modernbert":
        modern = read_config(path, ModernBertConfig)
        weights = _weights(module, "embeddings.tok_embeddings.weight", "model.")
        offset = 0
        tokens, size, table = modernbert(modern, weights, ids, mask), modern.hidden_size, modern.max_position_embeddings
    else:
        raise UnsupportedModelError(f"the architecture {found.model_type!r} is not built here")
    return Transformer(ids, mask, tokens, size, table - offset)


class _Architecture(Config):
    model_type: str
    architectures: tuple[str, ...] | None = None


_PREFIXES = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta."}


def _weights(module: Module, table: str, prefix: str) -> Weights:
    """The weights of a transformer, saved as they are or inside a model with a head.

    Args:
        module: Its folder.
        table: The name of its token table.
        prefix: What a model with a head puts before each name.
    """
    tensors = Tensors(module.folder / WEIGHTS_FILE)
    found = next((before for before in ("", prefix) if before + table in tensors), None)
    if found is None:
        raise UnsupportedModelError(f"its weights have no tensor {table!r}")
    return Weights(tensors, found)


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
    return ops.divide(vectors, ops.maximum(ops.sqrt(squares), np.float32(_TINY)))
