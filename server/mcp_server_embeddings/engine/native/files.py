"""Read the configuration of a model folder in sentence-transformers format, without importing torch."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mcp_server_embeddings.engine.locate import MODULES_FILE, LocatedModel
from mcp_server_embeddings.errors import EmbeddingsError, ModelLoadError

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "model.safetensors"
SETTINGS_FILE = "config_sentence_transformers.json"

_TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""File names of a Transformer module's settings, in the order in which sentence-transformers looks for them."""

_OWN_PACKAGE = "sentence_transformers."


class UnsupportedModelError(EmbeddingsError):
    """The native engine does not support a part of the model; another engine may."""


class Config(BaseModel):
    """A configuration file. Keys that cannot change a vector are ignored."""

    # The first use builds the schema: most are never used, and none before the handshake.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


_MAX_SIZES = {"num_hidden_layers": 1_000, "hidden_size": 65_536, "intermediate_size": 1_000_000}
"""Upper bounds far above any published model, so that a corrupt file cannot make a build run forever."""


class TransformerConfig(Config):
    """Keys that ``config.json`` of every supported transformer has.

    All sizes are required, because their defaults differ between the classes of ``transformers``.
    """

    model_type: str
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size is not a multiple of num_attention_heads")
        return self

    @property
    def head_size(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden_size // self.num_attention_heads


class TransformerModule(BaseModel):
    """``sentence_bert_config.json``. Unknown keys are rejected, because they may change the output."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    max_seq_length: int | None = Field(default=None, ge=1)
    do_lower_case: bool = False


class _HiddenState(Config):
    method: Literal["forward"]
    method_output_name: Literal["last_hidden_state"]


class EmbeddingModule(TransformerModule):
    """Settings of a Transformer module that returns token vectors."""

    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    modality_config: dict[Literal["text"], _HiddenState] | None = None
    module_output_name: Literal["token_embeddings"] = "token_embeddings"


class _Logits(Config):
    method: Literal["forward"]
    method_output_name: Literal["logits"]


class ClassifierModule(TransformerModule):
    """Settings of a Transformer module that returns the scores of a classification head."""

    transformer_task: Literal["sequence-classification"] = "sequence-classification"
    modality_config: dict[Literal["text"], _Logits] | None = None
    module_output_name: Literal["scores"] = "scores"


NORM_EPSILON = 1e-12
"""The smallest norm that Normalize divides by, as in torch's ``normalize``."""


class _ModuleEntry(Config):
    path: str
    type: str


class SavedSettings(Config):
    """The keys of ``config_sentence_transformers.json`` that every type of model has."""

    model_type: str = "SentenceTransformer"
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None
    matryoshka_dimensions: tuple[int, ...] = ()


class _SentenceTransformerConfig(SavedSettings):
    truncate_dim: int | None = None


class _TokenLimit(Config):
    model_max_length: float | None = Field(default=None, validation_alias=AliasChoices("model_max_length", "max_len"))


@dataclass(frozen=True, slots=True)
class Module:
    """One module of a model.

    Attributes:
        kind: Class name, such as ``Transformer`` or ``Pooling``; qualified if the class is not from
            sentence-transformers.
        folder: Folder with its files.
    """

    kind: str
    folder: Path


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as described by its files.

    Attributes:
        located: Location on disk.
        modules: Modules in the order in which they run.
        prompts: Prompts by the names in the model's files.
        default_prompt_name: Name of the prompt for texts without a role, if any.
        plain: Whether the model is a transformer without ``modules.json``: sentence-transformers then adds mean
            pooling and ignores all files except the transformer's own.
        unsupported: Reason why the native engine cannot serve the model; empty if none is known.
    """

    located: LocatedModel
    modules: tuple[Module, ...]
    prompts: dict[str, str]
    default_prompt_name: str | None
    plain: bool
    unsupported: str

    @property
    def static(self) -> bool:
        """Whether the model has no transformer, only a vector for each token."""
        return bool(self.modules) and self.modules[0].kind == "StaticEmbedding"


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """How sentence-transformers runs a Transformer module.

    Attributes:
        max_tokens: Token limit.
        lowercase: Whether texts are lowercased before tokenization.
    """

    max_tokens: int
    lowercase: bool


def read_model(located: LocatedModel) -> ModelFiles:
    """Read the modules of a model, its prompts, and the lengths to which its vectors may be shortened.

    Raises:
        ModelLoadError: A file is corrupt or describes an impossible model.
    """
    folder = located.folder
    modules, settings = read_modules(folder), _SentenceTransformerConfig()
    plain = not (folder / MODULES_FILE).is_file()
    if plain:
        modules += (Module("Pooling", folder),)
    else:
        settings = read_config(folder / SETTINGS_FILE, _SentenceTransformerConfig, optional=True, corrupt=True)
    prompts = {name: prompt for name, prompt in settings.prompts.items() if prompt}
    located = replace(located, matryoshka=tuple(sorted(settings.matryoshka_dimensions)))
    return ModelFiles(located, modules, prompts, settings.default_prompt_name, plain, _unsupported(settings))


def read_modules(folder: Path) -> tuple[Module, ...]:
    """Read ``modules.json``; without that file, the model is one Transformer module.

    Raises:
        ModelLoadError: A file is corrupt or describes an impossible model.
    """
    plain = not (folder / MODULES_FILE).is_file()
    entries = [] if plain else _entries(folder / MODULES_FILE)
    modules = (Module("Transformer", folder),) if plain else tuple(_module(folder, entry) for entry in entries)
    if modules and (modules[0].folder / CONFIG_FILE).is_file():
        _check_sizes(modules[0].folder / CONFIG_FILE)
    return modules


def read_transformer_settings(
    folder: Path, max_positions: int, *, plain: bool, kind: type[TransformerModule] = EmbeddingModule
) -> TransformerSettings:
    """Read the settings of a Transformer module as ``sentence_transformers`` 6 combines them.

    Args:
        folder: The module's folder.
        max_positions: Positions of the transformer; the token limit if neither the module nor the tokenizer has one.
        plain: Whether the model has no ``modules.json``, so the module has no settings file.
        kind: Schema of the settings, by the use of the module's output.

    Raises:
        UnsupportedModelError: A setting is not supported, or the token limit exceeds the positions.
        ModelLoadError: A file cannot be read.
    """
    found = [] if plain else [folder / name for name in _TRANSFORMER_FILES if (folder / name).is_file()]
    module = read_config(found[0], kind) if found else kind()
    limit: float | None = module.max_seq_length
    if limit is None:
        limit = read_config(folder / "tokenizer_config.json", _TokenLimit, optional=True).model_max_length
        limit = max_positions if limit is None else min(limit, max_positions)
    if limit > max_positions:
        raise UnsupportedModelError(f"its token limit {limit} is over the {max_positions} positions it has")
    return TransformerSettings(int(limit), module.do_lower_case)


C = TypeVar("C", bound=BaseModel)


def read_config(path: Path, kind: type[C], *, optional: bool = False, corrupt: bool = False) -> C:
    """Read one JSON file.

    Args:
        path: The file.
        kind: Schema of its content.
        optional: Treat a missing file as an empty one.
        corrupt: Report invalid values as a corrupt model instead of an unsupported one.

    Raises:
        UnsupportedModelError: The content does not fit the schema.
        ModelLoadError: The file cannot be read.
    """
    if optional and not path.is_file():
        return kind()
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        reason = f"{path.name} has an unusable value for {where!r}: {problem['msg']}"
        if corrupt:
            raise ModelLoadError(f"{reason}; repair {str(path)!r} or fetch the model again") from None
        raise UnsupportedModelError(reason) from None


def read_json(path: Path) -> object:
    """Read one JSON file of a model.

    Raises:
        ModelLoadError: The file is missing or not valid JSON.
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
    """Reject a ``config.json`` with sizes above ``_MAX_SIZES``.

    Raises:
        ModelLoadError: A size is too large, or the file is not a JSON object.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelLoadError(f"{str(path)!r} is not a model's configuration; fetch the model again")
    for name, maximum in _MAX_SIZES.items():
        value = config.get(name)
        if isinstance(value, int) and value > maximum:
            raise ModelLoadError(
                f"{str(path)!r} says {name} = {value:,}, at most {maximum:,} is possible; repair it or fetch the model "
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
