"""One editor for each file format: read a document, set a value or remove one, and leave the rest unchanged."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mcp_server_embeddings.clients import jsonc, toml
from mcp_server_embeddings.clients.table import Format


class _Put(Protocol):
    def __call__(self, text: str, keys: Sequence[str], value: object) -> str: ...


class _Remove(Protocol):
    def __call__(self, text: str, keys: Sequence[str]) -> str: ...


@dataclass(frozen=True, slots=True)
class Editor:
    """Edit the text of documents in one format. Each result is parsed and compared with the intended document.

    Every function raises ``ValueError`` for a document that is malformed or cannot be edited.
    """

    read: Callable[[str], object]
    _put: _Put
    _remove: _Remove

    def put(self, text: str, keys: Sequence[str], value: object) -> str:
        """Return the text with a value set at a path of keys."""
        wanted = deepcopy(self.read(text))
        place = wanted
        for key in keys[:-1]:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[keys[-1]] = value
        return self._checked(self._put(text, keys, value), wanted)

    def remove(self, text: str, keys: Sequence[str]) -> str:
        """Return the text without the value at a path of keys."""
        wanted = deepcopy(self.read(text))
        del found(wanted, keys[:-1])[keys[-1]]
        return self._checked(self._remove(text, keys), wanted, _pruned(wanted, keys[:-1]))

    def _checked(self, text: str, *wanted: object) -> str:
        if self.read(text) not in wanted:
            raise ValueError("it cannot be edited without changing something else; edit it yourself, by --print")
        return text


def found(document: object, keys: Sequence[str]) -> dict[str, object]:
    """Return the object at a path of keys; an empty one if there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _pruned(document: object, keys: Sequence[str]) -> object:
    """Return a copy without empty objects along a path: in TOML, removing the last key of a table removes the table."""
    document = deepcopy(document)
    for depth in range(len(keys), 0, -1):
        if not found(document, keys[:depth]):
            found(document, keys[: depth - 1]).pop(keys[depth - 1], None)
    return document


EDITORS: Mapping[Format, Editor] = {
    "json": Editor(
        partial(jsonc.read, comments=False),
        partial(jsonc.put, comments=False),
        partial(jsonc.remove, comments=False),
    ),
    "jsonc": Editor(jsonc.read, jsonc.put, jsonc.remove),
    "toml": Editor(toml.read, toml.put, toml.remove),
}
