"""Write the full result of a tool, one row for each item, to the output folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.reading.tables import as_text
from mcp_server_embeddings.tools.items import Items
from mcp_server_embeddings.tools.output_file import output_path, renamed, write_table
from mcp_server_embeddings.tools.results import OutputFile
from mcp_server_embeddings.tools.sources import Sources

_BEGINNING = 200
"""Characters of a file's text in its row: enough to recognise it; the path leads to the rest."""


def check_save_as(output_dir: Path | None, name: str | None) -> None:
    """Reject a file name that cannot be written, before anything is computed.

    Raises:
        InputError: The name is invalid.
    """
    if name is None:
        return
    if output_dir is None:
        raise InputError(f"save_as={name!r} needs output_dir, a folder")
    output_path(output_dir, name)


def save_items(
    items: Items,
    sources: Sources | None,
    output_dir: Path | None,
    name: str | None,
    columns: Mapping[str, Sequence[Cell]],
    tag: str | None = None,
) -> OutputFile | None:
    """Write one row for each item: its id, its own columns, and the new columns.

    Args:
        items: The items.
        sources: Reads the table of the items again for its other columns, which precede the new ones.
        output_dir: The output folder.
        name: A bare file name; None writes nothing.
        columns: The new columns, one value for each item.
        tag: Name of the metadata that this call stores; values of an earlier call under this name are left out.

    Raises:
        InputError: The name is invalid.
        OperatorError: The file cannot be written.
    """
    if name is None or output_dir is None:
        return None
    output: dict[str, Sequence[Cell]] = {"id": list(items.ids)}
    for column, values in own_columns(items, sources).items():
        if column == tag and not items.table:
            continue
        if column.casefold() != "id" or [as_text(value).strip() for value in values] != [str(key) for key in items.ids]:
            output[_free_name(column, output, "own")] = values
    for column, new in columns.items():
        output[_free_name(column, output, "new")] = new
    file = write_table(output_dir, name, output)
    items.notes.extend(renamed(name, file.path))
    return file


def own_columns(items: Items, sources: Sources | None) -> dict[str, list[Cell]]:
    """Return the columns that items already have: those of their table, or text and metadata; for files an excerpt.

    Raises:
        InputError: The table changed since it was read, or can no longer be read.
    """
    if items.collection is None or sources is None or items.selection is None:
        return {"text": list(items.texts())}
    if not items.table:
        positions = range(len(items))
        texts = items.snippets(positions, _BEGINNING) if items.path_source else items.texts()
        return {"text": list(texts), **_metadata(items.collection.item_metadata(items.keys))}
    table, texts_of_rows = sources.reread(items.table, items.selection.source or "", items.selection.id_field)
    rows = dict(zip(texts_of_rows.ids, texts_of_rows.rows, strict=True))
    chosen = [rows[str(key)] for key in items.ids if str(key) in rows]
    if len(chosen) < len(items):
        raise InputError(f"{items.table!r} changed while it was read; send the call again")
    return {column: [values[row] for row in chosen] for column in table.columns for values in [table.column(column)]}


def _metadata(objects: Sequence[Mapping[str, Cell | list[Cell]]]) -> dict[str, list[Cell]]:
    """Return a column for each metadata name; lists are written as JSON."""
    names = dict.fromkeys(name for fields in objects for name in fields)
    return {
        name: [
            json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for value in (fields.get(name) for fields in objects)
        ]
        for name in names
    }


def _free_name(name: str, taken: Mapping[str, object], which: str) -> str:
    """Return a column name, with ``(own)`` or ``(new)`` appended if another column has it in any letter case."""
    known = {column.casefold() for column in taken}
    while name.casefold() in known:
        name = f"{name} ({which})"
    return name
