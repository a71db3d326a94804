"""Read what a model folder in sentence-transformers format says, without importing torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mcp_server_embeddings.engine.locate import MODULES_FILE, LocatedModel
from mcp_server_embeddings.errors import EmbeddingsError, ModelLoadError

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "model.safetensors"

_TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names under which sentence-transformers has kept the settings of a Transformer module, in the order it looks."""

_OWN_PACKAGE = "sentence_transformers."


class UnsupportedModelError(EmbeddingsError):
    """The model has a part that is not built here; another engine can serve it."""


class Config(BaseModel):
    """A configuration file; keys that decide nothing here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_LARGEST = {"num_hidden_layers": 1_000, "hidden_size": 65_536, "intermediate_size": 1_000_000}
"""Far beyond any published model: a damaged file must not be built for ever, whichever engine serves it."""


class TransformerConfig(Config):
    """What ``config.json`` of every transformer that is built here has.

    A size that is missing has another default in each class of ``transformers``, so all are required.
    """

    model_type: str
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size is not a multiple of num_attention_heads")
        return self

    @property
    def head_size(self) -> int:
        """Numbers of one attention head."""
        return self.hidden_size // self.num_attention_heads


class _TransformerModule(BaseModel):
    """``sentence_bert_config.json``; a key that is not known here may change the vectors, so it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seq_length: int | None = Field(default=None, ge=1)
    do_lower_case: bool = False
    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    modality_config: dict[Literal["text"], "_Modality"] | None = None
    module_output_name: Literal["token_embeddings"] = "token_embeddings"


class _Modality(Config):
    method: Literal["forward"]
    method_output_name: Literal["last_hidden_state"]


class PoolingConfig(Config):
    """The configuration of a Pooling module, in the form of any release."""

    pooling_mode: Literal["mean", "cls", "lasttoken"]
    include_prompt: Literal[True] = True  # else the prompt's tokens are left out of pooling

    @model_validator(mode="before")
    @classmethod
    def _from_flags(cls, data: object) -> object:
        """Read one flag for each mode, as releases before 5.0 wrote them."""
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


NORM_EPSILON = 1e-12
"""The least length that Normalize divides by, as in torch's ``normalize``."""


class NormalizeConfig(Config):
    """The configuration of a Normalize module; older releases write none."""

    module_input_name: Literal["sentence_embedding"] = "sentence_embedding"
    module_output_name: Literal["sentence_embedding"] = "sentence_embedding"


class _ModuleEntry(Config):
    path: str
    type: str


class _SentenceTransformerConfig(Config):
    model_type: str = "SentenceTransformer"
    truncate_dim: int | None = None
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None


class _TokenLimit(Config):
    model_max_length: float | None = Field(default=None, validation_alias=AliasChoices("model_max_length", "max_len"))


