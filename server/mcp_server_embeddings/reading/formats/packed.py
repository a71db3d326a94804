"""Refuse zip bombs among the formats that are zip archives."""

import io
import zipfile

from mcp_server_embeddings.reading.document import Parsing, UnreadableError

_MAX_RATIO = 100
_RATIO_FROM = 10_000_000
_MAX_PARTS = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What the formats allow; others may need gigabytes to unpack."""


def check_packed(content: bytes, parsing: Parsing) -> None:
    """Refuse a zip bomb by what its parts declare; ``zipfile`` never gives more than that.

    Raises:
        UnreadableError: It is one.
        zipfile.BadZipFile: It is not an archive.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    parsing.check_unpacked(unpacked)
    if unpacked > _RATIO_FROM and unpacked > _MAX_RATIO * len(content):
        raise UnreadableError(f"unpacks to {unpacked:,} bytes, over {_MAX_RATIO} times its size, as a zip bomb does")
    if len(parts) > _MAX_PARTS or any(part.compress_type not in _METHODS for part in parts):
        raise UnreadableError("packed unlike any office program does; save it again")
