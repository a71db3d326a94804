"""Edit TOML by tomlkit, which keeps comments and layout."""

import tomllib
from collections.abc import MutableMapping, Sequence

import tomlkit


def read(text: str) -> object:
    """Return the values of a document.

    Raises:
        ValueError: It is malformed; the message has the line.
    """
    return tomllib.loads(text)


def put(text: str, keys: Sequence[str], value: object) -> str:
    """Return the text with a value at the end of a path of names; tables that are missing are made.

    Raises:
        ValueError: The text is malformed, or something on the path is not a table.
    """
    read(text)  # its messages have the line in one form
    document = tomlkit.parse(text)
    table: MutableMapping[str, object] = document
    for key in keys[:-1]:
        if key not in table:
            table[key] = tomlkit.table(is_super_table=True)
        table = _table(table[key], key)
    table[keys[-1]] = value
    return _written(document, text)


def remove(text: str, keys: Sequence[str]) -> str:
    """Return the text without what stands at the end of a path of names, which must exist.

    Raises:
        ValueError: The text is malformed.
    """
    read(text)
    document = tomlkit.parse(text)
    table: MutableMapping[str, object] = document
    for key in keys[:-1]:
        table = _table(table[key], key)
    del table[keys[-1]]
    return _written(document, text)


def _table(found: object, key: str) -> MutableMapping[str, object]:
    if not isinstance(found, MutableMapping):
        raise ValueError(f"{key!r} is not a table")  # noqa: TRY004 - of the file, not of a caller
    return found


def _written(document: tomlkit.TOMLDocument, text: str) -> str:
    written = tomlkit.dumps(document)
    return written.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else written
