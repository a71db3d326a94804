"""Token offsets of long texts, and the windows they are cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from mcp_server_embeddings.engine.call import Call

BLOCK = 10_000
"""Characters of a long text that are tokenized together. ``tokenizers`` needs 600 bytes per token, and takes three
times as long for a million Chinese characters at once as for blocks of this size."""

_OVERLAP = 1_000
"""Characters that a block shares with the next one."""

_MARGIN = 250
"""Characters at either end of the overlap that are not compared, because a block may begin and end within a word."""

_BLOCKS_PER_GROUP = 8
"""Blocks tokenized in parallel, between two checks for cancellation."""

_OVERLAP_DIVISOR = 8
"""A window repeats one eighth of the previous one, so that no sentence is seen only in halves."""

_MAX_WINDOWS_PER_GROUP = 64
"""Windows tokenized in parallel, at most."""

_ID, _START, _END, _INSIDE_WORD = range(4)


@dataclass(frozen=True, slots=True)
class TokenOffsets:
    """The tokens of a text, without prompt and special tokens.

    Attributes:
        table: Shape ``(n, 4)``, one row per token: its id, the position of its first character, the position after its
            last character, and whether it belongs to the same word as the token before it.
    """

    table: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.table)

    def characters(self, start: int, end: int) -> slice:
        """Return the slice of the text that holds the tokens from ``start`` up to, not including, ``end``."""
        return slice(int(self.table[start, _START]), int(self.table[end - 1, _END]))

    def windows(self, start: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield windows of at most ``size`` tokens from token ``start`` on, as (first token, token after the last).

        Windows begin and end between words, except within a word longer than half a window. Each repeats an eighth of
        the previous one, or more in order to begin with a word.
        """
        while start < len(self):
            end = min(start + size, len(self))
            if end < len(self):
                end = self._word_start(start, end, end)
            yield start, end
            start = self.next_start(start, end)

    def next_start(self, start: int, end: int) -> int:
        """Return the first token of the window after ``start`` to ``end``; ``len(self)`` if that is the last window."""
        return end if end == len(self) else self._word_start(start, end, end - (end - start) // _OVERLAP_DIVISOR)

    def _word_start(self, start: int, end: int, token: int) -> int:
        """Return the first token of the word that holds ``token``; ``token`` if that is in the window's first half."""
        half = start + (end - start) // 2
        first = token
        while first > half and self.table[first, _INSIDE_WORD]:
            first -= 1
        return first if first > half else token


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that fits the model.

    Attributes:
        text: The part without the prompt.
        encoding: Its tokens, with prompt and special tokens.
        start: Its first token, counted in the whole text.
        end: The token after its last one.
    """

    text: str
    encoding: Encoding
    start: int
    end: int

    @property
    def tokens(self) -> int:
        """Number of tokens of the whole text that the window covers."""
        return self.end - self.start


def token_offsets(tokenizer: Tokenizer, text: str, call: Call) -> TokenOffsets:
    """Find the offsets of a text's tokens, in time and memory proportional to its length.

    A long text is tokenized in overlapping blocks, joined where both have the same tokens, so the result equals that of
    tokenizing the whole text. If two blocks differ, as within a word longer than the overlap, the whole text is
    tokenized at once.

    Args:
        tokenizer: A tokenizer that neither truncates nor pads.
        text: The text without the prompt.
        call: Checked for cancellation between blocks.

    Raises:
        CallCancelledError: The call was cancelled.
    """
    if len(text) > BLOCK + _OVERLAP:
        joined = _joined(_blocks(tokenizer, text, call))
        if joined is not None:
            return TokenOffsets(joined)
    return TokenOffsets(_table(tokenizer.encode(text, add_special_tokens=False), 0))


def fitting_windows(
    tokenizer: Tokenizer, text: str, offsets: TokenOffsets, prompt: str, limit: int
) -> Iterator[Window]:
    """Cut a text into overlapping windows of at most ``limit`` tokens, including prompt and special tokens.

    Each window is tokenized again, because a part of a text can have other tokens than the whole text has there. Many
    windows are tokenized together, assuming that they fit; one that does not is shortened, and the rest is cut again.
    """

    def cut(spans: list[tuple[int, int]]) -> list[Window]:
        parts = [text[offsets.characters(*span)] for span in spans]
        encodings = tokenizer.encode_batch_fast([prompt + part for part in parts])
        return [Window(part, encoding, *span) for part, encoding, span in zip(parts, encodings, spans, strict=True)]

    def excess(window: Window) -> int:
        """Count the tokens to remove; 0 for a window of one token, which cannot be shortened."""
        return min(len(window.encoding) - limit, window.tokens - 1)

    size = max(1, limit - len(tokenizer.encode(prompt)))
    start, group_size = 0, 1
    while start < len(offsets):
        windows = cut(list(islice(offsets.windows(start, size), group_size)))
        group_size = min(2 * group_size, _MAX_WINDOWS_PER_GROUP)
        for window in windows:
            fitting = window
            while excess(fitting) > 0:
                (fitting,) = cut([(fitting.start, fitting.end - excess(fitting))])
            yield fitting
            start = offsets.next_start(fitting.start, fitting.end)
            if fitting is not window:
                group_size = 1
                break


def _blocks(tokenizer: Tokenizer, text: str, call: Call) -> list[NDArray[np.int32]]:
    starts = range(0, len(text) - _OVERLAP, BLOCK)
    blocks: list[NDArray[np.int32]] = []
    for first in range(0, len(starts), _BLOCKS_PER_GROUP):
        call.raise_if_cancelled()
        group = starts[first : first + _BLOCKS_PER_GROUP]
        parts = [text[start : start + BLOCK + _OVERLAP] for start in group]
        encodings = tokenizer.encode_batch(parts, add_special_tokens=False)
        blocks += [_table(encoding, start) for encoding, start in zip(encodings, group, strict=True)]
    return blocks


def _table(encoding: Encoding, start: int) -> NDArray[np.int32]:
    """Build the rows of ``TokenOffsets.table`` for a block that starts at character ``start``."""
    table = np.zeros((len(encoding), 4), dtype=np.int32)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int32)
    table[:, _ID] = encoding.ids
    table[:, [_START, _END]] = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) + start
    table[1:, _INSIDE_WORD] = (words[1:] == words[:-1]) & (words[1:] >= 0)
    return table


def _joined(blocks: list[NDArray[np.int32]]) -> NDArray[np.int32] | None:
    """Join the tables of the blocks; None if two neighbours differ between the margins of their overlap."""
    parts: list[NDArray[np.int32]] = []
    kept = 0
    for number, (left, right) in enumerate(pairwise(blocks), 1):
        compared = number * BLOCK + _MARGIN, number * BLOCK + _OVERLAP - _MARGIN
        in_left, in_right = (slice(*np.searchsorted(block[:, _START], compared)) for block in (left, right))
        if in_left.start == in_left.stop or not np.array_equal(left[in_left], right[in_right]):
            return None
        parts.append(left[kept : in_left.start])
        kept = in_right.start
    return np.concatenate([*parts, blocks[-1][kept:]])
