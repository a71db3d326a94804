"""Counting tokens, and cutting a long text into windows that fit the model."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import Encoding, Tokenizer

from mcp_server_embeddings.engine.encoder import Piece
from mcp_server_embeddings.engine.identity import Prompts, Role
from mcp_server_embeddings.errors import TextTooLongError

LongText = Literal["window", "truncate", "error"]

_OVERLAP = 8
"""A window repeats one eighth of the one before it, so that no sentence is seen only in halves."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """How one text goes through the model.

    Attributes:
        pieces: One piece, or one a window.
        weights: Tokens of each piece that came from the text; what the mean over windows is weighted by.
        tokens: Tokens the model reads for this text.
        truncated: Whether the end of the text is not read.
    """

    pieces: tuple[Piece, ...]
    weights: tuple[int, ...]
    tokens: int
    truncated: bool = False

    @property
    def windowed(self) -> bool:
        """Whether the text was cut into windows."""
        return len(self.pieces) > 1


class TextTokenizer:
    """The model's tokenizer without truncation and padding. Never changed after it is made, so thread-safe.

    (``tokenizers`` fails with "Already borrowed" when one thread changes truncation while another encodes.)
    """

    def __init__(self, tokenizer_json: str, prompts: Prompts, max_tokens: int | None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._truncating: Tokenizer | None = None
        self._lock = threading.Lock()
        self._prompts = prompts
        self._max_tokens = max_tokens

    def tokenize(self, texts: Sequence[str], role: Role, long_text: LongText) -> list[TokenizedText]:
        """Decide for every text how it goes through the model.

        Args:
            texts: Non-empty texts.
            role: Picks the prompt, which counts towards the limit.
            long_text: What becomes of a text over the limit.

        Raises:
            TextTooLongError: A text is over the limit and ``long_text`` is ``error``.
        """
        prompt = self._prompts.of(role)
        tokens = [e.ids for e in self._tokenizer.encode_batch_fast([prompt + text for text in texts])]
        if long_text == "error":
            self._refuse_long([len(ids) for ids in tokens])
        return [self._plan(text, ids, role, long_text) for text, ids in zip(texts, tokens, strict=True)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without prompt and special tokens."""
        return [len(e.ids) for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _refuse_long(self, lengths: list[int]) -> None:
        limit = self._max_tokens
        over = [i for i, n in enumerate(lengths) if limit is not None and n > limit]
        if over:
            raise TextTooLongError(
                f"text {over[0]} has {lengths[over[0]]} tokens, the model reads {limit}"
                f"{f' ({len(over)} texts are over the limit)' if len(over) > 1 else ''}; "
                "shorten it, or pass long_text='window' (averages overlapping windows) or 'truncate'"
            )

    def _plan(self, text: str, ids: list[int], role: Role, long_text: LongText) -> TokenizedText:
        limit, length = self._max_tokens, len(ids)
        if limit is None or length <= limit:
            return TokenizedText((Piece(text, role, ids),), (length,), length)
        if long_text == "truncate":
            cut = self._truncated(self._prompts.of(role) + text, limit)
            return TokenizedText((Piece(text, role, cut),), (limit,), limit, truncated=True)
        return self._windows(text, role, limit)

    def _truncated(self, text: str, limit: int) -> list[int]:
        """The ids with truncation, special tokens kept; by a copy, because a tokenizer in use is never changed."""
        with self._lock:
            if self._truncating is None:
                self._truncating = Tokenizer.from_str(self._tokenizer.to_str())
                self._truncating.enable_truncation(limit)
        return self._truncating.encode(text).ids

    def _windows(self, text: str, role: Role, limit: int) -> TokenizedText:
        """Cut at token boundaries, each window re-counted because a slice can tokenize differently."""
        prompt = self._prompts.of(role)
        room = max(1, limit - len(self._tokenizer.encode(prompt).ids))
        body = self._tokenizer.encode(text, add_special_tokens=False)
        pieces: list[Piece] = []
        weights: list[int] = []
        start, total = 0, len(body.ids)
        while True:
            end = _word_end(body, start, min(start + room, total))
            window, ids = self._slice(text, body, start, end, prompt)
            while len(ids) > limit and end - start > 1:
                end -= max(1, min(len(ids) - limit, end - start - 1))
                window, ids = self._slice(text, body, start, end, prompt)
            pieces.append(Piece(window, role, ids))
            weights.append(end - start)
            if end >= total:
                return TokenizedText(tuple(pieces), tuple(weights), sum(p.tokens for p in pieces))
            start = max(start + 1, _word_start(body, end - (end - start) // _OVERLAP))

    def _slice(self, text: str, body: Encoding, start: int, end: int, prompt: str) -> tuple[str, list[int]]:
        window = text[body.offsets[start][0] : body.offsets[end - 1][1]]
        return window, self._tokenizer.encode(prompt + window).ids


def _word_start(body: Encoding, position: int) -> int:
    """The first token of the word that the token at ``position`` belongs to."""
    words = body.word_ids
    start = position
    while start > 0 and words[start] is not None and words[start - 1] == words[start]:
        start -= 1
    return start


def _word_end(body: Encoding, start: int, end: int) -> int:
    """``end`` moved back so that it does not cut a word, unless the word fills more than half the window."""
    if end >= len(body.ids):
        return end
    boundary = _word_start(body, end)
    return boundary if boundary - start > (end - start) // 2 else end
