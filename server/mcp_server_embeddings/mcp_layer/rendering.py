"""What the texts of all answers have in common. Text and structured content say the same, each complete."""

from collections.abc import Callable, Sequence

from mcp_server_embeddings.tools.results import Excerpt, ScoredResult, Usage
from mcp_server_embeddings.tools.texts import SNIPPET, snippet


def named(position: int, texts: Sequence[str], length: int = SNIPPET) -> str:
    """A text by its position and its beginning."""
    return f'[{position}] "{snippet(texts[position], length)}"'


def naming(recalled: Sequence[Excerpt], texts: Sequence[str] | None) -> Callable[[int], str]:
    """Names a text by its position and its beginning where it was sent, a stored one by its id."""
    if texts is not None:
        return lambda position: named(position, texts)
    stored = {found.index: f'[{found.id}] "{found.snippet}"' for found in recalled}
    return lambda position: stored[position]


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 text``, ``2,000 texts``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def judged(found: ScoredResult) -> str:
    """A score and what it means."""
    return f"{found.score:.4f}, percentile {found.percentile:g}, {found.band}"


def more(number: int, what: str = "") -> list[str]:
    """The line about what was left out; none where nothing was."""
    return [f"{number:,} more{what and ' ' + what}; ask with top=."] if number else []


def used(usage: Usage) -> str:
    """The last line: what was read, and what became of long texts."""
    line = f"{counted(usage.texts, 'text')}, {counted(usage.tokens, 'token')}."
    beyond = f" and {usage.unlisted:,} more" if usage.unlisted else ""
    if usage.windowed:
        line += f" Over the token limit, averaged over windows: positions {usage.windowed}{beyond}."
    if usage.truncated:
        line += f" Cut at the token limit: positions {usage.truncated}{beyond}."
    return line
