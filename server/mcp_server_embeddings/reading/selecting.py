"""The files that a caller asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.allowed import GONE, allowed_folder
from mcp_server_embeddings.reading.document import Parsing
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.limits import DEFAULT_LIMITS, Cancelled, ReadingLimits, never_cancelled
from mcp_server_embeddings.reading.resolving import Root, resolved
from mcp_server_embeddings.reading.walking import Tally, Walk


class Reader:
    """Reads files in some folders and nowhere else. Thread-safe; a selection of it is for one thread.

    Args:
        allowed_dirs: The folders; links in their paths are resolved here, once.
        field: Column or key that holds the text of CSV and JSONL files.
        limits: What is too much.
        cancelled: Called often; raises if the caller gave up.
    """

    def __init__(
        self,
        allowed_dirs: Sequence[Path],
        *,
        field: str | None = None,
        limits: ReadingLimits = DEFAULT_LIMITS,
        cancelled: Cancelled = never_cancelled,
    ) -> None:
        self._folders = [allowed_folder(str(path)) for path in allowed_dirs]
        self._parsing = Parsing(field, limits, cancelled)

    def select(self, paths: Sequence[str]) -> "Selection":
        """The files at ``paths``; nothing is read yet.

        Args:
            paths: Files, folders with all below them, and patterns (``*``, ``?``, ``[…]``, ``**``); absolute, from
                ``~``, or relative to an allowed folder. What is named itself is taken even if hidden or ignored.

        Raises:
            InputError: No folder may be read, or a path is outside of those, malformed, or matches nothing.
        """
        if not self._folders:
            raise InputError(
                "paths were given and no folder may be read, so nothing was: ask the user to start the server with "
                "--allow-dir FOLDER"
            )
        paths = [paths] if isinstance(paths, str) else list(paths)
        if not paths:
            raise InputError("paths is an empty list; give files, folders or patterns such as 'docs/**/*.md'")
        roots = {root.path + repr(root.glob): root for root in map(self._root, paths)}
        return Selection([roots[key] for key in sorted(roots)], self._parsing)

    def _root(self, given: str) -> Root:
        """Where a path lies; of a relative pattern the first allowed folder that has a match."""
        passed_over = 0
        roots = resolved(given, self._folders)
        for root in roots:
            tally = Tally()
            if root.glob is None or next(Walk(root, self._parsing, tally).found(), None) is not None:
                return root
            passed_over += tally.ignored
        told = f" ({passed_over} hidden or ignored were passed over)" if passed_over else ""
        raise InputError(f"{given!r} matches no file{told}; check the pattern: '**' stands for any number of folders")


class Selection:
    """Files to read, in the order of their paths.

    Attributes:
        roots: Absolute paths that were asked for; of a pattern the folder before its first wildcard.
        entries: Files, and what is skipped with its reason; found while it is iterated, once.
        complete: Whether the limit of files did not end it early; final after iteration.
    """

    def __init__(self, roots: Sequence[Root], parsing: Parsing) -> None:
        self.roots = tuple(root.path for root in roots)
        self.complete = True
        self.entries = self._found()
        self._roots = roots
        self._parsing = parsing
        self._tally = Tally()

    @property
    def ignored(self) -> int:
        """Files and folders passed over because of .gitignore or because hidden; final after iteration."""
        return self._tally.ignored

    def covers(self, path: str) -> bool:
        """Whether a path was asked for and looked at, so that its absence from ``entries`` says something.

        False below a folder that could not be listed, and for all if not ``complete``. Ask after iteration.
        """
        return self._root_of(path) is not None

    def gone(self, path: str) -> bool:
        """Whether a path was asked for and nothing is there any more that could be read.

        False for one that is there and was skipped, hidden or ignored. Ask after iteration.
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

    def _found(self) -> Iterator[FoundFile | Skipped]:
        seen: set[str] = set()
        files = 0
        for root in self._roots:
            for entry in Walk(root, self._parsing, self._tally).found():
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
