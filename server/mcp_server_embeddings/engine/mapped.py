"""Detect changes of files that stay mapped while a model serves."""

import os
from collections.abc import Sequence
from pathlib import Path

from mcp_server_embeddings.errors import ModelChangedError

_Stamp = tuple[int, int, int, int]


class MappedFiles:
    """Files whose content must not change, because the pages of a mapped file follow every change on disk.

    Check before the pages are read, because reading beyond the end of a shortened file kills the process (SIGBUS), and
    afterwards, because a vector may have been computed from old and new pages.

    Args:
        paths: The files; later checks compare with their state now.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def raise_if_changed(self) -> None:
        """Compare device, inode, size and modification time; takes a few microseconds per file.

        Raises:
            ModelChangedError: A file was written to, replaced or removed.
        """
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise ModelChangedError(
                    f"{path.name!r} was changed on disk while the model was in use, so its vectors cannot be trusted; "
                    "the model is loaded again by the next call: send this call again"
                )


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a hot path
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
