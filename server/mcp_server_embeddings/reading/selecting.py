"""Select the files that a caller requested."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.allowed import GONE, allowed_folder
from mcp_server_embeddings.reading.document import Parsing
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.limits import DEFAULT_LIMITS, Cancelled, ReadingLimits, never_cancelled
from mcp_server_embeddings.reading.resolving import Root, resolved
from mcp_server_embeddings.reading.snapshot import Snapshot
from mcp_server_embeddings.reading.walk import Tally, Walk


class Reader:
    """Reads files in the given folders and nowhere else. Thread-safe; a selection must be used by one thread.

    Args:
        allowed_dirs: The folders; links in their paths are resolved once, when the reader is created.
        limits: Upper bounds.
        cancelled: Called frequently; raises if the caller cancelled.

    Attributes:
        folders: Absolute paths of the folders.

    Example:
        >>> [Path(entry.path).name for entry in Reader([Path.cwd()]).select(["docs/*.md"]).entries]
        ['a.md', 'b.md']
    """

    def __init__(
        self,
        allowed_dirs: Sequence[Path],
        *,
        limits: ReadingLimits = DEFAULT_LIMITS,
        cancelled: Cancelled = never_cancelled,
    ) -> None:
        self._folders = [allowed_folder(str(path)) for path in allowed_dirs]
        self.folders = tuple(folder.path for folder in self._folders)
        self._limits = limits
        self._cancelled = cancelled

    def cancelled_by(self, cancelled: Cancelled) -> "Reader":
        """Return a copy of this reader with another ``cancelled``."""
        reader = copy.copy(self)
        reader._cancelled = cancelled  # noqa: SLF001 - its own class
        return reader

    def may_check(self, path: str) -> bool:
        """Tell whether an absolute path is in one of the folders and that folder exists."""
        for folder in self._folders:
            if folder.parts(path) is not None:
                with suppress(OSError):
                    folder.entry(())
                    return True
        return False

    def select(self, paths: Sequence[str], *, limits: ReadingLimits | None = None) -> "Selection":
        """Select the files at ``paths`` without reading them.

        Args:
            paths: Files, folders (with everything below them) and patterns (``*``, ``?``, ``[…]``, ``**``): absolute,
                starting with ``~``, or relative to an allowed folder. An explicitly named file or folder is read even
                if it is hidden or ignored.
            limits: Upper bounds for these files; by default those of the reader.

        Raises:
            InputError: No folder may be read, or a path is outside of the folders, malformed, or matches nothing.
        """
        if not self._folders:
            raise InputError("no folder may be read: ask the user to start the server with --allow-dir FOLDER")
        paths = [paths] if isinstance(paths, str) else list(paths)
        if not paths:
            raise InputError("paths is an empty list; give files, folders or patterns such as 'docs/**/*.md'")
        parsing = Parsing(limits or self._limits, self._cancelled)
        roots = {root.path + repr(root.glob): root for root in (self._root(path, parsing) for path in paths)}
        return Selection([roots[key] for key in sorted(roots)], parsing)

    def _root(self, path: str, parsing: Parsing) -> Root:
        """Resolve a path; a relative pattern resolves to the first allowed folder with a match."""
        tally = Tally()
        for root in resolved(path, self._folders):
            if root.glob is None or next(Walk(root, parsing, tally).entries(), None) is not None:
                return root
        ignored = f" ({tally.ignored} hidden or ignored were passed over)" if tally.ignored else ""
        raise InputError(f"{path!r} matches no file{ignored}; check the pattern: '**' stands for any number of folders")


class Selection:
    """Files to read, in the order of their paths.

    Attributes:
        roots: Absolute paths that were requested; for a pattern, the folder before its first wildcard.
        folders: As ``roots``, with the folder of a file instead of the file.
        paths: As ``roots``, with the whole pattern instead of a folder.
        entries: Files to read and skipped files with reasons, found lazily; can be iterated once.
        complete: Whether iteration did not stop at the limit of files; final after iteration.
    """

    def __init__(self, roots: Sequence[Root], parsing: Parsing) -> None:
        self.roots = tuple(root.path for root in roots)
        self.folders = tuple(root.path if root.is_folder else root.folder.full(root.parts[:-1]) for root in roots)
        self.paths = tuple(root.pattern_path for root in roots)
        self.complete = True
        self.entries = self._iterate()
        self._roots = roots
        self._parsing = parsing
        self._tally = Tally()

    @property
    def snapshot(self) -> Snapshot:
        """The listed folders and entries; final after iteration."""
        return self._tally.snapshot

    @property
    def ignored(self) -> int:
        """Number of files and folders that are hidden or ignored by ``.gitignore``; final after iteration."""
        return self._tally.ignored

    def covers(self, path: str) -> bool:
        """Tell whether a path was requested and visited, so that its absence from ``entries`` is meaningful.

        False below a folder that could not be listed, and always if the selection is not ``complete``. Call it after
        iteration.
        """
        return self._root_of(path) is not None

    def gone(self, path: str) -> bool:
        """Tell whether a path was requested and nothing readable exists there any more.

        False for a path that exists and was skipped, hidden or ignored. Call it after iteration.
        """
        root = self._root_of(path)
        parts = root.folder.parts(path) if root else None
        if root is None or parts is None:
            return False
        try:
            root.folder.entry(parts)
        except OSError as error:
            return error.errno in GONE
        return False

    def _root_of(self, path: str) -> Root | None:
        if not self.complete or any(Path(path).is_relative_to(folder) for folder in self._tally.unlisted):
            return None
        return next((root for root in self._roots if root.below(path) is not None), None)

    def _iterate(self) -> Iterator[FoundFile | Skipped]:
        seen: set[str] = set()
        files = 0
        for root in self._roots:
            for entry in Walk(root, self._parsing, self._tally).entries():
                if entry.path in seen:
                    continue
                seen.add(entry.path)
                files += isinstance(entry, FoundFile)
                if files > self._parsing.limits.files:
                    self.complete = False
                    yield Skipped(
                        entry.path,
                        f"after {self._parsing.limits.files:,} files this and all that follow are not read; "
                        "give folders below in further calls",
                    )
                    return
                yield entry
