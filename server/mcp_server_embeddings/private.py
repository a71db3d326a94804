"""The program's own files: for their owner only, and databases that nothing but SQLite may open.

POSIX drops all locks that a process has on a file as soon as it closes any descriptor of that file. If this process
opens and closes a database that SQLite has open, other processes believe that nobody uses it, remove its write-ahead
log, and what is written afterwards is lost. So whatever opens files asks ``is_database`` first.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Of the files that make up a database."""

_databases: set[Path] = set()
"""Of the whole process, since locks are the process's."""

_creating = threading.Lock()


def make_folder(path: Path) -> None:
    """Make a folder and the missing ones above it, all for their owner only (0700), whatever the umask.

    A folder that exists keeps its mode: who made or widened it may want to share what is in it.

    Raises:
        OSError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        if path.parent == path:  # a drive that is not there
            raise
        make_folder(path.parent)
        make_folder(path)
    except OSError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)  # a umask can take rights from the owner


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A new private file (0600) that takes the place of ``path`` after the block, and is gone if the block fails.

    Raises:
        OSError: It cannot be written.
    """
    make_folder(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            yield file
            file.close()  # Windows replaces no open file
            Path(file.name).replace(path)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def reserve_database(path: Path) -> None:
    """Let only SQLite open the files of a database; before the first connection to it."""
    _databases.add(path.absolute())


def create_database(path: Path) -> None:
    """Make an empty private file (0600) for SQLite, which gives its log and index the same mode.

    An existing file is not opened (``O_EXCL``). A new one is closed before any thread can get past here to open it
    with SQLite, so that the close drops no locks.

    Raises:
        OSError: It cannot be made.
    """
    with _creating:
        if path.exists():
            return
        make_folder(path.parent)
        with suppress(FileExistsError):  # another process was first
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            path.chmod(0o600)


def is_database(status: os.stat_result) -> bool:
    """Whether a file belongs to a reserved database, under whatever name: hard links are the same file."""
    if not status.st_ino:  # some file systems on Windows number no files; there no close drops locks
        return False
    for path in tuple(_databases):
        real = os.path.realpath(path)  # SQLite puts the other files beside a link's target
        for suffix in _SUFFIXES:
            with suppress(OSError):
                if os.path.samestat(status, Path(real + suffix).stat()):
                    return True
    return False
