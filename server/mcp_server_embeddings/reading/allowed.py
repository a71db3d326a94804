"""Opening what lies in a folder, and nothing else, while others rename and link.

On POSIX every folder below the allowed one is opened by its name in the one before, refusing links, so that no name is
ever followed out of it: ``openat`` with ``O_NOFOLLOW``. Windows has no such call; there a path is opened and then
verified.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mcp_server_embeddings.private import is_database
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.limits import Cancelled

Parts = tuple[str, ...]
"""Names of folders and at last of a file, below the allowed folder; ``()`` is that folder."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# O_NONBLOCK: a FIFO put in a file's place must not hold the server.
_FILE = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CHUNK = 1_048_576

_CHANGED = "changed while it was read: a link stands in its place or above it"
_REASONS = {
    errno.ELOOP: _CHANGED,
    errno.EMLINK: _CHANGED,  # what FreeBSD says for ELOOP
    errno.ENOTDIR: _CHANGED,
    errno.ENOENT: "changed while it was read: it is no longer there",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENXIO: "not a regular file",
}
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG})
"""What is said of a path at which nothing is that could be read."""

_KINDS = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder says of something in it; links are not followed.

    Attributes:
        name: Its name; bytes that are no UTF-8 are surrogates.
        mode: As ``stat`` has it.
        size: Bytes.
        modified_ns: Nanoseconds since 1970.
    """

    name: str
    mode: int
    size: int
    modified_ns: int


class AllowedFolder:
    """A folder that may be read, by checking paths: for systems without ``openat``.

    Args:
        path: Absolute, without links.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def parts(self, path: str) -> Parts | None:
        """The names below this folder that lead to a resolved path; None if it lies outside."""
        names, own = Path(path).parts, Path(self.path).parts
        above = str(Path(*names[: len(own)]))
        return names[len(own) :] if above == self.path or self._is_spelled(above) else None

    def _is_spelled(self, path: str) -> bool:
        """Whether a path is this folder's in other letter case, on a file system to which that is the same."""
        if path.casefold() != self.path.casefold():
            return False
        with suppress(OSError):
            return Path(path).samefile(self.path)
        return False

    def as_listed(self, parts: Parts) -> Parts:
        """The names as their folders list them, so that one file has one path where letter case is ignored.

        Windows resolves paths to that spelling, macOS does not. A name whose folder may not be listed stays.
        """
        listed: Parts = ()
        for name in parts:
            listed = (*listed, self._listed(listed, name))
        return listed

    def _listed(self, above: Parts, name: str) -> str:
        other = name.swapcase()
        if other != name:
            with suppress(OSError):
                self.entry((*above, other))  # fails where letter case counts, unless both are there
                return same_name(name, [entry.name for entry in self.listing(above)])
        return name

    def full(self, parts: Parts) -> str:
        """The absolute path."""
        return str(Path(self.path, *parts))

    def entry(self, parts: Parts) -> Entry:
        """What there is.

        Raises:
            OSError: Nothing, or it may not be seen.
        """
        return _entry(parts[-1] if parts else "", Path(self._verified(parts)).lstat())

    def listing(self, parts: Parts) -> list[Entry]:
        """What a folder holds, by name.

        Raises:
            OSError: It is none, is gone, or may not be read.
        """
        with os.scandir(self._verified(parts)) as entries:
            found = [_entry(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        self._verified(parts)
        return sorted(found, key=lambda entry: entry.name)

    def read(self, parts: Parts, limit: int, cancelled: Cancelled) -> bytes:
        """A file's content.

        Args:
            parts: Where it is.
            limit: Its bytes at most, also if it grows meanwhile.
            cancelled: Called between parts of it.

        Raises:
            UnreadableError: It is too large, no regular file, or cannot be read.
        """
        try:
            descriptor = self._opened(parts)
            try:
                return _content(descriptor, limit, cancelled)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnreadableError(reason(error)) from None  # its message repeats the path

    def _opened(self, parts: Parts) -> int:
        path = self._verified(parts)
        _refuse_database(Path(path).lstat())
        descriptor = os.open(path, _FILE)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), Path(self._verified(parts)).lstat()):
                return descriptor
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _verified(self, parts: Parts) -> str:
        path = self.full(parts)
        if os.path.realpath(path) != path:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return path


class _DescriptorFolder(AllowedFolder):
    """A folder that may be read, by descriptors."""

    def entry(self, parts: Parts) -> Entry:
        with self._folder(parts[:-1]) as descriptor:
            if not parts:
                return _entry("", os.fstat(descriptor))
            return _entry(parts[-1], os.stat(parts[-1], dir_fd=descriptor, follow_symlinks=False))

    def listing(self, parts: Parts) -> list[Entry]:
        found: list[Entry] = []
        with self._folder(parts) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                try:
                    found.append(_entry(entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
        return sorted(found, key=lambda entry: entry.name)

    def _opened(self, parts: Parts) -> int:
        with self._folder(parts[:-1]) as descriptor:
            _refuse_database(os.stat(parts[-1], dir_fd=descriptor, follow_symlinks=False))
            return os.open(parts[-1], _FILE, dir_fd=descriptor)

    @contextmanager
    def _folder(self, parts: Parts) -> Iterator[int]:
        descriptor = os.open(self.path, _FOLDER)
        try:
            for name in parts:
                below = os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)


def allowed_folder(path: str) -> AllowedFolder:
    """A folder that may be read, in the safest way that the system has.

    Args:
        path: Its path; links in it are resolved, now and for good.
    """
    by_descriptors = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and os.scandir in os.supports_fd
    kind_of_folder = _DescriptorFolder if by_descriptors else AllowedFolder
    resolved = os.path.realpath(Path(path).expanduser())
    top = kind_of_folder(Path(resolved).anchor)
    return kind_of_folder(top.full(top.as_listed(Path(resolved).parts[1:])))


def same_name(name: str, names: Sequence[str]) -> str:
    """Of some names the one that is ``name`` but for letter case and composed accents; ``name`` if none is."""
    if name in names:
        return name
    return next((other for other in names if _folded(other) == _folded(name)), name)


def reason(error: OSError) -> str:
    """Why something could not be opened, for a person."""
    number = error.errno or 0
    return _REASONS.get(number) or f"cannot be read: {os.strerror(number)}"


def kind(mode: int) -> str:
    """What something that is neither file, folder nor link is."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")


def too_large(size: int, limit: int) -> str:
    """The reason for a file over its limit."""
    return f"{size:,} bytes; at most {limit:,}: split the file"


def is_utf8(name: str) -> bool:
    """Whether a name has no bytes that are no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, status.st_mode, status.st_size, status.st_mtime_ns)


def _refuse_database(status: os.stat_result) -> None:
    """Before a file is opened: closing a database of this program would drop SQLite's locks on it."""
    if is_database(status):
        raise UnreadableError("a database of this program, which is never read as text")


def _content(descriptor: int, limit: int, cancelled: Cancelled) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError(f"not a regular file ({kind(status.st_mode)})")
    if status.st_size > limit:
        raise UnreadableError(too_large(status.st_size, limit))
    content = bytearray()
    # A file may grow, and those of /proc have no size: never more than one byte over the limit.
    while part := os.read(descriptor, min(_CHUNK, limit + 1 - len(content))):
        cancelled()
        content += part
        if len(content) > limit:
            raise UnreadableError(f"over {limit:,} bytes, it grew while it was read: split the file")
    return bytes(content)
