"""The text of answers: one module for each tool, and what all have in common.

Text and structured content say the same, each complete.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp_server_embeddings.tools.results import Excerpt, Result, ScoredResult, Usage
from mcp_server_embeddings.tools.texts import SNIPPET, snippet

Sent = Mapping[str, Any]
"""The arguments of a call by name."""


def render(tool: str, result: Result, sent: Sent) -> str:
    """Return the text of an answer: of the tool's own module here, or the result as JSON where it has none.

    Args:
        tool: The name of the tool.
        result: What the tool returned.
        sent: Its arguments.
    """
    if importlib.util.find_spec(f"{__name__}.{tool}") is None:
        return result.model_dump_json()
    text: Callable[[Result, Sent], str] = importlib.import_module(f"{__name__}.{tool}").text
    return text(result, sent)


def excerpt(position: int, texts: Sequence[str], length: int = SNIPPET) -> str:
    """Return a text's position and beginning."""
    return f'[{position}] "{snippet(texts[position], length)}"'


def excerpts(recalled: Sequence[Excerpt], texts: Sequence[str] | None) -> Callable[[int], str]:
    """Return how to show a position: a text that was sent by position and beginning, a stored one by its id."""
    if texts is not None:
        return lambda position: excerpt(position, texts)
    stored = {found.index: f'[{found.id}] "{found.snippet}"' for found in recalled}
    return lambda position: stored[position]


def count(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 text``, ``2,000 texts``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def score(found: ScoredResult) -> str:
    """Return a score, its percentile and its band."""
    return f"{found.score:.4f}, percentile {found.percentile:g}, {found.band}"


def left_out(number: int, what: str = "") -> list[str]:
    """Return the line about what was left out; none where nothing was."""
    return [f"{number:,} more{what and ' ' + what}; ask with top=."] if number else []


def usage_line(usage: Usage) -> str:
    """Return the last line: what was read, and what was done to long texts."""
    line = f"{count(usage.texts, 'text')}, {count(usage.tokens, 'token')}."
    beyond = f" and {usage.unlisted:,} more" if usage.unlisted else ""
    if usage.windowed:
        line += f" Over the token limit, averaged over windows: positions {usage.windowed}{beyond}."
    if usage.truncated:
        line += f" Cut at the token limit: positions {usage.truncated}{beyond}."
    return line
