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
        intended = deepcopy(self.read(text))
        parent = intended
        for key in keys[:-1]:
            parent = parent.setdefault(key, {}) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent[keys[-1]] = value
        return self._verify(self._put(text, keys, value), intended)

    def remove(self, text: str, keys: Sequence[str]) -> str:
        """Return the text without the value at a path of keys."""
        intended = deepcopy(self.read(text))
        del object_at(intended, keys[:-1])[keys[-1]]
        return self._verify(self._remove(text, keys), intended, _without_empty(intended, keys[:-1]))

    def _verify(self, text: str, *intended: object) -> str:
        if self.read(text) not in intended:
            raise ValueError("it cannot be edited without changing something else; edit it yourself, by --print")
        return text


def object_at(document: object, keys: Sequence[str]) -> dict[str, object]:
    """Return the object at a path of keys; an empty one if there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _without_empty(document: object, keys: Sequence[str]) -> object:
    """Return a copy without empty objects along a path: in TOML, removing the last key of a table removes the table."""
    document = deepcopy(document)
    for depth in range(len(keys), 0, -1):
        if not object_at(document, keys[:depth]):
            object_at(document, keys[: depth - 1]).pop(keys[depth - 1], None)
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
