"""Open files inside one folder and nowhere else, even while other processes rename files and create links.

On POSIX each path component is opened relative to its parent's descriptor without following symbolic links (``openat``
with ``O_NOFOLLOW``). Windows has no such call: there a path is opened and then verified.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from mcp_server_embeddings.private import is_database
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.limits import Cancelled

Parts = tuple[str, ...]
"""Path components below the allowed folder; ``()`` is that folder."""

_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = _READ | getattr(os, "O_DIRECTORY", 0)
# O_NONBLOCK: opening a FIFO that replaced a file must not block the server.
_FILE = _READ | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1_048_576
_BY_NAME = itemgetter(0)

_CHANGED = "changed while it was read: a link replaced it or a folder above it"
_REASONS = {
    errno.ELOOP: _CHANGED,
    errno.EMLINK: _CHANGED,  # FreeBSD's ELOOP
    errno.ENOTDIR: _CHANGED,
    errno.ENOENT: "changed while it was read: it was removed",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENXIO: "not a regular file",
}
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG})
"""Error numbers which mean that nothing readable exists at a path."""

_KINDS = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


class Entry(NamedTuple):
    """A directory entry; symbolic links are not followed. A tuple, because a folder may have thousands.

    Attributes:
        name: File name, with bytes that are not UTF-8 as surrogates.
        mode: ``st_mode``.
        size: Size in bytes; 0 for a folder.
        changed_ns: The later of ``st_mtime_ns`` and ``st_ctime_ns``, nanoseconds since 1970; 0 for a folder. The second
            also changes when a file is moved here or its modification time is set back.
    """

    name: str
    mode: int
    size: int
    changed_ns: int


class AllowedFolder:
    """A folder that may be read, guarded by checks of the path, for systems without ``openat``.

    Args:
        path: Absolute path without links.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._prefix = path if path.endswith(os.sep) else path + os.sep

    def parts(self, path: str) -> Parts | None:
        """Split a resolved path into its components below this folder; None if it is outside."""
        names, own = Path(path).parts, Path(self.path).parts
        ancestor = str(Path(*names[: len(own)]))
        return names[len(own) :] if ancestor == self.path or self._is_same_folder(ancestor) else None

    def _is_same_folder(self, path: str) -> bool:
        """Tell whether a path is this folder in different letter case, on a file system that ignores case."""
        if path.casefold() != self.path.casefold():
            return False
        with suppress(OSError):
            return Path(path).samefile(self.path)
        return False

    def as_listed(self, parts: Parts) -> Parts:
        """Spell components as their folders list them, so that a file has one path even where letter case is ignored.

        Windows resolves paths to that spelling, macOS does not. A name stays unchanged if its folder cannot be listed.
        """
        listed: Parts = ()
        for name in parts:
            listed = (*listed, self._listed_name(listed, name))
        return listed

    def _listed_name(self, parent: Parts, name: str) -> str:
        swapped = name.swapcase()
        if swapped != name:
            with suppress(OSError):
                self.entry((*parent, swapped))  # fails on a case-sensitive file system unless both names exist
                return same_name(name, [entry.name for entry in self.listing(parent)])
        return name

    def full(self, parts: Parts) -> str:
        """Return the absolute path."""
        if not parts:
            return self.path
        return self._prefix + os.sep.join(parts)  # noqa: PTH118 - called for each file of a walk; Path is slower

    def entry(self, parts: Parts) -> Entry:
        """Return one entry.

        Raises:
            OSError: It does not exist or is not accessible.
        """
        return _entry(parts[-1] if parts else "", Path(self._verified_path(parts)).lstat())

    def listing(self, parts: Parts) -> list[Entry]:
        """List a folder, sorted by name.

        Raises:
            OSError: It is not a folder, does not exist or is not accessible.
        """
        with os.scandir(self._verified_path(parts)) as entries:
            listed = [_entry(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        self._verified_path(parts)
        return sorted(listed, key=_BY_NAME)

    def read(self, parts: Parts, limit: int, cancelled: Cancelled) -> bytes:
        """Read a file.

        Args:
            parts: Its path below this folder.
            limit: Maximum size in bytes, which also applies if the file grows while it is read.
            cancelled: Called between blocks.

        Raises:
            UnreadableError: It is too large, not a regular file, or cannot be read.
        """
        try:
            descriptor = self._open(parts)
            try:
                return _read_descriptor(descriptor, limit, cancelled)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnreadableError(reason(error)) from None  # its message repeats the path

    def _open(self, parts: Parts) -> int:
        path = self._verified_path(parts)
        _refuse_database(Path(path).lstat())
        descriptor = os.open(path, _FILE)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), Path(self._verified_path(parts)).lstat()):
                return descriptor
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _verified_path(self, parts: Parts) -> str:
        path = self.full(parts)
        if os.path.realpath(path) != path:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return path


