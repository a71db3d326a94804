"""Headings of a text as sections."""

from mcp_server_embeddings.reading.document import Parsing, Section

_MAX_HEADING = 200
"""Characters of one heading; a paragraph that was styled as a heading is cut here, it stays whole in the text."""


class Outline:
    """Headings in the order of the text."""

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing
        self._open: list[tuple[int, str]] = []
        self._marks: list[tuple[int, str]] = [(0, "")]

    def heading(self, offset: int, level: int, text: str) -> None:
        """Begin a section.

        Args:
            offset: Where the heading begins; not before the last.
            level: 1 for the highest; a section lies in the last one of a higher level.
            text: What it says.

        Raises:
            UnreadableError: There are too many, or the time is over.
        """
        self._parsing.check_sections(len(self._marks))
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(text.split())[:_MAX_HEADING]))
        self._marks.append((offset, " > ".join(name for _, name in self._open if name)))

    def sections(self, text: str) -> tuple[Section, ...]:
        """The sections of ``text`` that hold a visible character."""
        ends = [offset for offset, _ in self._marks[1:]] + [len(text)]
        return tuple(
            Section(start, end, heading)
            for (start, heading), end in zip(self._marks, ends, strict=True)
            if text[start:end].strip()
        )


class OutlinedText:
    """A text that is put together line by line, with its outline."""

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing
        self._lines: list[str] = []
        self._length = 0
        self._outline = Outline(parsing)

    @property
    def length(self) -> int:
        """Characters so far: the offset of the next line."""
        return self._length

    def add(self, line: str) -> None:
        """Append a line.

        Raises:
            UnreadableError: The text became too long.
        """
        self._lines.append(line)
        self._length += len(line) + 1
        self._parsing.check_characters(self._length)

    def heading(self, offset: int, level: int) -> None:
        """Make what was added since ``offset`` the heading of what follows."""
        # From the back: a heading is the last line or two, and a text may have a heading a line.
        told: list[str] = []
        begin = self._length
        for line in reversed(self._lines):
            begin -= len(line) + 1
            if begin < offset:
                break
            told.append(line)
        self._outline.heading(offset, level, " ".join(reversed(told)))

    def finished(self) -> tuple[str, tuple[Section, ...]]:
        """The text and its sections."""
        text = "\n".join(self._lines)
        return text, self._outline.sections(text)
