"""Refuse zip bombs in formats that are zip archives."""

import io
import zipfile

from mcp_server_embeddings.reading.document import Parsing


def check_packed(content: bytes, parsing: Parsing) -> None:
    """Refuse a zip bomb by the declared sizes of its parts, before unpacking; ``zipfile`` never returns more than that.

    Raises:
        UnreadableError: It unpacks to too many bytes.
        zipfile.BadZipFile: It is not an archive.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parsing.check_unpacked(sum(part.file_size for part in archive.infolist()))
