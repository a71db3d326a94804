"""Validate the arguments that a client sends to a tool, with errors that a model can act on."""

import difflib
from collections.abc import Container, Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.coercion import SHOWN, shown
from mcp_server_embeddings.tools.declaration import Arguments
from mcp_server_embeddings.tools.parameters import PLURALS, SYNONYMS

A = TypeVar("A", bound=Arguments)

_MAX_ERRORS = 4
"""Maximum number of errors that are described; a list of 2,000 numbers has 2,000."""

_LISTS = {"examples": "a list of objects with text and label", "metadata": "a list of objects"}
"""List arguments whose elements are not strings, and their description."""

_EXAMPLE = ["text", "label"]
"""The keys of an example."""

_ALLOWED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "an object",
    "model_type": "an object with text and label",
}
"""Description of the allowed values, by the type of pydantic's error."""


def parse(model: type[A], raw: Mapping[str, object]) -> A:
    """Return the validated arguments.

    Args:
        model: The arguments of the tool, or of an HTTP request.
        raw: The arguments as the client sent them.

    Raises:
        InputError: An argument is missing, unknown or of the wrong type; the first four errors are described.
    """
    fields = model.model_fields
    raw = own_names(raw, fields)
    # Clients send null for arguments that their model left out.
    sent = {k: raw[k] for k in fields if k in raw and (raw[k] is not None or fields[k].is_required())}
    unknown = [name for name in raw if name not in fields]
    try:
        return model.model_validate(sent | dict.fromkeys(unknown[:_MAX_ERRORS]))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        sentences = [_sentence(one, list(fields)) for one in errors[:_MAX_ERRORS]]
        rest = len(errors) - len(sentences) + len(unknown[_MAX_ERRORS:])
        more = [f"and {rest:,} more faults"] if rest else []
        raise InputError("; ".join(sentences + more)) from None


def own_names(raw: Mapping[str, object], fields: Container[str]) -> dict[str, object]:
    """Return the arguments with synonyms replaced by the tool's own parameter names.

    Args:
        raw: The arguments as the client sent them.
        fields: The parameters of the tool.
    """
    return {_own_name(name, value, raw, fields): value for name, value in raw.items()}


def _own_name(name: str, value: object, raw: Container[str], fields: Container[str]) -> str:
    """Return the tool's own name of a parameter that the client named by a synonym, or by the singular for a list."""
    own = PLURALS.get(name, name) if isinstance(value, list) else name
    while own not in fields and own in SYNONYMS:
        own = SYNONYMS[own]
    return own if own in fields and own not in raw else name


def _sentence(error: ErrorDetails, known: list[str]) -> str:
    """Return a sentence that says what was sent, what is allowed and what to do."""
    where = _path(error["loc"])
    kind = error["type"]
    if kind == "missing":
        return f"{where} is missing; it is required"
    if kind == "extra_forbidden":
        known = known if len(error["loc"]) == 1 else _EXAMPLE
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        advice = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown argument {where!r}; {advice}allowed: {', '.join(known) or 'none'}"
    if kind == "list_type":
        allowed = _LISTS.get(where, "a list of strings")
    elif kind == "literal_error":
        allowed = "one of " + str(error.get("ctx", {}).get("expected", ""))
    else:
        allowed = _ALLOWED.get(kind, error["msg"])
    return f"{where} is {shown(error['input'])}; allowed: {allowed}"


def _path(location: tuple[int | str, ...]) -> str:
    head, *rest = location
    return str(head)[:SHOWN] + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:SHOWN]}" for part in rest)
