"""Patterns of file names: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

import fnmatch
from dataclasses import dataclass

from mcp_server_embeddings.reading.allowed import Parts

CharacterRange = frozenset[int]
"""Where in a pattern a path may have come to; empty if it cannot match any more."""


def is_pattern(name: str) -> bool:
    """Whether a name has a wildcard."""
    return any(sign in name for sign in "*?[")


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern of paths below a folder, matched name by name.

    Time grows with names times parts of the pattern: fnmatch's expressions do not go back over what a ``*`` took.
    """

    segments: Parts

    def start(self) -> CharacterRange:
        """Before the first name."""
        return self._closed({0})

    def advanced(self, places: CharacterRange, name: str) -> CharacterRange:
        """After one more name of the path."""
        reached: set[int] = set()
        for place in places:
            if place == len(self.segments):
                continue
            if self.segments[place] == "**":
                reached.add(place)
            elif fnmatch.fnmatch(name, self.segments[place]):
                reached.add(place + 1)
        return self._closed(reached)

    def is_end(self, places: CharacterRange) -> bool:
        """Whether a path that came to ``places`` matches."""
        return len(self.segments) in places

    def names_hidden(self, places: CharacterRange, name: str) -> bool:
        """Whether the next part of the pattern says ``.`` itself, so that a hidden ``name`` is asked for."""
        inside = [self.segments[place] for place in places if place < len(self.segments)]
        return any(segment.startswith(".") and fnmatch.fnmatch(name, segment) for segment in inside)

    def matches(self, parts: Parts) -> bool:
        """Whether a path below the folder matches."""
        places = self.start()
        for name in parts:
            places = self.advanced(places, name)
        return self.is_end(places)

    def _closed(self, places: set[int]) -> CharacterRange:
        """With the places after each ``**``, which may stand for no folder."""
        for place in range(len(self.segments)):
            if place in places and self.segments[place] == "**":
                places.add(place + 1)
        return frozenset(places)
