"""Validate the arguments that a client sends to a tool, with errors that a model can act on."""

import difflib
from collections.abc import Container, Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.coercion import MAX_QUOTED, quoted
from mcp_server_embeddings.tools.declaration import Arguments
from mcp_server_embeddings.tools.parameters import PLURALS, SYNONYMS

A = TypeVar("A", bound=Arguments)

_MAX_ERRORS = 4
"""Maximum number of errors that are described; a list of 2,000 numbers has 2,000."""

_LIST_DESCRIPTIONS = {"examples": "a list of objects with text and label", "metadata": "a list of objects"}
"""List arguments whose elements are not strings, and their description."""

_EXAMPLE_KEYS = ["text", "label"]
"""The keys of an example."""

_ALLOWED_VALUES = {
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
    raw = canonical_names(raw, fields)
    # Clients send null for arguments that their model left out.
    arguments = {k: raw[k] for k in fields if k in raw and (raw[k] is not None or fields[k].is_required())}
    unknown = [name for name in raw if name not in fields]
    try:
        return model.model_validate(arguments | dict.fromkeys(unknown[:_MAX_ERRORS]))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        sentences = [_sentence(details, list(fields)) for details in errors[:_MAX_ERRORS]]
        omitted = len(errors) - len(sentences) + len(unknown[_MAX_ERRORS:])
        if omitted:
            sentences.append(f"and {omitted:,} more faults")
        raise InputError("; ".join(sentences)) from None


def canonical_names(raw: Mapping[str, object], fields: Container[str]) -> dict[str, object]:
    """Return the arguments with synonyms replaced by the tool's canonical parameter names.

    Args:
        raw: The arguments as the client sent them.
        fields: The parameters of the tool.
    """
    return {_canonical_name(name, value, raw, fields): value for name, value in raw.items()}


def _canonical_name(name: str, value: object, raw: Container[str], fields: Container[str]) -> str:
    """Return the tool's canonical name of a parameter sent under a synonym, or under the singular for a list."""
    canonical = PLURALS.get(name, name) if isinstance(value, list) else name
    while canonical not in fields and canonical in SYNONYMS:
        canonical = SYNONYMS[canonical]
    return canonical if canonical in fields and canonical not in raw else name


def _sentence(error: ErrorDetails, known: list[str]) -> str:
    """Return a sentence that says what was sent, what is allowed and what to do."""
    name = _location(error["loc"])
    error_type = error["type"]
    if error_type == "missing":
        return f"{name} is missing; it is required"
    if error_type == "extra_forbidden":
        known = known if len(error["loc"]) == 1 else _EXAMPLE_KEYS
        matches = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        advice = f"did you mean {matches[0]!r}? " if matches else ""
        return f"unknown argument {name!r}; {advice}allowed: {', '.join(known) or 'none'}"
    if error_type == "list_type":
        allowed = _LIST_DESCRIPTIONS.get(name, "a list of strings")
    elif error_type == "literal_error":
        allowed = "one of " + str(error.get("ctx", {}).get("expected", ""))
    else:
        allowed = _ALLOWED_VALUES.get(error_type, error["msg"])
    return f"{name} is {quoted(error['input'])}; allowed: {allowed}"


def _location(path: tuple[int | str, ...]) -> str:
    head, *rest = path
    return str(head)[:MAX_QUOTED] + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part[:MAX_QUOTED]}" for part in rest
    )
