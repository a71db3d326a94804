"""The documents of a file, the settings for parsing it, and the error for an unreadable one."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.reading.limits import DEFAULT_LIMITS, Cancelled, ReadingLimits, never_cancelled

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar]

MAX_FIELDS = 20
"""Maximum number of metadata values of one document."""

MAX_VALUE = 200
"""Maximum characters of a value; longer values are omitted, since a truncated one would never match a filter."""


class UnreadableError(EmbeddingsError):
    """A file yields no text. The other files are still read.

    Attributes:
        reason: The cause and the remedy, without any of the file's text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a text.

    Attributes:
        start: Offset of its first character in the text.
        end: Offset after its last character.
        heading: Such as ``"Install > Linux"``, ``"page 3"`` or ``""``.
    """

    start: int
    end: int
    heading: str


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, or of one row of a table file.

    Attributes:
        suffix: ``""`` for a whole file; ``":12"`` for data row 12 of a table or line 12 of a JSONL file.
        text: The text without NUL and unpaired surrogates; for plain text and Markdown exactly the decoded file.
        sections: Ascending and not overlapping; together they contain every visible character.
        metadata: At most ``MAX_FIELDS`` values of at most ``MAX_VALUE`` characters.
    """

    suffix: str
    text: str
    sections: tuple[Section, ...]
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parsing:
    """Settings for parsing a file. The checks raise ``UnreadableError``.

    Attributes:
        limits: Upper bounds.
        cancelled: Raises if the caller cancelled or the file takes too long.
    """

    limits: ReadingLimits = DEFAULT_LIMITS
    cancelled: Cancelled = never_cancelled

    def check_characters(self, count: int) -> None:
        """Refuse a text that is too long."""
        if count > self.limits.characters:
            raise UnreadableError(
                f"{count:,} characters or more of text; at most {self.limits.characters:,} a document: split the file"
            )

    def check_sections(self, count: int) -> None:
        """Refuse a text with too many headings: each heading is stored together with its parents."""
        self.cancelled()
        if count > self.limits.sections:
            raise UnreadableError(f"more than {self.limits.sections:,} headings; split the file")

    def check_rows(self, count: int) -> None:
        """Refuse a file with too many documents."""
        self.cancelled()
        if count > self.limits.rows:
            raise UnreadableError(f"more than {self.limits.rows:,} rows of text; split the file")

    def check_columns(self, count: int) -> None:
        """Refuse a row with too many values: each value is stored with its column name."""
        if count > self.limits.columns:
            raise UnreadableError(f"a row of {count:,} columns; at most {self.limits.columns:,}: is it a table?")

    def check_cells(self, count: int) -> None:
        """Refuse a table that would take too much memory."""
        if count > self.limits.cells:
            raise UnreadableError(f"more than {self.limits.cells:,} cells; keep the columns that are needed")

    def check_total(self, count: int) -> None:
        """Refuse texts that are too long in total, for example because many rows share a long one."""
        if count > self.limits.total_characters:
            raise UnreadableError(
                f"{count:,} characters of text; at most {self.limits.total_characters:,}: split the file"
            )

    def check_unpacked(self, size: int) -> None:
        """Refuse a file that unpacks to too many bytes."""
        if size > self.limits.unpacked_bytes:
            raise UnreadableError(f"unpacks to {size:,} bytes; at most {self.limits.unpacked_bytes:,}")


DEFAULT_PARSING = Parsing()


def until(seconds: float, cancelled: Cancelled) -> Cancelled:
    """Add a deadline to ``cancelled``: the result also raises ``UnreadableError`` once ``seconds`` have passed."""
    deadline = time.monotonic() + seconds

    def check() -> None:
        cancelled()
        if time.monotonic() > deadline:
            raise too_slow(seconds)

    return check


def too_slow(seconds: float) -> UnreadableError:
    """Return the error for a file that takes too long."""
    return UnreadableError(f"its text takes longer than {seconds:g} s; split the file or save it as text")


def whole_document(text: str, sections: tuple[Section, ...], title: str = "") -> list[Document]:
    """Make the single document of a file.

    Raises:
        UnreadableError: It has no visible text.
    """
    if not sections:
        raise UnreadableError("no text in it")
    title = " ".join(title.split())
    return [Document("", text, sections, {"title": title} if 0 < len(title) <= MAX_VALUE else {})]


def row_document(suffix: str, text: str, metadata: Mapping[str, Scalar]) -> Document:
    """Make the document of a row, keeping only metadata that a filter can use."""
    short = [(name, value) for name, value in metadata.items() if name and len(name) <= MAX_VALUE]
    kept = [(name, value) for name, value in short if not isinstance(value, str) or 0 < len(value) <= MAX_VALUE]
    return Document(suffix, text, (Section(0, len(text), ""),), dict(kept[:MAX_FIELDS]))


def formatted_names(names: list[str]) -> str:
    """Format column names for an error message: at most 20 names of at most 40 characters."""
    shown = ", ".join(repr(name if len(name) <= 40 else name[:39] + "…") for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
