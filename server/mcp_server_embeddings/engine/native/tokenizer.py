"""Build the tokenizer that sentence-transformers would use, from the model's files.

``transformers`` 5 loads ``tokenizer.json`` unchanged for most tokenizer classes. For the classes below it reads only
the vocabulary and rebuilds the rest from ``tokenizer_config.json``, so the result can differ from ``tokenizer.json``.
This module rebuilds them in the same way.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from mcp_server_embeddings.engine.native.files import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    Config,
    UnsupportedModelError,
    read_config,
    read_json,
)
from mcp_server_embeddings.errors import ModelLoadError

_UNCHANGED_CLASSES = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that load ``tokenizer.json`` unchanged; in a model of type ``modernbert``, every class does."""

_DEFAULT_CLASSES = {
    "bert": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
"""Tokenizer class by model type, if the model's files name none."""

_PURPOSES = ("bos", "eos", "cls", "sep", "unk", "pad", "mask")
_BRACKETS = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ANGLES = {name: f"<{name}>" for name in ("unk", "pad", "mask")} | dict.fromkeys(("bos", "cls"), "<s>")
_DEFAULT_TOKENS = {
    "BertTokenizer": _BRACKETS,
    "MPNetTokenizer": {**_ANGLES, **dict.fromkeys(("eos", "sep"), "</s>"), "unk": "[UNK]"},
    "RobertaTokenizer": {**_ANGLES, **dict.fromkeys(("eos", "sep"), "</s>")},
    "XLMRobertaTokenizer": {**_ANGLES, **dict.fromkeys(("eos", "sep"), "</s>")},
}
"""Special tokens of each class, unless the configuration overrides them."""


class _Component(Config):
    type: str | None = None


class _ByteLevel(Config):
    type: Literal["ByteLevel"]
    add_prefix_space: bool = False
    use_regex: Literal[True] = True


class _AddedToken(Config):
    content: str


class _NumberedToken(_AddedToken):
    id: int


class _Parts(Config):
    model: _Component
    added_tokens: tuple[_NumberedToken, ...] = ()


class _Truncation(Config):
    direction: Literal["Right"] = "Right"
    max_length: int | None = None


class _ModelConfig(Config):
    model_type: str
    tokenizer_class: str | None = None


_Token = Annotated[_AddedToken, BeforeValidator(lambda value: {"content": value} if isinstance(value, str) else value)]
"""A special token, stored as a string or as an object."""


class _TokenizerConfig(Config):
    tokenizer_class: str | None = None
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    bos_token: _Token | None = None
    eos_token: _Token | None = None
    cls_token: _Token | None = None
    sep_token: _Token | None = None
    unk_token: _Token | None = None
    pad_token: _Token | None = None
    mask_token: _Token | None = None
    add_prefix_space: bool | None = None
    model_input_names: tuple[str, ...] | None = None
    padding_side: Literal["right"] = "right"
    truncation_side: Literal["right"] = "right"
    add_bos_token: None = None
    add_eos_token: None = None
    additional_special_tokens: tuple[_Token, ...] | None = None
    extra_special_tokens: tuple[_Token, ...] | dict[str, _Token] | None = None
    added_tokens_decoder: dict[str, _AddedToken] = Field(default_factory=dict)

    def special_tokens(self) -> dict[str, str]:
        """Return the special tokens that have a purpose, by purpose."""
        tokens: dict[str, _AddedToken | None] = {name: getattr(self, f"{name}_token") for name in _PURPOSES}
        return {name: token.content for name, token in tokens.items() if token is not None}

    def other_tokens(self) -> set[str]:
        """Return the other tokens that must never be split."""
        extra = self.extra_special_tokens or ()
        listed = [*(self.additional_special_tokens or ()), *(extra.values() if isinstance(extra, dict) else extra)]
        return {token.content for token in [*listed, *self.added_tokens_decoder.values()]}


def transformer_tokenizer(folder: Path, *, lowercase: bool) -> str:
    """Build the tokenizer of a Transformer module, in the format of the ``tokenizers`` library.

    Args:
        folder: The module's folder.
        lowercase: Whether texts are lowercased before tokenization.

    Raises:
        UnsupportedModelError: The tokenizer class is not supported.
        ModelLoadError: A file is corrupt.
    """
    content = _read(folder)
    config = read_config(folder / "tokenizer_config.json", _TokenizerConfig, optional=True)
    parts = _parts(content)
    kind, algorithm = _class_name(folder, config), parts.model.type
    tokens = _special_tokens(folder, config, kind)
    numbers = {token.content: token.id for token in parts.added_tokens}
    missing = {*tokens.values(), *config.other_tokens()} - numbers.keys()
    if missing:
        raise UnsupportedModelError(f"{TOKENIZER_FILE} lacks the special tokens {', '.join(sorted(missing))}")
    if kind in ("BertTokenizer", "MPNetTokenizer") and algorithm == "WordPiece":
        _rebuild_word_piece(content, config, tokens["unk"])
    elif kind == "XLMRobertaTokenizer" and algorithm == "Unigram":
        _rebuild_unigram(content, config)
    elif kind == "RobertaTokenizer" and algorithm == "BPE":
        _check_byte_level(content, config)
    elif kind not in _UNCHANGED_CLASSES:
        raise UnsupportedModelError(f"a {kind} with a {algorithm} model is not supported")
    if kind in _DEFAULT_TOKENS:
        first, last = ("bos", "eos") if kind == "XLMRobertaTokenizer" else ("cls", "sep")
        content["post_processor"] = _template(tokens[first], tokens[last], numbers, types=kind == "BertTokenizer")
    if lowercase:
        _lowercase(content)
    return json.dumps(content, ensure_ascii=False)


def uses_token_types(folder: Path) -> bool:
    """Return whether the tokenizer returns token types, which distinguish the two texts of a pair."""
    config = read_config(folder / "tokenizer_config.json", _TokenizerConfig, optional=True)
    if config.model_input_names is not None:
        return "token_type_ids" in config.model_input_names
    return _class_name(folder, config) == "BertTokenizer"


def static_tokenizer(folder: Path) -> tuple[str, int | None]:
    """Build the tokenizer of a StaticEmbedding module, which adds no special tokens, and read its token limit.

    Raises:
        UnsupportedModelError: There is no tokenizer, or it truncates on the left.
        ModelLoadError: The file is corrupt.
    """
    content = _read(folder)
    content["post_processor"] = None
    try:
        truncation = _Truncation.model_validate(content.get("truncation") or {})
    except ValidationError:
        raise UnsupportedModelError("its tokenizer's truncation is not supported") from None
    return json.dumps(content, ensure_ascii=False), truncation.max_length


def _read(folder: Path) -> dict[str, object]:
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise UnsupportedModelError(f"there is no {TOKENIZER_FILE} beside the model's configuration")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelLoadError(f"{str(path)!r} is not a tokenizer; fetch the model again")
    return content


def _parts(content: dict[str, object]) -> _Parts:
    try:
        return _Parts.model_validate(content)
    except ValidationError:
        raise ModelLoadError(f"{TOKENIZER_FILE} has no model; fetch the model again") from None


def _class_name(folder: Path, config: _TokenizerConfig) -> str:
    """Return the class that ``AutoTokenizer`` chooses."""
    model = read_config(folder / CONFIG_FILE, _ModelConfig)
    if model.model_type == "modernbert":
        return "TokenizersBackend"
    name = config.tokenizer_class or model.tokenizer_class or _DEFAULT_CLASSES.get(model.model_type, "")
    return name if name in _UNCHANGED_CLASSES else name.removesuffix("Fast")


def _special_tokens(folder: Path, config: _TokenizerConfig, kind: str) -> dict[str, str]:
    """Return the special tokens by purpose.

    Raises:
        UnsupportedModelError: The model's files disagree.
    """
    tokens = _DEFAULT_TOKENS.get(kind, {}) | config.special_tokens()
    listed = read_config(folder / "special_tokens_map.json", _TokenizerConfig, optional=True)
    others = config.other_tokens() | set(tokens.values())
    if not listed.special_tokens().items() <= tokens.items() or not listed.other_tokens() <= others:
        raise UnsupportedModelError("special_tokens_map.json and tokenizer_config.json disagree")
    if (folder / "added_tokens.json").is_file():
        raise UnsupportedModelError("it has tokens in added_tokens.json")
    return tokens


def _template(first: str, last: str, numbers: Mapping[str, int], *, types: bool) -> dict[str, object]:
    """Return the post-processor that adds special tokens. The texts of a pair differ in type or have two separators."""

    def special(token: str, kind: int = 0) -> dict[str, object]:
        return {"SpecialToken": {"id": token, "type_id": kind}}

    def text(name: str, kind: int = 0) -> dict[str, object]:
        return {"Sequence": {"id": name, "type_id": kind}}

    single = [special(first), text("A"), special(last)]
    second = [text("B", 1), special(last, 1)] if types else [special(last), text("B"), special(last)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *second],
        "special_tokens": {name: {"id": name, "ids": [numbers[name]], "tokens": [name]} for name in {first, last}},
    }