@dataclass(frozen=True, slots=True)
class Module:
    """One module of a model.

    Attributes:
        kind: Its class name, such as ``Transformer`` or ``Pooling``; with its package where that is not
            sentence-transformers.
        folder: Where its files are.
    """

    kind: str
    folder: Path


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as its files describe it.

    Attributes:
        located: Where it lies.
        modules: In the order in which they run.
        prompts: By the names that the model gives them.
        default_prompt_name: The prompt of texts without a role, if the model has one.
        plain: Whether it is a transformer without ``modules.json``, to which sentence-transformers adds mean pooling,
            and of whose other files it reads only the transformer's own.
        unsupported: Why none of this is built here; empty where nothing is known against it.
    """

    located: LocatedModel
    modules: tuple[Module, ...]
    prompts: dict[str, str]
    default_prompt_name: str | None
    plain: bool
    unsupported: str

    @property
    def static(self) -> bool:
        """Whether it has no transformer, only a vector for each token."""
        return bool(self.modules) and self.modules[0].kind == "StaticEmbedding"


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """How sentence-transformers runs a Transformer module.

    Attributes:
        max_tokens: Its token limit.
        lowercase: Whether texts are lowercased first, whatever the tokenizer does.
    """

    max_tokens: int
    lowercase: bool


def read_model(located: LocatedModel) -> ModelFiles:
    """Read which modules a model has and its prompts.

    Raises:
        ModelLoadError: A file is damaged, or describes a model that cannot be.
    """
    folder = located.folder
    plain = not (folder / MODULES_FILE).is_file()
    if plain:
        settings = _SentenceTransformerConfig()
        modules: tuple[Module, ...] = (Module("Transformer", folder), Module("Pooling", folder))
    else:
        path = folder / "config_sentence_transformers.json"
        settings = read_config(path, _SentenceTransformerConfig, optional=True, damaged=True)
        modules = tuple(_module(folder, entry) for entry in _entries(folder / MODULES_FILE))
    if modules and (modules[0].folder / CONFIG_FILE).is_file():
        _check_sizes(modules[0].folder / CONFIG_FILE)
    prompts = {name: prompt for name, prompt in settings.prompts.items() if prompt}
    return ModelFiles(located, modules, prompts, settings.default_prompt_name, plain, _unsupported(settings))


def read_transformer_settings(folder: Path, max_positions: int, *, plain: bool) -> TransformerSettings:
    """Read the settings of a Transformer module as ``sentence_transformers`` 6 combines them.

    Args:
        folder: The module's.
        max_positions: Positions that the transformer has; the limit where the module and the tokenizer name none.
        plain: Whether it is a transformer without ``modules.json``, which has no settings of its own.
    """
    found = [] if plain else [folder / name for name in _TRANSFORMER_FILES if (folder / name).is_file()]
    module = read_config(found[0], _TransformerModule) if found else _TransformerModule()
    limit: float | None = module.max_seq_length
    if limit is None:
        limit = read_config(folder / "tokenizer_config.json", _TokenLimit, optional=True).model_max_length
        limit = max_positions if limit is None else min(limit, max_positions)
    return TransformerSettings(int(limit), module.do_lower_case)


C = TypeVar("C", bound=BaseModel)


def read_config(path: Path, kind: type[C], *, optional: bool = False, damaged: bool = False) -> C:
    """Read one JSON file.

    Args:
        path: The file.
        kind: What it must hold.
        optional: A file that is not there is one without keys.
        damaged: Values that do not fit mean a damaged model instead of one that is not supported here.

    Raises:
        UnsupportedModelError: It holds something else.
        ModelLoadError: It cannot be read.
    """
    if optional and not path.is_file():
        return kind()
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        reason = f"{path.name} has an unusable value for {where!r}: {fault['msg']}"
        if damaged:
            raise ModelLoadError(f"{reason}; repair {str(path)!r} or fetch the model again") from None
        raise UnsupportedModelError(reason) from None


def read_json(path: Path) -> object:
    """Read one JSON file of a model.

    Raises:
        ModelLoadError: It is not there, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelLoadError(f"{str(path)!r} cannot be read ({error.strerror}); fetch the model again") from None
    except (ValueError, RecursionError):
        raise ModelLoadError(f"{str(path)!r} is not valid JSON; repair it or fetch the model again") from None


def _entries(path: Path) -> list[_ModuleEntry]:
    try:
        return TypeAdapter(list[_ModuleEntry]).validate_python(read_json(path))
    except ValidationError:
        raise ModelLoadError(
            f"{str(path)!r} does not list modules with path and type; repair it or fetch the model again"
        ) from None


def _check_sizes(path: Path) -> None:
    """Refuse a ``config.json`` whose model could not be built in a lifetime.

    Raises:
        ModelLoadError: It is such, or no JSON object.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelLoadError(f"{str(path)!r} is not a model's configuration; fetch the model again")
    for name, largest in _LARGEST.items():
        value = config.get(name)
        if isinstance(value, int) and value > largest:
            raise ModelLoadError(
                f"{str(path)!r} says {name} = {value:,}, at most {largest:,} is possible; repair it or fetch the model "
                "again"
            )


def _unsupported(settings: _SentenceTransformerConfig) -> str:
    if settings.model_type != "SentenceTransformer":
        return f"it is a {settings.model_type}"
    return "its vectors are shortened (truncate_dim)" if settings.truncate_dim is not None else ""


def _module(folder: Path, entry: _ModuleEntry) -> Module:
    if Path(entry.path).is_absolute() or ".." in Path(entry.path).parts:
        raise ModelLoadError(f"{MODULES_FILE} names the path {entry.path!r} outside the model; fetch the model again")
    kind = entry.type.rsplit(".", 1)[-1] if entry.type.startswith(_OWN_PACKAGE) else entry.type
    return Module(kind, folder / entry.path)
