"""Coerce arguments from clients to the types of tool parameters.

Language models send a list as a JSON string, inside a Markdown fence or as a Python literal, a single text instead of a
list, or a map from id to text. Each form is unambiguous and therefore accepted. Anything else is rejected with an error
that names the fix.
"""

import ast
import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import TypeGuard

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.lenient_json import parse_json
from mcp_server_embeddings.tools.texts import MAX_TEXTS, well_formed

Id = str | int
"""The caller's id of an item: a string, the position of a text, or the number of a row."""

TextsById = dict[Id, str]

TextsOrMap = Sequence[str] | Mapping[str, str] | Mapping[int, str] | Mapping[Id, str]
"""Texts of a call: a list, or a map from id to text. ``Mapping`` is invariant in its keys, so each type is listed."""

_FENCE = re.compile(r"\A```[\w+-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)

_MAX_LITERAL = 100_000
"""Maximum characters of a Python literal, whose parser uses up to 360 bytes per character; JSON needs no limit."""

_MAX_KEYS = 200
"""Maximum keys of an object in a list. The longest metadata that can be stored has fewer."""

_TEXT_KEYS = ("text", "content", "document", "page_content", "body")
"""Keys that clients use for the text of an object."""

MAX_ID = 512
"""Maximum characters of an id."""

MAX_QUOTED = 60
"""Maximum characters of an invalid value that an error repeats."""


def quoted(value: object) -> str:
    """Format an invalid value for an error message: shortened, with its type.

    Example:
        >>> quoted(5)
        '5 (int)'
    """
    text = repr(value[:MAX_QUOTED]) if isinstance(value, str) else reprlib.repr(value)
    return f"{text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + '…'} ({type(value).__name__})"


def parse_literal(value: object) -> object:
    """Parse a string that holds a JSON or Python literal, also in a Markdown fence; return other values unchanged.

    Only lists and objects are parsed: a text that happens to be a number or a quoted word remains a text.

    Example:
        >>> parse_literal("['a', 'b']")
        ['a', 'b']
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    fenced = _FENCE.match(text)
    if fenced:
        text = fenced[1].strip()
    if not text.startswith(("[", "{", "(")):
        return value
    try:
        return parse_json(well_formed(text).encode())
    except ValueError:
        pass
    if len(text) > _MAX_LITERAL:
        return value
    try:
        parsed: object = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # TypeError: {[]}, a set of a list
        return value
    if isinstance(parsed, list | tuple):
        return list(parsed)
    return parsed if isinstance(parsed, dict) else value


def coerce_texts(name: str, value: object) -> list[str] | TextsById:
    """Return texts as a list, or as a map from id to text if the client gave ids.

    Args:
        name: The parameter name for error messages.
        value: A list of strings, one string, a map from id to text, or a list of objects with ``text`` and, in all or
            none of them, ``id``; each form also as a literal in a string.

    Raises:
        InputError: The value has another form or is too long, or two texts have the same id.

    Example:
        >>> coerce_texts("texts", '{"a1": "An apple"}')
        {'a1': 'An apple'}
    """
    value = parse_literal(value)
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        if any(isinstance(value.get(key), str) for key in _TEXT_KEYS) and len(value) <= 3 and "id" in value:
            value = [value]
        else:
            return _texts_by_id(name, value)
    if not isinstance(value, list | tuple):
        raise InputError(f"{name} is {quoted(value)}; allowed: a list of strings")
    check_length(name, value)
    if value and all(isinstance(item, Mapping) for item in value):
        return _from_objects(name, value)
    invalid = [position for position, item in enumerate(value) if not isinstance(item, str)]
    if invalid:
        raise InputError(_describe_invalid(name, value, invalid))
    return list(value)


def coerce_strings(name: str, value: object) -> list[str]:
    """Return a list of strings from a list, one string, or a literal in a string.

    Raises:
        InputError: The value has another form or is too long.
    """
    texts = coerce_texts(name, value)
    if isinstance(texts, dict):
        raise InputError(f"{name} is {quoted(value)}; allowed: a list of strings")
    return texts


def coerce_ids(name: str, value: object) -> list[Id]:
    """Return a list of ids from a list of strings and integers, a single one, or a literal in a string.

    Raises:
        InputError: The value has another form.
    """
    value = parse_literal(value)
    ids: list[Id] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if not is_id(item):
            raise InputError(f"{name} has {quoted(item)}; allowed: a list of ids as an answer names them")
        ids.append(item)
    return ids


def coerce_labels(name: str, value: object) -> list[str] | dict[str, str]:
    """Return labels as a list of names, or as a map from name to description.

    Args:
        name: The parameter name for error messages.
        value: A list of names, a map from name to description, objects with ``name`` and ``description``, or one string
            of names separated by commas, semicolons or line breaks.

    Raises:
        InputError: The value has another form, or a name occurs twice.

    Example:
        >>> coerce_labels("labels", "bug, question, praise")
        ['bug', 'question', 'praise']
    """
    value = parse_literal(value)
    if isinstance(value, str):
        separator = next((mark for mark in ("\n", ";", ",") if mark in value), "\n")
        labels = [part.strip(" \t-*") for part in value.split(separator)]
        return [label for label in labels if label] or [value]
    if isinstance(value, Mapping):
        invalid = [label for label, description in value.items() if not isinstance(description, str)]
        if invalid:
            raise InputError(
                f"{name}.{invalid[0]} is {quoted(value[invalid[0]])}; allowed: a sentence that describes it"
            )
        return {str(label): str(description) for label, description in value.items()}
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        check_length(name, value)
        descriptions: dict[str, str] = {}
        for position, item in enumerate(value):
            label = item.get("name", item.get("label"))
            description = item.get("description", "")
            if not isinstance(label, str) or not isinstance(description, str):
                raise InputError(f"{name}[{position}] is {quoted(item)}; allowed: an object with name and description")
            if label in descriptions:
                raise InputError(f"{name} has {label!r} twice; give each label once")
            descriptions[label] = description
        return descriptions
    return coerce_strings(name, value)


def coerce_source(name: str, value: object) -> object:
    """Unwrap a list of one source; return other values unchanged.

    Raises:
        InputError: The list does not have exactly one element.
    """
    sources = parse_literal(value)
    if not isinstance(sources, list | tuple):
        return value
    if len(sources) != 1:
        raise InputError(
            f"{name} has {len(sources):,} elements; allowed: one. Name a folder or a pattern such as 'docs/*.md', or "
            "put them into a collection by collection_add"
        )
    return sources[0]


def coerce_object(name: str, value: object) -> dict[str, object]:
    """Return an object from an object or a literal in a string.

    Raises:
        InputError: The value is not an object.
    """
    parsed = parse_literal(value)
    if not isinstance(parsed, Mapping):
        raise InputError(f'{name} is {quoted(value)}; allowed: an object, as in {{"year": {{"gte": 2020}}}}')
    return {str(key): item for key, item in parsed.items()}


def coerce_objects(name: str, value: object) -> list[dict[str, object]]:
    """Return a list of objects from a list, a single object, or a literal in a string.

    Raises:
        InputError: The value has another form or is too long.
    """
    parsed = parse_literal(value)
    items = [parsed] if isinstance(parsed, Mapping) else parsed
    if not isinstance(items, list | tuple):
        raise InputError(f"{name} is {quoted(value)}; allowed: a list of objects")
    check_length(name, items)
    for position, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise InputError(f"{name}[{position}] is {quoted(item)}; allowed: an object")
    return [{str(key): part for key, part in item.items()} for item in items]


def check_length(name: str, value: Collection[object], noun: str = "elements") -> None:
    """Reject a list or object with more elements, or larger objects, than a call may have.

    Raises:
        InputError: The value or one of its objects is too large.
    """
    if len(value) > MAX_TEXTS:
        raise InputError(
            f"{name} has {len(value):,} {noun}; at most {MAX_TEXTS:,} can be sent in one call: put them into a file or "
            "a collection and name it as source"
        )
    for position, item in enumerate(value):
        if isinstance(item, Mapping) and len(item) > _MAX_KEYS:
            raise InputError(
                f"{name}[{position}] has {len(item):,} keys; at most {_MAX_KEYS}: leave out what is not asked for"
            )


def _texts_by_id(name: str, value: Mapping[object, object]) -> TextsById:
    check_length(name, value, "texts")
    invalid = [key for key, text in value.items() if not isinstance(text, str)]
    if invalid or not value:
        fault = (
            f"{name}[{invalid[0]!r:.40}] is {quoted(value[invalid[0]])}" if invalid else f"{name} is an empty object"
        )
        raise InputError(f"{fault}; allowed: a list of strings, or an object from id to text")
    return _checked_ids(name, {key if isinstance(key, int) else str(key): str(text) for key, text in value.items()})


def _from_objects(name: str, items: Sequence[Mapping[str, object]]) -> list[str] | TextsById:
    texts: list[str] = []
    ids: list[Id] = []
    for position, item in enumerate(items):
        text = next((item[key] for key in _TEXT_KEYS if isinstance(item.get(key), str)), None)
        if not isinstance(text, str):
            raise InputError(f"{name}[{position}] is {quoted(item)}; allowed: a string, or an object with id and text")
        texts.append(text)
        key = item.get("id")
        if is_id(key):
            ids.append(key)
    if not ids:
        return texts
    if len(ids) < len(texts):
        raise InputError(f"{name} has {len(texts) - len(ids):,} objects without id; give every one an id, or none")
    by_id = dict(zip(ids, texts, strict=True))
    if len(by_id) < len(ids):
        duplicate = next(key for position, key in enumerate(ids) if key in ids[:position])
        raise InputError(f"{name} has the id {duplicate!r:.60} twice; every text needs an id of its own")
    return _checked_ids(name, by_id)


def is_id(value: object) -> TypeGuard[Id]:
    """Return whether a value can be an id."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _checked_ids(name: str, by_id: TextsById) -> TextsById:
    """Reject ids so long that they would fill answers.

    Raises:
        InputError: An id is too long.
    """
    for key in by_id:
        if isinstance(key, str) and len(key) > MAX_ID:
            raise InputError(f"{name} has an id of {len(key):,} characters, {quoted(key)}; at most {MAX_ID}")
    return by_id


def _describe_invalid(name: str, value: Sequence[object], invalid: Sequence[int]) -> str:
    """Describe the elements that are not strings, naming the first few."""
    named = [f"{name}[{position}] is {quoted(value[position])}" for position in invalid[:4]]
    rest = [f"and {len(invalid) - 4:,} more"] if len(invalid) > 4 else []
    return f"{'; '.join(named + rest)}; allowed: a string"
