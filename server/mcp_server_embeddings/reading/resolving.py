"""Resolve a caller's path to a location in an allowed folder, or to an error that reveals nothing outside of them."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.allowed import GONE, AllowedFolder, Parts, is_utf8, reason
from mcp_server_embeddings.reading.globs import Glob, is_pattern

_FILE_URI = "file:///"
_DRIVE = re.compile(r"/[A-Za-z]:/")


@dataclass(frozen=True, slots=True)
class Root:
    """A file or folder to read, given by one path of the caller.

    Attributes:
        folder: The allowed folder that contains it.
        parts: Its path components; for a glob, those before its first wildcard.
        is_folder: Whether it is a folder to walk.
        glob: Pattern of the files to read in that folder; None for all.
    """

    folder: AllowedFolder
    parts: Parts
    is_folder: bool
    glob: Glob | None = None

    @property
    def path(self) -> str:
        """Return the absolute path, without links."""
        return self.folder.full(self.parts)

    @property
    def pattern_path(self) -> str:
        """Return the absolute path, including the pattern."""
        return self.folder.full((*self.parts, *(self.glob.segments if self.glob else ())))

    def below(self, path: str) -> Parts | None:
        """Split a resolved path into its components below this root; None if the root does not include it."""
        parts = self.folder.parts(path)
        if parts is None or parts[: len(self.parts)] != self.parts:
            return None
        below = parts[len(self.parts) :]
        if bool(below) != self.is_folder or (self.glob and not self.glob.matches(below)):
            return None
        return below


def resolved(path: str, folders: Sequence[AllowedFolder]) -> list[Root]:
    """Find a path in the allowed folders.

    Links are followed first; their targets must be in an allowed folder. A relative path is tried in each of these.

    Returns:
        One root; for a glob, one for each allowed folder that contains the folder before the first wildcard.

    Raises:
        InputError: It is malformed, outside the allowed folders, or does not exist.
    """
    path = _strip_scheme(path)
    if not path.strip() or "\0" in path or not is_utf8(path):
        raise InputError(f"invalid path {path!r}; give a file, a folder or a pattern such as 'docs/**/*.md'")
    root = next(_roots(path, _expand_home(path), folders), None)
    if root is not None:
        return [root]
    roots = _glob_roots(path, folders) if is_pattern(path) else []
    if not roots:
        raise _not_found(path, folders)
    return roots


def _glob_roots(path: str, folders: Sequence[AllowedFolder]) -> list[Root]:
    """Find the folders before the first wildcard.

    Raises:
        InputError: The pattern has ``..`` after it.
    """
    names = Path(_expand_home(path)).parts
    first = next(index for index, name in enumerate(names) if is_pattern(name))
    segments = names[first:]
    if ".." in segments:
        raise InputError(f"{path!r} has '..' after a wildcard; write the folder without it")
    # Without a name before it the pattern is relative: the first name of an absolute path is "/" or a drive.
    base = str(Path(*names[:first])) if first else ""
    return [replace(root, glob=Glob(segments)) for root in _roots(path, base, folders) if root.is_folder]


def _not_found(path: str, folders: Sequence[AllowedFolder]) -> InputError:
    """Explain why nothing was found; for a path outside of the folders, reveal only that it is outside."""
    allowed = ", ".join(repr(folder.path) for folder in folders)
    real_paths = [os.path.realpath(candidate) for candidate in _candidates(_expand_home(path), folders)]
    if all(folder.parts(real) is None for folder in folders for real in real_paths):
        return InputError(
            f"{path!r} is outside the folders that may be read ({allowed}); give a path in one of them, or "
            "ask the user to start the server with --allow-dir for its folder"
        )
    return InputError(f"{path!r} does not exist in the folders that may be read ({allowed}); check its name")


def _candidates(path: str, folders: Sequence[AllowedFolder]) -> list[str]:
    """List the absolute paths that ``path`` may mean."""
    return [path] if Path(path).is_absolute() else [str(Path(folder.path, path)) for folder in folders]


def _roots(path: str, base: str, folders: Sequence[AllowedFolder]) -> Iterator[Root]:
    """Find ``base``, the caller's ``path`` or the part of it before a wildcard, at each location that it may mean.

    Raises:
        InputError: It is in an allowed folder and not accessible.
    """
    for candidate in _candidates(base, folders):
        real = os.path.realpath(candidate)
        for folder in folders:
            parts = folder.parts(real)
            if parts is None:
                continue
            try:
                mode = folder.entry(parts).mode
                parts = folder.as_listed(parts)
            except OSError as error:
                if error.errno in GONE or error.errno == errno.EINVAL:
                    continue
                raise InputError(f"{path!r} cannot be read: {reason(error)}") from None
            if not stat.S_ISLNK(mode):  # a link that remains is a loop or was just created
                yield Root(folder, parts, is_folder=stat.S_ISDIR(mode))
                break


def _strip_scheme(path: str) -> str:
    """Return the path of a local ``file:///`` URI, the form in which MCP clients give roots and resources."""
    if not path.startswith(_FILE_URI):
        return path
    path = unquote(path[len(_FILE_URI) - 1 :])
    return path[1:] if _DRIVE.match(path) else path


def _expand_home(path: str) -> str:
    """Expand ``~`` to the user's home, but not ``~name``, which would reveal whether a user exists."""
    if path == "~" or path.startswith(("~/", f"~{os.sep}")):
        return str(Path.home()) + path[1:]
    return path
