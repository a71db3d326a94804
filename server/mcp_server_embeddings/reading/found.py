"""What a walk finds: files to read, and what was passed over with its reason."""

from dataclasses import dataclass
from pathlib import PurePath

from mcp_server_embeddings.reading.allowed import AllowedFolder, Parts
from mcp_server_embeddings.reading.document import Document, Parsing
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.parsing import read_documents

_PACKED = (".pdf", ".docx")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was asked for and is not read.

    Attributes:
        path: Where it is; bytes that are no UTF-8 are shown as U+FFFD.
        reason: Why, and what to do.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read.

    Attributes:
        path: Absolute, without links: the id of its document.
        size: Bytes when it was listed.
        modified_ns: When it was changed, nanoseconds since 1970.
        folder: The allowed folder that it lies in.
        parts: The names that lead there.
        parsing: How to parse it.
    """

    path: str
    size: int
    modified_ns: int
    folder: AllowedFolder
    parts: Parts
    parsing: Parsing

    def read(self) -> bytes:
        """Its content, opened anew without following any link.

        Raises:
            UnreadableError: It changed, is too large, or may not be read.
        """
        return self.folder.read(self.parts, size_limit(self.path, self.parsing.limits), self.parsing.cancelled)

    def documents(self, content: bytes) -> list[Document]:
        """Its texts; see ``read_documents``.

        Args:
            content: What ``read`` returned.

        Raises:
            UnreadableError: It holds no text.
        """
        parsing = self.parsing
        return read_documents(self.path, content, parsing.field, limits=parsing.limits, cancelled=parsing.cancelled)


def size_limit(path: str, limits: ReadingLimits) -> int:
    """Bytes that a file of this name may have."""
    return limits.packed_bytes if PurePath(path).suffix.lower() in _PACKED else limits.file_bytes


def shown(path: str) -> str:
    """A path that can be written anywhere."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
