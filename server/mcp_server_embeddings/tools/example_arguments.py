"""Coerce labelled examples from clients to the types of tool parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.tables import is_table, split_source
from mcp_server_embeddings.tools.coercion import Id, check_length, is_id, parse_literal, quoted


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled example: a text, or the id of an item of the call; a table row has both.

    Attributes:
        label: The label.
        text: The text; None if the example is given by id.
        id: The id of an item of the call.
    """

    label: str
    text: str | None = None
    id: Id | None = None


@dataclass(frozen=True, slots=True)
class ExampleTable:
    """A table of labelled examples.

    Attributes:
        source: Path of the table with its text column, such as ``known.csv#message``.
        label_field: The label column; rows without a label are not examples.
    """

    source: str
    label_field: str = "label"


_ONE_EXAMPLE = (
    "an object with label and text or id, {label: [texts or ids]}, or a table with a column of labels, such as "
    '\'known.csv#message\' or {"source": "known.csv#message", "label_field": "topic"}'
)


def coerce_examples(name: str, value: object) -> list[Example | ExampleTable]:
    """Return labelled examples.

    Args:
        name: The parameter name for error messages.
        value: A list of examples, a single example, or a map from label to one text. An example is an object with
            ``label`` and either ``text`` or ``id``; a table, as a path or an object with ``source`` and
            ``label_field``; or a map from label to a list of texts or ids, where integers are ids.

    Raises:
        InputError: The value has another form.

    Example:
        >>> coerce_examples("examples", {"card": ["my card is lost", 7]})
        [Example(label='card', text='my card is lost', id=None), Example(label='card', text=None, id=7)]
    """
    value = parse_literal(value)
    if isinstance(value, Mapping) and not {"text", "label"} <= value.keys() and not _is_table_entry(value):
        return [*_examples_by_label(name, value)]
    items = value if isinstance(value, list | tuple) else [value]
    check_length(name, items)
    found: list[Example | ExampleTable] = []
    for position, item in enumerate(items):
        item_name = f"{name}[{position}]" if items is value else name
        if isinstance(item, Mapping) and item and all(isinstance(part, list | tuple) for part in item.values()):
            found += _examples_by_label(item_name, item)
        else:
            found.append(_example(item_name, item))
    return found


def _example(name: str, item: object) -> Example | ExampleTable:
    """Return one example, or a table of examples.

    Raises:
        InputError: The item is neither.
    """
    if isinstance(item, Example | ExampleTable):
        return item
    if isinstance(item, str) and is_table(split_source(item)[0]):
        return ExampleTable(item)
    if not isinstance(item, Mapping):
        raise InputError(f"{name} is {quoted(item)}; allowed: {_ONE_EXAMPLE}")
    if _is_table_entry(item):
        return _example_table(name, item)
    label, text, key = item.get("label"), item.get("text"), item.get("id")
    if isinstance(label, str) and isinstance(text, str):
        return Example(label, text=text)
    if isinstance(label, str) and is_id(key):
        return Example(label, id=key)
    raise InputError(f"{name} is {quoted(item)}; allowed: {_ONE_EXAMPLE}")


def _is_table_entry(item: Mapping[object, object]) -> bool:
    """Tell whether an object names a table, rather than mapping labels to texts."""
    return isinstance(item.get("source"), str) and item.keys() <= {"source", "label_field", "label"}


def _example_table(name: str, item: Mapping[object, object]) -> ExampleTable:
    source, field = item.get("source"), item.get("label_field", item.get("label", "label"))
    if not isinstance(source, str) or not isinstance(field, str):
        raise InputError(f"{name}.label_field is {quoted(field)}; allowed: the column of the table that has the labels")
    return ExampleTable(source, field)


def _examples_by_label(name: str, value: Mapping[object, object]) -> list[Example]:
    examples: list[Example] = []
    for label, items in value.items():
        for item in items if isinstance(items, list | tuple) else [items]:
            if not is_id(item):
                raise InputError(f"{name}[{str(label)[:40]!r}] has {quoted(item)}; allowed: texts, or numbers of items")
            examples.append(Example(str(label), id=item) if isinstance(item, int) else Example(str(label), text=item))
    check_length(name, examples)
    return examples
