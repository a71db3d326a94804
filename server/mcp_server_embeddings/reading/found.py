"""The results of a walk: files to read, and skipped files with the reason."""

from dataclasses import dataclass

from mcp_server_embeddings.reading.allowed import AllowedFolder, Parts
from mcp_server_embeddings.reading.document import Document, Parsing
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.tables import Table, read_table

_PACKED = (".pdf", ".docx", ".xlsx", ".parquet")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A requested file or folder that is not read.

    Attributes:
        path: Absolute; bytes that are not UTF-8 are shown as U+FFFD.
        reason: Why, and what to do.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read.

    Attributes:
        path: Absolute, without links; the id of its document.
        size: Bytes when it was listed.
        changed_ns: When it was changed last; see ``Entry``.
        folder: The allowed folder that contains it.
        parts: Its path components below that folder.
        parsing: How to parse it.
    """

    path: str
    size: int
    changed_ns: int
    folder: AllowedFolder
    parts: Parts
    parsing: Parsing

    def read(self) -> bytes:
        """Open the file without following any link, and read it.

        Raises:
            UnreadableError: It was replaced, is too large, or may not be read.
        """
        return self.folder.read(self.parts, size_limit(self.path, self.parsing.limits), self.parsing.cancelled)

    def documents(self, content: bytes) -> list[Document]:
        """Parse what ``read`` returned; see ``read_documents``.

        Raises:
            UnreadableError: It yields no text.
        """
        return read_documents(self.path, content, self.parsing)

    def table(self, content: bytes) -> Table:
        """Read what ``read`` returned as a table; see ``read_table``.

        Raises:
            UnreadableError: It is not a table, or is malformed or too large.
        """
        return read_table(self.path, content, self.parsing)


def size_limit(path: str, limits: ReadingLimits) -> int:
    """Return the maximum size of a file of this name, in bytes."""
    return limits.packed_bytes if path.lower().endswith(_PACKED) else limits.file_bytes


def shown(path: str) -> str:
    """Make a path valid UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
