"""Detect changes of files that stay mapped while a model serves."""

import os
from collections.abc import Sequence
from pathlib import Path

from mcp_server_embeddings.errors import ModelChangedError

_Stamp = tuple[int, int, int, int]


class MappedFiles:
    """Files whose content must not change: pages of a mapped file follow every change on disk.

    Check before the pages are read, because those beyond the end of a shortened file end the process (SIGBUS), and
    after, because a vector may have been computed from a mixture.

    Args:
        paths: The files, as they are now.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def raise_if_changed(self) -> None:
        """Compare device, inode, size and time of last change; takes some microseconds per file.

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
