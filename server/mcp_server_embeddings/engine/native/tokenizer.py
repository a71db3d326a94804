"""The tokenizer that sentence-transformers would use, from the model's files.

``transformers`` 5 loads ``tokenizer.json`` as it is for most tokenizer classes. For those below it takes only the
vocabulary and builds the rest anew from ``tokenizer_config.json``, so the two can disagree; then this does the same.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mcp_server_embeddings.engine.native.files import (
    TOKENIZER_FILE,
    Config,
    UnsupportedModelError,
    read_config,
    read_json,
)
from mcp_server_embeddings.errors import ModelLoadError

_WORD_PIECE = ("BertTokenizer", "BertTokenizerFast", "MPNetTokenizer", "MPNetTokenizerFast")
_BYTE_LEVEL = ("RobertaTokenizer", "RobertaTokenizerFast")
_UNIGRAM = ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast")
_AS_IT_IS = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", None)


class _Component(Config):
    type: str | None = None


class _ByteLevel(Config):
    type: Literal["ByteLevel"]
    add_prefix_space: bool = False


class _Parts(Config):
    model: _Component
    pre_tokenizer: _Component | None = None


class _TokenizerConfig(Config):
    tokenizer_class: str | None = None
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    add_prefix_space: bool | None = None
    padding_side: Literal["right"] = "right"
    truncation_side: Literal["right"] = "right"
    add_bos_token: None = None
    add_eos_token: None = None


def transformer_tokenizer(folder: Path, *, lowercase: bool) -> str:
    """The tokenizer of a Transformer module, in the format of the ``tokenizers`` library.

    Args:
        folder: The module's.
        lowercase: Whether texts are lowercased first, whatever the tokenizer does.

    Raises:
        UnsupportedModelError: Its class builds something that is not known here.
        ModelLoadError: A file is damaged.
    """
    content = _read(folder)
    config = read_config(folder / "tokenizer_config.json", _TokenizerConfig, optional=True)
    parts = _parts(content)
    if config.tokenizer_class in _WORD_PIECE and parts.model.type == "WordPiece":
        content["normalizer"] = {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": config.tokenize_chinese_chars,
            "strip_accents": config.strip_accents,
            "lowercase": config.do_lower_case,
        }
        content["pre_tokenizer"] = {"type": "BertPreTokenizer"}
    elif config.tokenizer_class in _BYTE_LEVEL and parts.model.type == "BPE":
        _check_prefix_space(content, config)
    elif config.tokenizer_class not in _AS_IT_IS and not (
        config.tokenizer_class in _UNIGRAM and parts.model.type == "Unigram"
    ):
        raise UnsupportedModelError(f"the tokenizer class {config.tokenizer_class!r} is not known")
    if lowercase:
        _lowercase(content)
    return json.dumps(content, ensure_ascii=False)


def static_tokenizer(folder: Path) -> str:
    """The tokenizer of a StaticEmbedding module, which adds no special tokens.

    Raises:
        ModelLoadError: The file is missing or damaged.
    """
    content = _read(folder)
    content["post_processor"] = None
    return json.dumps(content, ensure_ascii=False)


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


def _check_prefix_space(content: dict[str, object], config: _TokenizerConfig) -> None:
    try:
        found = _ByteLevel.model_validate(content.get("pre_tokenizer"))
    except ValidationError:
        raise UnsupportedModelError("its byte-level tokenizer cuts words in a way of its own") from None
    if found.add_prefix_space != bool(config.add_prefix_space) or content.get("normalizer") is not None:
        raise UnsupportedModelError(f"{TOKENIZER_FILE} and tokenizer_config.json disagree")


def _lowercase(content: dict[str, object]) -> None:
    """Put Lowercase before the normalizer, as a Transformer module with ``do_lower_case`` does."""
    normalizer = content.get("normalizer")
    before = [] if normalizer is None else [normalizer]
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        before = list(normalizer.get("normalizers") or [])
    if not any(isinstance(part, dict) and part.get("type") == "Lowercase" for part in before):
        content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *before]}
