"""The program's own files: private to their owner, with databases that only SQLite may open.

POSIX releases all locks of a process on a file as soon as it closes any descriptor of that file. If this process
opened and closed a database that SQLite has open, other processes would conclude that it is unused and remove its
write-ahead log, and later writes would be lost. So code that opens the user's files calls ``is_database`` first.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Suffixes of a database's files."""

_databases: set[Path] = set()
"""Registered databases. Global, since locks belong to the process."""

_creating = threading.Lock()


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, private to their owner (0700) for any umask.

    An existing folder keeps its mode: its owner may want to share it.

    Raises:
        OSError: The folder cannot be created.
    """
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        if path.parent == path:  # a missing drive
            raise
        make_folder(path.parent)
        make_folder(path)
    except OSError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)  # a umask can remove the owner's permissions


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Write a private file (0600) that atomically appears at ``path`` after the block, or is removed if that fails.

    Args:
        path: The final path; missing folders are created.
        overwrite: Replace an existing file. If false, nothing is replaced, even if it appears while the block runs.

    Raises:
        FileExistsError: The path exists and may not be overwritten.
        OSError: The file cannot be written.
    """
    make_folder(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            yield file
            file.close()  # Windows cannot replace an open file
            if overwrite:
                Path(file.name).replace(path)
            else:
                _move_new(Path(file.name), path)
        except BaseException:
            with suppress(OSError):  # on a full disk, flushing the buffer fails again
                file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _move_new(file: Path, path: Path) -> None:
    """Move a file to a path that must not exist, which ``rename`` cannot ensure.

    Raises:
        FileExistsError: The path exists.
        OSError: The file cannot be moved.
    """
    try:
        path.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name, then replace our own empty file
        path.touch(0o600, exist_ok=False)
        try:
            file.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    else:
        file.unlink()


def reserve_database(path: Path) -> None:
    """Register a database whose files only SQLite may open; call it before the first connection."""
    _databases.add(path.absolute())


def create_database(path: Path) -> None:
    """Create an empty private file (0600) for SQLite, which gives its log and index the same mode.

    An existing file is not opened (``O_EXCL``). A new one is closed before any thread can open it with SQLite, so that
    closing it releases no locks.

    Raises:
        OSError: The file cannot be created.
    """
    with _creating:
        if path.exists():
            return
        make_folder(path.parent)
        with suppress(FileExistsError):  # another process has created it
            path.touch(0o600, exist_ok=False)
            path.chmod(0o600)


def is_database(status: os.stat_result) -> bool:
    """Return whether a file belongs to a registered database, under any name: hard links are the same file."""
    if not status.st_ino:  # some file systems on Windows have no inode numbers; closing releases no locks there
        return False
    for path in tuple(_databases):
        real = os.path.realpath(path)  # SQLite creates the other files next to the target of a link
        for suffix in _SUFFIXES:
            with suppress(OSError):
                if os.path.samestat(status, Path(real + suffix).stat()):
                    return True
    return False
