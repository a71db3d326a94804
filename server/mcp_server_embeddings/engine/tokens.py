"""Counting tokens, and cutting a long text into windows that fit the model."""

import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import Encoding, Tokenizer

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import Piece
from mcp_server_embeddings.engine.identity import Prompts, Role
from mcp_server_embeddings.engine.windows import BLOCK, TokenOffsets, fitting_windows, token_offsets
from mcp_server_embeddings.errors import TextTooLongError

LongText = Literal["window", "truncate", "error"]

_AT_ONCE = 100_000
"""Characters of the texts tokenized together, because an ``Encoding`` holds 100 bytes and more for each token."""


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

    def tokenize(
        self, texts: Sequence[str], role: Role, long_text: LongText, call: Call | None = None
    ) -> list[TokenizedText]:
        """Decide for every text how it goes through the model.

        Args:
            texts: Non-empty texts.
            role: Picks the prompt, which counts towards the limit.
            long_text: What becomes of a text over the limit.
            call: May be cancelled meanwhile.

        Raises:
            TextTooLongError: A text is over the limit and ``long_text`` is ``error``.
            CallCancelledError: The call was cancelled.
        """
        call = call or Call()
        plans: list[TokenizedText] = []
        for group in _groups(texts):
            call.raise_if_cancelled()
            plans += self._plans(group, role, long_text, call)
        if long_text == "error":
            self._refuse_long([plan.tokens for plan in plans])
        return plans

    def count(self, texts: Sequence[str], call: Call | None = None) -> list[int]:
        """Tokens of each text, without prompt and special tokens.

        Raises:
            CallCancelledError: The call was cancelled.
        """
        call = call or Call()
        counts: list[int] = []
        for group in _groups(texts):
            call.raise_if_cancelled()
            if _is_long(group[0]):
                counts.append(len(token_offsets(self._tokenizer, group[0], call)))
            else:
                counts += [len(e) for e in self._tokenizer.encode_batch_fast(group, add_special_tokens=False)]
        return counts

    def _refuse_long(self, lengths: list[int]) -> None:
        limit = self._max_tokens
        over = [i for i, n in enumerate(lengths) if limit is not None and n > limit]
        if over:
            raise TextTooLongError(
                f"text {over[0]} has {lengths[over[0]]} tokens, the model reads {limit}"
                f"{f' ({len(over)} texts are over the limit)' if len(over) > 1 else ''}; "
                "shorten it, or pass long_text='window' (averages overlapping windows) or 'truncate'"
            )

    def _plans(self, group: list[str], role: Role, long_text: LongText, call: Call) -> list[TokenizedText]:
        """The plans of texts tokenized together: one long text, or short ones."""
        limit, prompt = self._max_tokens, self._prompts.of(role)
        if limit is not None and _is_long(group[0]):
            (text,) = group
            places = token_offsets(self._tokenizer, text, call)
            if len(places) > 2 * limit:  # over the limit with any prompt, so it need not be tokenized with this one
                return [self._over_limit(text, places, role, long_text, call, limit)]
        plans: list[TokenizedText] = []
        encodings = self._tokenizer.encode_batch_fast([prompt + text for text in group])
        for text, encoding in zip(group, encodings, strict=True):
            length = len(encoding)
            if limit is None or length <= limit or long_text == "error":
                plans.append(TokenizedText((_piece(text, role, encoding),), (length,), length))
            else:
                places = token_offsets(self._tokenizer, text, call)
                plans.append(self._over_limit(text, places, role, long_text, call, limit))
        return plans

    def _over_limit(
        self, text: str, places: TokenOffsets, role: Role, long_text: LongText, call: Call, limit: int
    ) -> TokenizedText:
        prompt = self._prompts.of(role)
        if long_text == "error":  # refused by its length, so without pieces
            return TokenizedText((), (), len(self._tokenizer.encode(prompt)) + len(places))
        if long_text == "truncate":
            beginning = text[: places.characters(0, min(2 * limit, len(places))).stop]
            piece = _piece(beginning, role, self._truncated(prompt + beginning, limit))
            return TokenizedText((piece,), (limit,), limit, truncated=True)
        pieces: list[Piece] = []
        weights: list[int] = []
        for window in fitting_windows(self._tokenizer, text, places, prompt, limit):
            call.raise_if_cancelled()
            pieces.append(_piece(window.text, role, window.encoding))
            weights.append(window.tokens)
        return TokenizedText(tuple(pieces), tuple(weights), sum(piece.tokens for piece in pieces))

    def _truncated(self, text: str, limit: int) -> Encoding:
        """With truncation, special tokens kept; by a copy, because a tokenizer in use is never changed."""
        with self._lock:
            if self._truncating is None:
                self._truncating = Tokenizer.from_str(self._tokenizer.to_str())
                self._truncating.enable_truncation(limit)
        return self._truncating.encode(text)


def _piece(text: str, role: Role, encoding: Encoding) -> Piece:
    """With its ids as 4 bytes each; a list of Python's integers takes 36."""
    return Piece(text, role, array("i", encoding.ids))


def _is_long(text: str) -> bool:
    return len(text) >= 2 * BLOCK


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Neighbours to be tokenized together; a long text is alone."""
    group: list[str] = []
    characters = 0
    for text in texts:
        if group and (_is_long(text) or _is_long(group[0]) or characters + len(text) > _AT_ONCE):
            yield group
            group, characters = [], 0
        group.append(text)
        characters += len(text)
    if group:
        yield group
