"""What an examination finds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

State = Literal["ok", "note", "problem"]
"""A note is worth knowing and no fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined.

    Attributes:
        subject: What it is about, such as ``model``.
        state: Whether anything is to be done.
        found: A sentence.
        advice: What to do; empty where nothing is.
        figures: What was measured, for another program.
    """

    subject: str
    state: State
    found: str
    advice: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return its fields without the empty ones."""
        return {name: value for name, value in asdict(self).items() if value}


def problem(subject: str, found: str, advice: str = "") -> Finding:
    """Return what is to be mended."""
    return Finding(subject, "problem", found, advice)
