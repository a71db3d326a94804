"""Walk a folder in the order of names, opening each folder only when it is reached."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcp_server_embeddings.reading.allowed import Entry, Parts, is_utf8, kind, reason, too_large
from mcp_server_embeddings.reading.document import Parsing
from mcp_server_embeddings.reading.found import FoundFile, Skipped, displayable, size_limit
from mcp_server_embeddings.reading.gitignore import (
    IGNORE_FILE,
    REPOSITORY,
    Rules,
    inherited_rules,
    is_ignored,
    read_rules,
)
from mcp_server_embeddings.reading.globs import States
from mcp_server_embeddings.reading.resolving import Root
from mcp_server_embeddings.reading.snapshot import Snapshot

_LINK = "a symbolic link; give its target in paths"


@dataclass(slots=True)
class Tally:
    """Record of the entries that walks listed and omitted.

    Attributes:
        ignored: Number of files and folders that are hidden or ignored by ``.gitignore``.
        unlisted: Paths of folders that were not visited.
        snapshot: The listed folders and entries.
    """

    ignored: int = 0
    unlisted: list[str] = field(default_factory=list)
    snapshot: Snapshot = field(default_factory=Snapshot)


@dataclass(slots=True)
class _Level:
    """A folder on the path from the root, with its remaining entries."""

    parts: Parts
    rules: Rules | None
    states: States
    entries: Iterator[Entry]


class Walk:
    """A walk from one root.

    Args:
        root: Where to start.
        parsing: Limits and cancellation.
        tally: Updated by the walk.
    """

    def __init__(self, root: Root, parsing: Parsing, tally: Tally) -> None:
        self._root = root
        self._parsing = parsing
        self._tally = tally
        self._levels: list[_Level] = []

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yield files and skipped entries; no descriptor stays open in between."""
        root = self._root
        if not root.is_folder:
            yield self._requested_file()
            return
        for depth in range(len(root.parts)):
            for name in (IGNORE_FILE, REPOSITORY):
                self._tally.snapshot.record(root.folder, (*root.parts[:depth], name))
        rules = inherited_rules(root.folder, root.parts, self._parsing.cancelled)
        yield from self._enter(root.parts, rules, root.glob.start() if root.glob else frozenset())
        while self._levels:
            level = self._levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                self._levels.pop()
                continue
            self._parsing.cancelled()
            yield from self._visit(level, entry)

    def _requested_file(self) -> FoundFile | Skipped:
        """Return a file that was requested by name, even if it is hidden or ignored."""
        self._tally.snapshot.record(self._root.folder, self._root.parts)
        try:
            return self._file(self._root.parts, self._root.folder.entry(self._root.parts))
        except OSError as error:
            return self._skipped(self._root.parts, reason(error))

    def _enter(self, parts: Parts, rules: Rules | None, states: States) -> Iterator[Skipped]:
        """Descend into a folder."""
        if len(parts) - len(self._root.parts) > self._parsing.limits.depth:
            yield self._unlisted(parts, f"more than {self._parsing.limits.depth} folders deep; give it in paths")
            return
        try:
            entries = self._tally.snapshot.listing(self._root.folder, parts)
        except OSError as error:
            yield self._unlisted(parts, reason(error))
            return
        names = {entry.name for entry in entries}
        if REPOSITORY in names:
            rules = None  # rules of the folders above a repository do not apply in it
        if IGNORE_FILE in names:
            parent, rules = rules, read_rules(self._root.folder, parts, rules, self._parsing.cancelled)
            if rules is not parent and rules is not None and rules.problem:
                yield self._skipped((*parts, IGNORE_FILE), rules.problem)
        self._levels.append(_Level(parts, rules, states, iter(entries)))

    def _visit(self, level: _Level, entry: Entry) -> Iterator[FoundFile | Skipped]:
        """Enter, yield, or ignore one entry."""
        parts, glob, is_folder = (*level.parts, entry.name), self._root.glob, stat.S_ISDIR(entry.mode)
        states = glob.advance(level.states, entry.name) if glob else level.states
        if glob and not (states if is_folder else glob.accepts(states)):
            return
        hidden = entry.name.startswith(".") and not (glob and glob.requests_hidden(level.states, entry.name))
        if hidden or is_ignored(level.rules, parts, is_folder=is_folder):
            self._tally.ignored += 1
        elif not is_utf8(entry.name):
            yield self._unlisted(parts, "its name is not valid UTF-8; rename it")
        elif is_folder:
            yield from self._enter(parts, level.rules, states)
        else:
            yield self._file(parts, entry)

    def _file(self, parts: Parts, entry: Entry) -> FoundFile | Skipped:
        if stat.S_ISLNK(entry.mode):
            return self._skipped(parts, _LINK)
        if not stat.S_ISREG(entry.mode):
            return self._skipped(parts, f"not a regular file ({kind(entry.mode)})")
        path = self._root.folder.full(parts)
        limit = size_limit(path, self._parsing.limits)
        if entry.size > limit:
            return self._skipped(parts, too_large(entry.size, limit))
        return FoundFile(path, entry.size, entry.changed_ns, self._root.folder, parts, self._parsing)

    def _skipped(self, parts: Parts, why: str) -> Skipped:
        return Skipped(displayable(self._root.folder.full(parts)), why)

    def _unlisted(self, parts: Parts, why: str) -> Skipped:
        self._tally.unlisted.append(self._root.folder.full(parts))
        return self._skipped(parts, why)
