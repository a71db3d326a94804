"""Build the graph of a cross-encoder: a transformer with a sequence-classification head of one label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mcp_server_embeddings.engine.locate import MODULES_FILE, LocatedModel
from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    SETTINGS_FILE,
    ClassifierModule,
    Config,
    EmbeddingModule,
    Module,
    SavedSettings,
    UnsupportedModelError,
    read_config,
    read_modules,
    read_transformer_settings,
)
from mcp_server_embeddings.engine.native.layers import Weights, activation, first_token, mean_token
from mcp_server_embeddings.engine.native.modernbert import ModernBertConfig
from mcp_server_embeddings.engine.native.sentence import DenseConfig, PoolingConfig, after_pooling, dense, pooled
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.engine.native.tokenizer import transformer_tokenizer, uses_token_types
from mcp_server_embeddings.engine.native.transformer import Transformer, build_transformer
from mcp_server_embeddings.engine.reranker import RerankerIdentity, Scale
from mcp_server_embeddings.engine.runtime import Node, openvino, ops


class _Settings(SavedSettings):
    """``config_sentence_transformers.json`` of a cross-encoder."""

    activation_fn: str | None = None

    @property
    def prompt(self) -> str:
        """The text put before every query."""
        name = self.default_prompt_name
        if name is not None and name not in self.prompts:
            raise UnsupportedModelError(f"its default prompt {name!r} is not one of {sorted(self.prompts)}")
        return self.prompts.get(name or "") or ""


class _SavedActivation(Config):
    activation_fn: str | None = None


class _HeadConfig(Config):
    """Keys of ``config.json`` that describe the head."""

    model_type: str
    architectures: tuple[str, ...] | None = None
    num_labels: int | None = None
    id2label: dict[str, object] | None = None
    sentence_transformers: _SavedActivation = _SavedActivation()
    sbert_ce_default_activation_function: str | None = None

    @property
    def labels(self) -> int:
        """Number of labels; transformers does not save it if it is 2."""
        return len(self.id2label) if self.id2label is not None else self.num_labels or 2


class _ScoreConfig(DenseConfig):
    """The configuration of the Dense module that computes the score."""

    out_features: Literal[1]
    module_output_name: Literal["scores"]  # type: ignore[assignment]  # where a CrossEncoder looks for it


class _ModernBertHeadConfig(ModernBertConfig):
    classifier_pooling: Literal["cls", "mean"] = "cls"
    classifier_bias: bool = False
    classifier_activation: str = "gelu"


@dataclass(frozen=True, slots=True)
class NativeCrossEncoder:
    """A cross-encoder as a graph.

    Attributes:
        identity: Identity of the model.
        tokenizer_json: In the format of the ``tokenizers`` library.
        graph: From ``input_ids``, ``attention_mask`` and, if the model reads them, ``token_type_ids`` to one score per
            pair, shape ``(batch, 1)``.
        tensors: Tensors of the transformer, to be released once the graph is compiled.
    """

    identity: RerankerIdentity
    tokenizer_json: str
    graph: "openvino.Model"
    tensors: Tensors


def native_cross_encoder(located: LocatedModel) -> NativeCrossEncoder:
    """Build a cross-encoder from its files, as ``sentence_transformers.CrossEncoder`` would load it.

    Raises:
        UnsupportedModelError: The model is not a cross-encoder that the native engine supports.
        ModelLoadError: A file is corrupt or inconsistent with another.

    Example:
        ``native_cross_encoder(locate("cross-encoder/ms-marco-MiniLM-L6-v2")).identity.scale``
    """
    try:
        return _cross_encoder(located)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            f"{located.name!r} cannot be used as a reranker: {error}; use a BERT, RoBERTa, XLM-RoBERTa or ModernBERT "
            "cross-encoder with one label"
        ) from error


def _cross_encoder(located: LocatedModel) -> NativeCrossEncoder:
    plain = not (located.folder / MODULES_FILE).is_file()
    settings = _Settings() if plain else read_config(located.folder / SETTINGS_FILE, _Settings, optional=True)
    if not plain and settings.model_type != "CrossEncoder":
        raise UnsupportedModelError(f"it is a {settings.model_type}")
    modules = read_modules(located.folder)
    if not modules or modules[0].kind != "Transformer":
        raise UnsupportedModelError(f"its modules are {', '.join(part.kind for part in modules) or 'none'}")
    module, *rest = modules
    config = read_config(module.folder / CONFIG_FILE, _HeadConfig)
    build_head, kind = (_modular_head(rest), EmbeddingModule) if rest else (_head(config), ClassifierModule)
    scale = _scale(settings, config)
    transformer = build_transformer(module.folder, token_types=uses_token_types(module.folder))
    limits = read_transformer_settings(module.folder, transformer.positions, plain=plain, kind=kind)
    scores = build_head(transformer, module)
    if scale == "probability":
        scores = ops.sigmoid(scores)
    identity = RerankerIdentity(located.name, located.sha256, limits.max_tokens, scale, settings.prompt)
    graph = openvino.Model([scores], transformer.inputs.nodes, located.name)
    return NativeCrossEncoder(
        identity, transformer_tokenizer(module.folder, lowercase=limits.lowercase), graph, transformer.tensors
    )


def _modular_head(modules: Sequence[Module]) -> Callable[[Transformer, Module], Node]:
    """Return the builder for a head of modules, as the Ettin rerankers have: Pooling, …, Dense to one score."""
    first, *between, last = modules if len(modules) > 1 else (*modules, *modules)
    if first.kind != "Pooling" or last.kind != "Dense":
        raise UnsupportedModelError(f"its modules are {', '.join(('Transformer', *(part.kind for part in modules)))}")
    pooling = read_config(first.folder / CONFIG_FILE, PoolingConfig)
    final = read_config(last.folder / CONFIG_FILE, _ScoreConfig)

    def head(transformer: Transformer, _: Module) -> Node:
        vectors, size = after_pooling(pooled(transformer, pooling), transformer.size, between)
        return dense(vectors, size, last, final)[0]

    return head


def _scale(settings: _Settings, config: _HeadConfig) -> Scale:
    """Return the scale of ``CrossEncoder``'s activation: the first saved one that is from torch, else the sigmoid."""
    saved = (
        settings.activation_fn,
        config.sentence_transformers.activation_fn,
        config.sbert_ce_default_activation_function,
    )
    path = next((path for path in saved if path and path.startswith("torch.")), "torch.nn.Sigmoid")
    scale = _SCALES.get(path.rpartition(".")[2])
    if scale is None:
        raise UnsupportedModelError(f"the activation {path!r} is not supported")
    return scale


