"""The results of a walk: files to read, and skipped files with reasons."""

from dataclasses import dataclass

from mcp_server_embeddings.reading.allowed import AllowedFolder, Parts
from mcp_server_embeddings.reading.document import Document, Parsing
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.tables import Table, read_table

_PACKED_SUFFIXES = (".pdf", ".docx", ".xlsx", ".parquet")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A requested file or folder that is not read.

    Attributes:
        path: Absolute path, with bytes that are not UTF-8 as U+FFFD.
        reason: The cause and the remedy.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read.

    Attributes:
        path: Absolute path without links; also the id of its document.
        size: Size in bytes when it was listed.
        changed_ns: Time of the last change; see ``Entry``.
        folder: The allowed folder that contains it.
        parts: Path components below that folder.
        parsing: Limits and cancellation.
    """

    path: str
    size: int
    changed_ns: int
    folder: AllowedFolder
    parts: Parts
    parsing: Parsing

    def read(self) -> bytes:
        """Read the file without following links.

        Raises:
            UnreadableError: It was replaced, is too large, or cannot be read.
        """
        return self.folder.read(self.parts, size_limit(self.path, self.parsing.limits), self.parsing.cancelled)

    def documents(self, content: bytes) -> list[Document]:
        """Parse the content returned by ``read``; see ``read_documents``.

        Raises:
            UnreadableError: It yields no text.
        """
        return read_documents(self.path, content, self.parsing)

    def table(self, content: bytes) -> Table:
        """Parse the content returned by ``read`` as a table; see ``read_table``.

        Raises:
            UnreadableError: It is not a table, or is malformed or too large.
        """
        return read_table(self.path, content, self.parsing)


def size_limit(path: str, limits: ReadingLimits) -> int:
    """Return the maximum size in bytes of a file with this name."""
    return limits.packed_bytes if path.lower().endswith(_PACKED_SUFFIXES) else limits.file_bytes


def displayable(path: str) -> str:
    """Make a path valid UTF-8 for display."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
