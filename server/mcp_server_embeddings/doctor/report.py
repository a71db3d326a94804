"""The results of checks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

State = Literal["ok", "note", "problem"]
"""A note is worth knowing but needs no action."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: The subject of the check, such as ``model``.
        state: The outcome.
        found: A sentence that describes the outcome.
        advice: What to do; empty if nothing needs to be done.
        figures: Measured values, for other programs.
    """

    subject: str
    state: State
    found: str
    advice: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the fields that are not empty."""
        return {name: value for name, value in asdict(self).items() if value}


def problem(subject: str, found: str, advice: str = "") -> Finding:
    """Return a finding about a problem."""
    return Finding(subject, "problem", found, advice)
