"""Estimate tokens without a tokenizer: for answers, and for models whose tokenizer is not on this machine."""

import re
from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput, LongText, TokenizedText
from mcp_server_embeddings.engine.identity import Prompts, Role
from mcp_server_embeddings.engine.tokens import refuse_long
from mcp_server_embeddings.engine.windows import TokenOffsets

_TOKEN = re.compile(r"[A-Z]?[a-z]{1,6}|[A-Z]{1,2}|[0-9]{1,2}|[^\sA-Za-z0-9]")
"""Finds 1.0 to 1.4 times the tokens of BERT's tokenizer for English prose, 0.93 for random keys, 1.0 for Chinese."""

_CAUTIOUS_TOKEN = re.compile(r"[A-Z]?[a-z]{1,3}|[A-Z]{1,2}|[0-9]{1,2}|[^\sA-Za-z0-9]")
"""For unknown tokenizers, some of which split the words of most languages into short parts. Finds 1.6 times the tokens
of BERT's tokenizer for English prose, 0.9 to 1.0 times for German, Finnish, Polish and keys."""

_SPECIAL_TOKENS = 2
"""Number of tokens that a model adds to an input, such as ``[CLS]`` and ``[SEP]``."""

_NO_PROMPTS = Prompts()


class EstimatedTokens:
    """Estimates tokens from letters, digits and punctuation.

    Args:
        max_tokens: The model's limit, less a margin for the error of the estimate; None for no limit.
        prompts: The model's prompts, which count towards the limit.
        cautious: Overestimate, so that few texts have more tokens than estimated.

    Attributes:
        estimated: True: counts are not of the model's own tokens.

    Example:
        >>> EstimatedTokens().count(["Two words", "x = 10"])
        [2, 3]
    """

    estimated = True

    def __init__(
        self, max_tokens: int | None = None, prompts: Prompts = _NO_PROMPTS, *, cautious: bool = False
    ) -> None:
        self._max_tokens = max_tokens
        self._prompts = prompts
        self._token = _CAUTIOUS_TOKEN if cautious else _TOKEN

    def count(self, texts: Sequence[str], call: Call | None = None) -> list[int]:
        """Estimate the tokens of each text; see ``TokenCounter.count``."""
        counts: list[int] = []
        for text in texts:
            if call is not None:
                call.raise_if_cancelled()
            counts.append(len(self._token.findall(text)))
        return counts

    def tokenize(
        self, texts: Sequence[str], role: Role, long_text: LongText, call: Call | None = None
    ) -> list[TokenizedText]:
        """Cut texts by estimated tokens; see ``TokenCounter.tokenize``."""
        (prompt,) = self.count([self._prompts.of(role)])
        extra = prompt + _SPECIAL_TOKENS
        lengths = [tokens + extra for tokens in self.count(texts, call)]
        if long_text == "error":
            refuse_long(lengths, self._max_tokens, estimated=True)
        return [self._cut(text, tokens, extra, role, long_text) for text, tokens in zip(texts, lengths, strict=True)]

    def _cut(self, text: str, tokens: int, extra: int, role: Role, long_text: LongText) -> TokenizedText:
        if self._max_tokens is None or tokens <= self._max_tokens:
            return TokenizedText((EncoderInput(text, role, tokens),), (tokens,), tokens)
        offsets = self._token_offsets(text)
        spans = list(offsets.windows(0, max(1, self._max_tokens - extra)))
        if long_text == "truncate":
            del spans[1:]
        inputs = tuple(EncoderInput(text[offsets.characters(*span)], role, span[1] - span[0] + extra) for span in spans)
        weights = tuple(end - start for start, end in spans)
        return TokenizedText(inputs, weights, sum(part.tokens for part in inputs), truncated=long_text == "truncate")

    def _token_offsets(self, text: str) -> TokenOffsets:
        spans = np.array([match.span() for match in self._token.finditer(text)], dtype=np.int32)
        inside_word = np.concatenate([[0], spans[1:, 0] == spans[:-1, 1]])
        return TokenOffsets(np.column_stack([np.zeros(len(spans), np.int32), spans, inside_word]).astype(np.int32))