_SCALES: dict[str, Scale] = {"Identity": "logit", "Sigmoid": "probability"}


def _head(config: _HeadConfig) -> Callable[[Transformer, Module], Node]:
    """Return the builder for the classification head of a transformer."""
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise UnsupportedModelError(f"it is a {', '.join(config.architectures or ()) or 'model without a head'}")
    if config.labels != 1:
        raise UnsupportedModelError(f"it has {config.labels} labels")
    if config.model_type not in _HEADS:
        raise UnsupportedModelError(f"a classification head of {config.model_type!r} is not supported")
    return _HEADS[config.model_type]


def _bert_head(transformer: Transformer, module: Module) -> Node:
    size, weights = transformer.size, Weights(transformer.tensors)
    pooled = ops.tanh(weights.linear(first_token(transformer.tokens), "bert.pooler.dense", (size, size)))
    return weights.linear(pooled, "classifier", (1, size))


def _roberta_head(transformer: Transformer, module: Module) -> Node:
    size, weights = transformer.size, Weights(transformer.tensors)
    hidden = ops.tanh(weights.linear(first_token(transformer.tokens), "classifier.dense", (size, size)))
    return weights.linear(hidden, "classifier.out_proj", (1, size))


def _modernbert_head(transformer: Transformer, module: Module) -> Node:
    config = read_config(module.folder / CONFIG_FILE, _ModernBertHeadConfig)
    size, weights = transformer.size, Weights(transformer.tensors)
    mean = config.classifier_pooling == "mean"
    pooled = mean_token(transformer.tokens, transformer.inputs.mask) if mean else first_token(transformer.tokens)
    hidden = weights.linear(pooled, "head.dense", (size, size), bias=config.classifier_bias)
    hidden = activation(hidden, config.classifier_activation)
    hidden = weights.layer_norm(hidden, "head.norm", size, config.norm_eps, bias=config.norm_bias)
    return weights.linear(hidden, "classifier", (1, size))


_HEADS: dict[str, Callable[[Transformer, Module], Node]] = {
    "bert": _bert_head,
    "roberta": _roberta_head,
    "xlm-roberta": _roberta_head,
    "modernbert": _modernbert_head,
}
