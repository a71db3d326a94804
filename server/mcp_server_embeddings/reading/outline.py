"""Turn the headings of a text into sections."""

from mcp_server_embeddings.reading.document import Parsing, Section

_MAX_HEADING = 200
"""Characters of one heading; a longer paragraph styled as a heading is truncated in the outline, not in the text."""


class Outline:
    """Collects headings in text order."""

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing
        self._open: list[tuple[int, str]] = []
        self._starts: list[tuple[int, str]] = [(0, "")]

    def heading(self, offset: int, level: int, text: str) -> None:
        """Start a section.

        Args:
            offset: Where the heading starts; not before the previous one.
            level: 1 is the highest; a section belongs to the latest section of a higher level.
            text: Text of the heading.

        Raises:
            UnreadableError: There are too many headings, or the file takes too long.
        """
        self._parsing.check_sections(len(self._starts))
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(text.split())[:_MAX_HEADING]))
        self._starts.append((offset, " > ".join(name for _, name in self._open if name)))

    def sections(self, text: str) -> tuple[Section, ...]:
        """Return the sections of ``text`` that contain a visible character."""
        ends = [offset for offset, _ in self._starts[1:]] + [len(text)]
        return tuple(
            Section(start, end, heading)
            for (start, heading), end in zip(self._starts, ends, strict=True)
            if text[start:end].strip()
        )


class OutlinedText:
    """A text that is built line by line, with its outline.

    Attributes:
        lines: The lines so far; read-only.
    """

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing
        self.lines: list[str] = []
        self._length = 0
        self._outline = Outline(parsing)

    def add(self, line: str) -> None:
        """Append a line.

        Raises:
            UnreadableError: The text is too long.
        """
        self.lines.append(line)
        self._length += len(line) + 1
        self._parsing.check_characters(self._length)

    def heading(self, first: int, level: int) -> None:
        """Make the lines from index ``first`` on the heading of the lines that follow."""
        heading = self.lines[first:]
        offset = self._length - sum(len(line) + 1 for line in heading)
        self._outline.heading(offset, level, " ".join(heading))

    def finished(self) -> tuple[str, tuple[Section, ...]]:
        """Return the text and its sections."""
        text = "\n".join(self.lines)
        return text, self._outline.sections(text)
