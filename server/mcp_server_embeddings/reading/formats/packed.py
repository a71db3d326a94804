"""Refuse zip bombs among the formats that are zip archives."""

import io
import zipfile

from mcp_server_embeddings.reading.document import Parsing


def check_packed(content: bytes, parsing: Parsing) -> None:
    """Refuse a zip bomb by what its parts declare, before it is unpacked; ``zipfile`` never gives more than that.

    Raises:
        UnreadableError: It is one.
        zipfile.BadZipFile: It is not an archive.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parsing.check_unpacked(sum(part.file_size for part in archive.infolist()))