def _rebuild_word_piece(content: dict[str, object], config: _TokenizerConfig, unknown: str) -> None:
    content["normalizer"] = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.tokenize_chinese_chars,
        "strip_accents": config.strip_accents,
        "lowercase": config.do_lower_case,
    }
    content["pre_tokenizer"] = {"type": "BertPreTokenizer"}
    model = content["model"]
    if isinstance(model, dict):
        model.update(unk_token=unknown, continuing_subword_prefix="##", max_input_chars_per_word=100)


def _rebuild_unigram(content: dict[str, object], config: _TokenizerConfig) -> None:
    normalizer = content.get("normalizer")
    steps = normalizer.get("normalizers") or [normalizer] if isinstance(normalizer, dict) else []
    maps = [step for step in steps if isinstance(step, dict) and step.get("type") == "Precompiled"]
    content["normalizer"] = maps[0] if maps else None
    scheme = "never" if config.add_prefix_space is False else "always"
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    model = content["model"]
    if isinstance(model, dict):
        model.update(unk_id=3, byte_fallback=False)


def _check_byte_level(content: dict[str, object], config: _TokenizerConfig) -> None:
    model = content["model"]
    if isinstance(model, dict) and model.get("ignore_merges"):
        raise UnsupportedModelError("its tokenizer ignores merges (ignore_merges)")
    try:
        found = _ByteLevel.model_validate(content.get("pre_tokenizer"))
    except ValidationError:
        raise UnsupportedModelError("its byte-level pre-tokenizer is not supported") from None
    if found.add_prefix_space != bool(config.add_prefix_space) or content.get("normalizer") is not None:
        raise UnsupportedModelError(f"{TOKENIZER_FILE} and tokenizer_config.json disagree")


def _lowercase(content: dict[str, object]) -> None:
    """Insert Lowercase before the normalizer, as a Transformer module with ``do_lower_case`` does."""
    normalizer = content.get("normalizer")
    before = [] if normalizer is None else [normalizer]
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        before = list(normalizer.get("normalizers") or [])
    if not any(isinstance(part, dict) and part.get("type") == "Lowercase" for part in before):
        content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *before]}
