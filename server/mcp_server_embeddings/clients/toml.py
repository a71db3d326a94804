"""Edit TOML with tomlkit, which preserves comments and layout."""

import tomllib
from collections.abc import MutableMapping, Sequence

import tomlkit


def read(text: str) -> object:
    """Parse a document.

    Raises:
        ValueError: The document is malformed; the message names the line.
    """
    return tomllib.loads(text)


def put(text: str, keys: Sequence[str], value: object) -> str:
    """Return the text with a value set at a path of keys, creating missing tables.

    Raises:
        ValueError: The text is malformed, or something on the path is not a table.
    """
    read(text)  # tomllib's error messages name the line
    document = tomlkit.parse(text)
    table: MutableMapping[str, object] = document
    for key in keys[:-1]:
        if key not in table:
            table[key] = tomlkit.table(is_super_table=True)
        table = _as_table(table[key], key)
    table[keys[-1]] = value
    return _dump(document, text)


def remove(text: str, keys: Sequence[str]) -> str:
    """Return the text without the value at a path of keys, which must exist.

    Raises:
        ValueError: The text is malformed.
    """
    read(text)
    document = tomlkit.parse(text)
    table: MutableMapping[str, object] = document
    for key in keys[:-1]:
        table = _as_table(table[key], key)
    del table[keys[-1]]
    return _dump(document, text)


def _as_table(value: object, key: str) -> MutableMapping[str, object]:
    if not isinstance(value, MutableMapping):
        raise ValueError(f"{key!r} is not a table")  # noqa: TRY004 - an error in the file, not of the caller
    return value


def _dump(document: tomlkit.TOMLDocument, text: str) -> str:
    result = tomlkit.dumps(document)
    return result.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else result
