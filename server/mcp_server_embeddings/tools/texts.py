"""Check the texts of a call before anything is encoded."""

import re
from collections.abc import Sequence

from mcp_server_embeddings.errors import InputError

MAX_TEXTS = 2_000
"""Maximum number of texts in one call, over all its lists."""

MAX_CHARACTERS = 2_000_000
"""Maximum number of characters in one call, over all its texts."""

_SNIPPET_CHARACTERS = 48
"""Number of characters by which an answer recalls a text."""

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters except tab and line ends: invisible, six characters each in JSON, and commands to a terminal."""


def snippet(text: str, length: int = _SNIPPET_CHARACTERS) -> str:
    """Return the beginning of a text on one line, at most ``length`` characters, without control characters."""
    visible = text.strip()
    line = " ".join(CONTROL.sub(" ", visible[: 4 * length]).split())
    whole = len(visible) <= 4 * length and len(line) <= length
    return line if whole else line[: length - 1].rstrip() + "…"


def checked_query(name: str, query: str) -> str:
    """Return a query that is usable by a tokenizer, or reject a blank one; see ``checked_texts``."""
    if not query.strip():
        raise InputError(f"{name} is empty or only white space; say in a phrase or sentence what is looked for")
    return well_formed(query)


def checked_texts(name: str, texts: Sequence[str]) -> list[str]:
    """Return the texts as a list, each usable by a tokenizer.

    A lone surrogate (half of a character, from a string cut inside an emoji) becomes U+FFFD, because no
    tokenizer accepts it.

    Args:
        name: The parameter, for the error.
        texts: The caller's texts; a bare string counts as a list of one.

    Raises:
        InputError: The list is empty or too long, or a text is blank.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise InputError(f"{name} is an empty list; give 1 to {MAX_TEXTS:,} texts")
    blank = [i for i, text in enumerate(texts) if not text.strip()]
    if blank:
        raise InputError(
            f"{name}[{blank[0]}] is empty or only white space"
            f"{f', and {len(blank) - 1} more are' if len(blank) > 1 else ''}; every text needs at least one "
            "visible character: leave blank ones out"
        )
    return [well_formed(text) for text in texts]


def well_formed(text: str) -> str:
    """Return the text with lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_size(texts: Sequence[str], query: str = "") -> None:
    """Reject a call that is too large as a whole.

    Args:
        texts: All texts of the call.
        query: The query they are compared with, which counts towards the characters but not the texts.

    Raises:
        InputError: There are too many texts or characters.
    """
    if len(texts) > MAX_TEXTS:
        raise InputError(f"{len(texts):,} texts in one call; at most {MAX_TEXTS:,}: split them over several calls")
    characters = sum(len(text) for text in texts) + len(query)
    if characters > MAX_CHARACTERS:
        longest = max(range(len(texts)), key=lambda i: len(texts[i]))
        raise InputError(
            f"{characters:,} characters in one call (the longest text, at position {longest}, has "
            f"{len(texts[longest]):,}); at most {MAX_CHARACTERS:,}: split the text or spread it over calls"
        )
