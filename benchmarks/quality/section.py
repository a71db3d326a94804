"""The printed results of one file."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from quality.session import Session


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one file; the title describes the data and its size."""

    title: str
    figures: list[Figure]

    def __str__(self) -> str:
        lines = [f"  {figure.name:<44} {figure.value:7.4f}  {figure.note}".rstrip() for figure in self.figures]
        return "\n".join([self.title, *lines])


class Task(Protocol):
    """Data to measure."""

    def measure(self, session: Session) -> Awaitable[Section]:
        """Measure the data with the server.

        Raises:
            InputError: The server refuses the data.
        """
        ...
