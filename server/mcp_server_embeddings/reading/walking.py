"""What lies in a folder, in the order of names, each folder opened when its turn comes."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcp_server_embeddings.reading.allowed import Entry, Parts, is_utf8, kind, reason, too_large
from mcp_server_embeddings.reading.document import Parsing
from mcp_server_embeddings.reading.found import FoundFile, Skipped, shown, size_limit
from mcp_server_embeddings.reading.globs import CharacterRange
from mcp_server_embeddings.reading.ignoring import IGNORE_FILE, REPOSITORY, Rules, is_ignored, rules_above, rules_of
from mcp_server_embeddings.reading.resolving import Root

_LINK = "a symbolic link; give its target in paths"


@dataclass(slots=True)
class Tally:
    """What a walk leaves behind.

    Attributes:
        ignored: Files and folders passed over because of .gitignore or because hidden.
        unlisted: Paths of folders that nobody looked into.
    """

    ignored: int = 0
    unlisted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Level:
    """A folder on the way down, with what of it is still to come."""

    parts: Parts
    rules: Rules | None
    places: CharacterRange
    entries: Iterator[Entry]


class Walk:
    """A walk from one root.

    Args:
        root: Where to start.
        parsing: Limits, and who may stop it.
        tally: Is counted up.
    """

    def __init__(self, root: Root, parsing: Parsing, tally: Tally) -> None:
        self._root = root
        self._parsing = parsing
        self._tally = tally
        self._levels: list[_Level] = []

    def found(self) -> Iterator[FoundFile | Skipped]:
        """Files and what is skipped; no descriptor stays open in between."""
        root = self._root
        if not root.is_folder:
            yield self._named()
            return
        rules = rules_above(root.folder, root.parts, self._parsing.cancelled)
        yield from self._entered(root.parts, rules, root.glob.start() if root.glob else frozenset())
        while self._levels:
            level = self._levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                self._levels.pop()
                continue
            self._parsing.cancelled()
            yield from self._judged(level, entry)

    def _named(self) -> FoundFile | Skipped:
        """A file that was asked for by name: hidden or ignored or not."""
        try:
            return self._file(self._root.parts, self._root.folder.entry(self._root.parts))
        except OSError as error:
            return self._skipped(self._root.parts, reason(error))

    def _entered(self, parts: Parts, rules: Rules | None, places: CharacterRange) -> Iterator[Skipped]:
        """Go down into a folder."""
        if len(parts) - len(self._root.parts) > self._parsing.limits.depth:
            yield self._unlisted(parts, f"more than {self._parsing.limits.depth} folders deep; give it in paths")
            return
        try:
            entries = self._root.folder.listing(parts)
        except OSError as error:
            yield self._unlisted(parts, reason(error))
            return
        names = {entry.name for entry in entries}
        if REPOSITORY in names:
            rules = None  # a repository of its own: rules above it are not its rules
        if IGNORE_FILE in names:
            above, rules = rules, rules_of(self._root.folder, parts, rules, self._parsing.cancelled)
            if rules is not above and rules is not None and rules.problem:
                yield self._skipped((*parts, IGNORE_FILE), rules.problem)
        self._levels.append(_Level(parts, rules, places, iter(entries)))

    def _judged(self, level: _Level, entry: Entry) -> Iterator[FoundFile | Skipped]:
        """What becomes of one entry: entered, yielded, or passed over."""
        parts, glob, is_folder = (*level.parts, entry.name), self._root.glob, stat.S_ISDIR(entry.mode)
        places = glob.advanced(level.places, entry.name) if glob else level.places
        if glob and not (places if is_folder else glob.is_end(places)):
            return
        hidden = entry.name.startswith(".") and not (glob and glob.names_hidden(level.places, entry.name))
        if hidden or is_ignored(level.rules, parts, is_folder=is_folder):
            self._tally.ignored += 1
        elif not is_utf8(entry.name):
            yield self._unlisted(parts, "its name is not valid UTF-8; rename it")
        elif is_folder:
            yield from self._entered(parts, level.rules, places)
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
        return FoundFile(path, entry.size, entry.modified_ns, self._root.folder, parts, self._parsing)

    def _skipped(self, parts: Parts, why: str) -> Skipped:
        return Skipped(shown(self._root.folder.full(parts)), why)

    def _unlisted(self, parts: Parts, why: str) -> Skipped:
        self._tally.unlisted.append(self._root.folder.full(parts))
        return self._skipped(parts, why)
