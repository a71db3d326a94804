"""What a walk listed, to tell later in a few milliseconds whether it would find the same files unchanged."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from mcp_server_embeddings.reading.allowed import AllowedFolder, Entry, Parts

CLOCK_MARGIN_NS = 2_500_000_000
"""A file that was changed less than this before it was looked at may be changed again without its time showing it: the
times of FAT have two seconds, those of Linux some milliseconds."""


def is_settled(changed_ns: int, seen_ns: int) -> bool:
    """Tell whether a time of change, looked at when it was ``seen_ns``, would show every later change."""
    return changed_ns < seen_ns - CLOCK_MARGIN_NS


@dataclass(slots=True)
class Snapshot:
    """Folders with their entries, and single entries; what is below a folder that is not listed does not count.

    Attributes:
        began_ns: When the walk began, nanoseconds since 1970.
    """

    began_ns: int = field(default_factory=time.time_ns)
    _folders: list[tuple[AllowedFolder, Parts, list[Entry]]] = field(default_factory=list)
    _entries: list[tuple[AllowedFolder, Parts, Entry | None]] = field(default_factory=list)

    def listing(self, folder: AllowedFolder, parts: Parts) -> list[Entry]:
        """List a folder as ``AllowedFolder.listing`` does, and note what is in it.

        Raises:
            OSError: See there; an unlisted folder is noted with nothing in it.
        """
        entries: list[Entry] = []
        try:
            entries = folder.listing(parts)
        finally:
            self._folders.append((folder, parts, entries))
        return entries

    def note(self, folder: AllowedFolder, parts: Parts) -> None:
        """Note one entry, or that there is none."""
        self._entries.append((folder, parts, _entry(folder, parts)))

    def is_settled(self) -> bool:
        """Tell whether every change after the walk can be seen; see ``CLOCK_MARGIN_NS``."""
        changed = [entry.changed_ns for _, _, entries in self._folders for entry in entries]
        changed += [entry.changed_ns for _, _, entry in self._entries if entry is not None]
        return is_settled(max(changed, default=0), self.began_ns)

    def is_current(self) -> bool:
        """Tell whether all is as it was."""
        return all(_entry(folder, parts) == entry for folder, parts, entry in self._entries) and all(
            _listing(folder, parts) == entries for folder, parts, entries in self._folders
        )


def _entry(folder: AllowedFolder, parts: Parts) -> Entry | None:
    with suppress(OSError):
        return folder.entry(parts)
    return None


def _listing(folder: AllowedFolder, parts: Parts) -> list[Entry]:
    with suppress(OSError):
        return folder.listing(parts)
    return []
