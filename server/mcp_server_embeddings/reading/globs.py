"""Path patterns: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

import fnmatch
from dataclasses import dataclass

from mcp_server_embeddings.reading.allowed import Parts

States = frozenset[int]
"""Positions in a pattern that a path has reached; empty once it can no longer match."""


def is_pattern(name: str) -> bool:
    """Tell whether a name contains a wildcard."""
    return any(wildcard in name for wildcard in "*?[")


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern for paths below a folder, matched component by component as a nondeterministic automaton.

    Time is proportional to components times segments: fnmatch's expressions do not backtrack into a ``*``.

    Example:
        >>> Glob(("docs", "**", "*.md")).matches(("docs", "guide", "a.md"))
        True
    """

    segments: Parts

    def start(self) -> States:
        """Return the states before the first component."""
        return self._closure({0})

    def advance(self, states: States, name: str) -> States:
        """Return the states after one more component of the path."""
        reached: set[int] = set()
        for state in states:
            if state == len(self.segments):
                continue
            if self.segments[state] == "**":
                reached.add(state)
            elif fnmatch.fnmatch(name, self.segments[state]):
                reached.add(state + 1)
        return self._closure(reached)

    def accepts(self, states: States) -> bool:
        """Tell whether a path that reached ``states`` matches."""
        return len(self.segments) in states

    def requests_hidden(self, states: States, name: str) -> bool:
        """Tell whether a next segment that begins with ``.`` matches, so that a hidden ``name`` was requested."""
        next_segments = [self.segments[state] for state in states if state < len(self.segments)]
        return any(segment.startswith(".") and fnmatch.fnmatch(name, segment) for segment in next_segments)

    def matches(self, parts: Parts) -> bool:
        """Tell whether a path below the folder matches."""
        states = self.start()
        for name in parts:
            states = self.advance(states, name)
        return self.accepts(states)

    def _closure(self, states: set[int]) -> States:
        """Add the state after each ``**``, which may match zero folders."""
        for state in range(len(self.segments)):
            if state in states and self.segments[state] == "**":
                states.add(state + 1)
        return frozenset(states)
