"""From a path that a caller gave to a place in an allowed folder, or an error that reveals nothing outside."""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.allowed import GONE, AllowedFolder, Parts, is_utf8, reason
from mcp_server_embeddings.reading.globs import Glob, is_pattern


@dataclass(frozen=True, slots=True)
class Root:
    """What one given path stands for.

    Attributes:
        given: The path as it came.
        folder: The allowed folder that it lies in.
        parts: The names that lead there; of a glob, to the folder before its first wildcard.
        is_folder: Whether it is a folder to walk.
        glob: What to take of that folder; None for all.
    """

    given: str
    folder: AllowedFolder
    parts: Parts
    is_folder: bool
    glob: Glob | None = None

    @property
    def path(self) -> str:
        """Absolute, without links."""
        return self.folder.full(self.parts)

    def below(self, path: str) -> Parts | None:
        """The names that lead from here to a resolved path that was asked for; None if it was not."""
        parts = self.folder.parts(path)
        if parts is None or parts[: len(self.parts)] != self.parts:
            return None
        below = parts[len(self.parts) :]
        if bool(below) != self.is_folder or (self.glob and not self.glob.matches(below)):
            return None
        return below


def resolved(given: str, folders: Sequence[AllowedFolder]) -> list[Root]:
    """Where a given path lies.

    Links in it are followed first, and what counts is where they lead. A relative path is tried in each allowed
    folder.

    Returns:
        One place; for a glob one for each allowed folder that has the folder before its first wildcard.

    Raises:
        InputError: It is malformed, outside the allowed folders, or does not exist.
    """
    if not given.strip() or "\0" in given or not is_utf8(given):
        raise InputError(f"{given!r} is no path; give a file, a folder or a pattern such as 'docs/**/*.md'")
    search = _Search(given, folders)
    root = search.literal()
    if root is not None:
        return [root]
    roots = search.globs() if is_pattern(given) else []
    if not roots:
        raise search.error()
    return roots


class _Search:
    """One given path in the allowed folders."""

    def __init__(self, given: str, folders: Sequence[AllowedFolder]) -> None:
        self._given = given
        self._folders = folders
        self._inside = False

    def literal(self) -> Root | None:
        """The file or folder of exactly this name."""
        return self._first(_expanded(self._given))

    def globs(self) -> list[Root]:
        """The folders before the first wildcard.

        Raises:
            InputError: The pattern goes up after it.
        """
        names = Path(_expanded(self._given)).parts
        first = next(place for place, name in enumerate(names) if is_pattern(name))
        segments = names[first:]
        if ".." in segments:
            raise InputError(f"{self._given!r} has '..' after a wildcard; write the folder without it")
        # An absolute path begins with "/" or a drive, which is the first name here.
        base = str(Path(*names[:first])) if first else ""
        found = [self._at(candidate) for candidate in self._candidates(base)]
        return [
            Root(self._given, root.folder, root.parts, is_folder=True, glob=Glob(segments))
            for root in found
            if root is not None and root.is_folder
        ]

    def error(self) -> InputError:
        """Why nothing was found; says of paths outside only that they are outside."""
        allowed = ", ".join(repr(folder.path) for folder in self._folders)
        if not self._inside:
            return InputError(
                f"{self._given!r} is outside the folders that may be read ({allowed}); give a path in one of them, or "
                "ask the user to start the server with --allow-dir for its folder"
            )
        return InputError(f"{self._given!r} does not exist in the folders that may be read ({allowed}); check its name")

    def _candidates(self, path: str) -> list[str]:
        if Path(path).is_absolute():
            return [path]
        return [str(Path(folder.path, path)) for folder in self._folders]

    def _first(self, path: str) -> Root | None:
        return next((root for candidate in self._candidates(path) if (root := self._at(candidate))), None)

    def _at(self, path: str) -> Root | None:
        """What is at an absolute path.

        Raises:
            InputError: It is in an allowed folder and may not be seen.
        """
        real = os.path.realpath(path)
        for folder in self._folders:
            parts = folder.parts(real)
            if parts is None:
                continue
            self._inside = True
            try:
                mode = folder.entry(parts).mode
                parts = folder.as_listed(parts)
            except OSError as error:
                if error.errno in GONE or error.errno == errno.EINVAL:
                    continue
                raise InputError(f"{self._given!r} cannot be read: {reason(error)}") from None
            if not stat.S_ISLNK(mode):  # one that is left leads in a circle, or was put there just now
                return Root(self._given, folder, parts, is_folder=stat.S_ISDIR(mode))
        return None


def _expanded(given: str) -> str:
    """With the user's home for ``~``; another's (``~name``) would tell whether that user exists."""
    if given == "~" or given.startswith(("~/", f"~{os.sep}")):
        return str(Path.home()) + given[1:]
    return given
