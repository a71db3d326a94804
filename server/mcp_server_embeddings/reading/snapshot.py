"""The listings of a walk, to check in a few milliseconds whether another walk would find the same files unchanged."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from mcp_server_embeddings.reading.allowed import AllowedFolder, Entry, Parts

CLOCK_MARGIN_NS = 2_500_000_000
"""A file that changed less than this before it was examined may change again with the same timestamp: timestamps have a
resolution of two seconds on FAT and some milliseconds on Linux."""


def is_settled(changed_ns: int, seen_ns: int) -> bool:
    """Tell whether a change time that was read at ``seen_ns`` would differ after any later change."""
    return changed_ns < seen_ns - CLOCK_MARGIN_NS


@dataclass(slots=True)
class Snapshot:
    """Listed folders with their entries, and single entries; changes below other folders do not count.

    Attributes:
        began_ns: Time when the walk began, nanoseconds since 1970.
    """

    began_ns: int = field(default_factory=time.time_ns)
    _folders: list[tuple[AllowedFolder, Parts, list[Entry]]] = field(default_factory=list)
    _entries: list[tuple[AllowedFolder, Parts, Entry | None]] = field(default_factory=list)

    def listing(self, folder: AllowedFolder, parts: Parts) -> list[Entry]:
        """List a folder with ``AllowedFolder.listing``, and record its entries.

        Raises:
            OSError: As ``AllowedFolder.listing``; the folder is then recorded as empty.
        """
        entries: list[Entry] = []
        try:
            entries = folder.listing(parts)
        finally:
            self._folders.append((folder, parts, entries))
        return entries

    def record(self, folder: AllowedFolder, parts: Parts) -> None:
        """Record one entry, or its absence."""
        self._entries.append((folder, parts, _entry_or_none(folder, parts)))

    def is_settled(self) -> bool:
        """Tell whether every change after the walk can be detected; see ``CLOCK_MARGIN_NS``."""
        changed = [entry.changed_ns for _, _, entries in self._folders for entry in entries]
        changed += [entry.changed_ns for _, _, entry in self._entries if entry is not None]
        return is_settled(max(changed, default=0), self.began_ns)

    def is_current(self) -> bool:
        """Tell whether nothing has changed."""
        return all(_entry_or_none(folder, parts) == entry for folder, parts, entry in self._entries) and all(
            _listing_or_empty(folder, parts) == entries for folder, parts, entries in self._folders
        )


def _entry_or_none(folder: AllowedFolder, parts: Parts) -> Entry | None:
    with suppress(OSError):
        return folder.entry(parts)
    return None


def _listing_or_empty(folder: AllowedFolder, parts: Parts) -> list[Entry]:
    with suppress(OSError):
        return folder.listing(parts)
    return []
