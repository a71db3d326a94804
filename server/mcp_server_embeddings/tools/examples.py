"""Labelled examples for ``classify``: texts and items, sent with the call or read from tables."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.tables import as_text
from mcp_server_embeddings.tools.example_arguments import Example, ExampleTable
from mcp_server_embeddings.tools.items import Items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import MAX_TEXTS, snippet

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class ResolvedExamples:
    """Resolved examples: texts with their labels, and the labels of items by position."""

    texts: list[str]
    labels: list[int]
    by_position: dict[int, int]


def read_examples(
    examples: Sequence[Example | ExampleTable], sources: Sources | None, output_dir: Path | None
) -> list[tuple[str, Example]]:
    """Return all examples, including those of tables, each with a name for error messages. Table rows have text and id.

    Args:
        examples: The examples of the call.
        sources: Reads tables.
        output_dir: The output folder, in which tables are looked up too.

    Raises:
        InputError: A table cannot be read, has no such column or no labelled row, or there are too many examples.
    """
    found: list[tuple[str, Example]] = []
    for at, example in enumerate(examples):
        if isinstance(example, Example):
            found.append((f"examples[{at}]", example))
        elif sources is None:
            raise InputError(f"examples[{at}] is a table, which needs sources=Sources(store, reader)")
        else:
            found += _table_examples(example, sources, output_dir)
    if len(found) > MAX_TEXTS:
        raise InputError(
            f"there are {len(found):,} examples; at most {MAX_TEXTS:,}: give tables with fewer labelled rows"
        )
    return found


def _table_examples(table_entry: ExampleTable, sources: Sources, output_dir: Path | None) -> list[tuple[str, Example]]:
    table, texts = sources.rows(table_entry.source, output_dir)
    try:
        labels = table.column(table_entry.label_field)
    except InputError as error:
        suggestion = json.dumps({"source": table_entry.source, "label_field": "COLUMN"}, ensure_ascii=False)
        raise InputError(f"{error}; name the column of the labels: {suggestion}") from None
    rows = zip(texts.ids, texts.texts, texts.rows, strict=True)
    found = [
        (f"row {row + 1} of {table.name!r}", Example(label, text, key))
        for key, text, row in rows
        if (label := as_text(labels[row]).strip())
    ]
    if not found:
        raise InputError(f"no row of {table.name!r} has a text and a label in {table_entry.label_field!r}")
    return found


def resolve_examples(examples: Sequence[tuple[str, Example]], names: Sequence[str], items: Items) -> ResolvedExamples:
    """Match the examples with the items; the last label of an item wins.

    Raises:
        InputError: An example has an unknown label or id.
    """
    resolved = ResolvedExamples([], [], {})
    if not examples:
        return resolved
    positions = {str(key): at for at, key in enumerate(items.ids)}

    @cache
    def patterns() -> set[str]:
        """Return the patterns of all ids, lazily: 100,000 ids take half a second, and few calls need them."""
        return {_pattern(str(key)) for key in items.ids} - {""}

    of_tables = [
        positions[key] for _, example in examples if example.text is not None and (key := str(example.id)) in positions
    ]
    texts_by_position = dict(zip(of_tables, items.texts(of_tables), strict=True))
    for name, example in examples:
        if example.label not in names:
            raise InputError(
                f"{name} has the label {snippet(example.label)!r}, which is not in labels; add it there, or correct it"
            )
        label = names.index(example.label)
        position = _position(name, example, positions, texts_by_position, items, patterns)
        if position is not None:
            resolved.by_position[position] = label
        elif example.text is not None:
            resolved.texts.append(example.text)
            resolved.labels.append(label)
    return resolved


def _position(
    name: str,
    example: Example,
    positions: dict[str, int],
    texts_by_position: dict[int, str],
    items: Items,
    patterns: Callable[[], set[str]],
) -> int | None:
    """Return the position of the item that an example refers to; None if the example is a text.

    Raises:
        InputError: There is no such item.
    """
    if example.text is not None and example.id is not None:  # a table row; other tables may have the same ids
        at = positions.get(str(example.id))
        return at if at is not None and texts_by_position[at] == example.text else None
    if example.text is not None and example.text not in positions:
        _check_text(name, example.text, items, patterns)
        return None
    key = str(example.text if example.id is None else example.id).removeprefix(items.folder)
    if key not in positions:
        raise InputError(f"{name} has the id {key[:100]!r}, which is not in {_describe_items(items)}; correct it")
    return positions[key]


def _check_text(name: str, text: str, items: Items, patterns: Callable[[], set[str]]) -> None:
    if not text.strip():
        raise InputError(f"{name} is blank; every example needs a text or an id")
    if (pattern := _pattern(text)) and pattern in patterns():
        raise InputError(
            f"{name} is {text[:100]!r}, which looks like an id but is not in {_describe_items(items)}; correct it, or "
            "give a longer text"
        )


def _describe_items(items: Items) -> str:
    """Describe the items in which an example was not found: a selection may exclude items of the source."""
    selection = items.selection
    selected = selection is not None and (selection.ids is not None or selection.where is not None)
    return f"the {len(items):,} items that ids and where select in {items.label}" if selected else items.label


def _pattern(key: str) -> str:
    """Return an id with each digit replaced by 0, so that T7 and T9 are equal; ``""`` if it has no digit."""
    return _DIGIT.sub("0", key) if _DIGIT.search(key) else ""