class _DescriptorFolder(AllowedFolder):
    """A folder that may be read, guarded by opening each component relative to its parent's descriptor."""

    def entry(self, parts: Parts) -> Entry:
        with self._folder(parts[:-1]) as descriptor:
            if not parts:
                return _entry("", os.fstat(descriptor))
            return _entry(parts[-1], os.stat(parts[-1], dir_fd=descriptor, follow_symlinks=False))

    def listing(self, parts: Parts) -> list[Entry]:
        listed: list[Entry] = []
        with self._folder(parts) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                try:
                    listed.append(_entry(entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
        return sorted(listed, key=_BY_NAME)

    def _open(self, parts: Parts) -> int:
        with self._folder(parts[:-1]) as descriptor:
            _refuse_database(os.stat(parts[-1], dir_fd=descriptor, follow_symlinks=False))
            return os.open(parts[-1], _FILE, dir_fd=descriptor)

    @contextmanager
    def _folder(self, parts: Parts) -> Iterator[int]:
        descriptor = os.open(self.path, _FOLDER)
        try:
            for name in parts:
                child = os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)


def allowed_folder(path: str) -> AllowedFolder:
    """Open a folder with the safest method that the system supports.

    Args:
        path: Path of the folder; its links are resolved once, now.
    """
    by_descriptors = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and os.scandir in os.supports_fd
    folder_type = _DescriptorFolder if by_descriptors else AllowedFolder
    resolved = Path(os.path.realpath(Path(path).expanduser()))
    root = folder_type(resolved.anchor)
    return folder_type(root.full(root.as_listed(resolved.parts[1:])))


def same_name(name: str, names: Sequence[str]) -> str:
    """Find ``name`` in a listing, ignoring letter case and Unicode composition; ``name`` itself if it is not there."""
    if name in names:
        return name
    return next((other for other in names if _folded(other) == _folded(name)), name)


def reason(error: OSError) -> str:
    """Explain why something could not be opened."""
    number = error.errno or 0
    return _REASONS.get(number) or f"cannot be read: {os.strerror(number)}"


def kind(mode: int) -> str:
    """Name the type of an entry that is neither a file, a folder nor a link."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")


def too_large(size: int, limit: int) -> str:
    """Explain that a file is refused because of its size."""
    return f"{size:,} bytes; at most {limit:,}: split the file"


def is_utf8(name: str) -> bool:
    """Tell whether a file name is valid UTF-8."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _entry(name: str, status: os.stat_result) -> Entry:
    mode, modified, changed = status.st_mode, status.st_mtime_ns, status.st_ctime_ns
    if stat.S_ISDIR(mode):
        return Entry(name, mode, 0, 0)  # changes in it show when it is listed
    # Entry(...) is too slow for the thousands of entries that a walk creates in a few milliseconds.
    return tuple.__new__(Entry, (name, mode, status.st_size, max(changed, modified)))


def _refuse_database(status: os.stat_result) -> None:
    """Refuse a database of this program before it is opened: closing the file would drop SQLite's locks on it."""
    if is_database(status):
        raise UnreadableError("a database of this program, which is never read as text")


def _read_descriptor(descriptor: int, limit: int, cancelled: Cancelled) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError(f"not a regular file ({kind(status.st_mode)})")
    if status.st_size > limit:
        raise UnreadableError(too_large(status.st_size, limit))
    content = bytearray()
    # A file may grow, and files in /proc report no size: never read more than one byte over the limit.
    while part := os.read(descriptor, min(_CHUNK, limit + 1 - len(content))):
        cancelled()
        content += part
        if len(content) > limit:
            raise UnreadableError(f"grew to over {limit:,} bytes while it was read: split the file")
    return bytes(content)
