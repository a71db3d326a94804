"""Read what a model folder in sentence-transformers format says, without importing torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mcp_server_embeddings.engine.locate import MODULES_FILE, LocatedModel
from mcp_server_embeddings.errors import EmbeddingsError, ModelLoadError

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"

_TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
"""Names under which sentence-transformers has kept the settings of a Transformer module, in the order it looks."""

_OWN_PACKAGE = "sentence_transformers."


class UnsupportedModelError(EmbeddingsError):
    """The model has a part that is not built here; another engine can serve it."""


class Config(BaseModel):
    """A configuration file; keys that decide nothing here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TransformerConfig(Config):
    """What every ``config.json`` of a transformer has.

    The upper bounds are far beyond any published model: they stop a damaged file before it is built.
    """

    model_type: str
    hidden_size: int = Field(default=768, ge=1, le=65_536)
    num_hidden_layers: int = Field(default=12, ge=1, le=1_000)
    num_attention_heads: int = Field(default=12, ge=1, le=1_024)
    vocab_size: int = Field(default=30_522, ge=1, le=10_000_000)
    max_position_embeddings: int | None = Field(default=None, ge=1, le=100_000_000)

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
    include_prompt: Literal[True] = True

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


class NormalizeConfig(Config):
    """The configuration of a Normalize module; older releases write none."""

    module_input_name: Literal["sentence_embedding"] = "sentence_embedding"
    module_output_name: Literal["sentence_embedding"] = "sentence_embedding"


class _ModuleEntry(Config):
    path: str
    type: str


class _SentenceTransformerConfig(Config):
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None


class _TokenizerConfig(Config):
    model_max_length: float | None = None


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
        plain: Whether it is a transformer without ``modules.json``, to which sentence-transformers adds mean pooling.
    """

    located: LocatedModel
    modules: tuple[Module, ...]
    prompts: dict[str, str]
    default_prompt_name: str | None
    plain: bool


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """How sentence-transformers runs a Transformer module.

    Attributes:
        max_tokens: Its token limit; None where there is none.
        lowercase: Whether texts are lowercased first, whatever the tokenizer does.
    """

    max_tokens: int | None
    lowercase: bool


def read_model(located: LocatedModel) -> ModelFiles:
    """Read which modules a model has and its prompts.

    Raises:
        ModelLoadError: A file is damaged, or describes a model that cannot be.
    """
    folder = located.folder
    path = folder / "config_sentence_transformers.json"
    settings = read_config(path, _SentenceTransformerConfig, optional=True, damaged=True)
    plain = not (folder / MODULES_FILE).is_file()
    if plain:
        modules: tuple[Module, ...] = (Module("Transformer", folder), Module("Pooling", folder / "1_Pooling"))
    else:
        modules = tuple(_module(folder, entry) for entry in _entries(folder / MODULES_FILE))
    if modules and modules[0].kind == "Transformer":
        read_config(modules[0].folder / CONFIG_FILE, TransformerConfig, damaged=True)
    prompts = {name: prompt for name, prompt in settings.prompts.items() if prompt}
    return ModelFiles(located, modules, prompts, settings.default_prompt_name, plain)


def read_transformer_settings(folder: Path, max_positions: int | None) -> TransformerSettings:
    """Read the settings of a Transformer module as ``sentence_transformers`` 6 combines them.

    Args:
        folder: The module's.
        max_positions: Positions that the transformer has; the limit where the module and the tokenizer name none.
    """
    path = next((folder / name for name in _TRANSFORMER_FILES if (folder / name).is_file()), folder / "none")
    module = read_config(path, _TransformerModule, optional=True)
    limit: float | None = module.max_seq_length
    if limit is None:
        limit = read_config(folder / "tokenizer_config.json", _TokenizerConfig, optional=True).model_max_length
        known = [value for value in (limit, max_positions) if value is not None]
        limit = min(known) if known else None
    return TransformerSettings(None if limit is None else int(limit), module.do_lower_case)


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


def _module(folder: Path, entry: _ModuleEntry) -> Module:
    kind = entry.type.rsplit(".", 1)[-1] if entry.type.startswith(_OWN_PACKAGE) else entry.type
    return Module(kind, folder / entry.path)
