"""What a client may send to each tool: the published schemas, and errors a model can act on."""

import difflib
import reprlib
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.mcp_layer.messages import parsed_json
from mcp_server_embeddings.tools.texts import MAX_TEXTS, well_formed

_FAULTS = 4
"""Faults that one error names; a list of 2,000 numbers has 2,000."""

SHOWN = 60
"""Characters of a wrong value that an error repeats."""

_MAX_KEYS = 200
"""Keys of one object in a list. Metadata of the longest JSON that is stored has fewer."""


def _as_list(value: object) -> object:
    """A bare string is a list of one; a JSON list of strings inside a string is that list.

    Clients send all three forms whatever the schema says.
    """
    if not isinstance(value, str):
        return value
    decoded = as_json(value)
    return decoded if isinstance(decoded, list) and all(isinstance(item, str) for item in decoded) else [value]


def as_json(value: object) -> object:
    """What a string holds as JSON; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parsed_json(well_formed(value).encode())
    except ValueError:
        return value


def within_bounds(value: object, info: ValidationInfo) -> object:
    """Refuse a list with more elements, or an object in it with more keys, than any call may have.

    Pydantic would build a fault for each of them.

    Raises:
        InputError: There are more.
    """
    if not isinstance(value, list):
        return value
    if len(value) > MAX_TEXTS:
        raise InputError(
            f"{info.field_name} has {len(value):,} elements; at most {MAX_TEXTS:,} texts in one call: "
            "split them over several calls"
        )
    for position, item in enumerate(value):
        if isinstance(item, dict) and len(item) > _MAX_KEYS:
            raise InputError(
                f"{info.field_name}[{position}] has {len(item):,} keys; at most {_MAX_KEYS}: leave out what is not "
                "asked for"
            )
    return value


_LISTS = {"examples": "a list of objects with text and label", "metadata": "a list of objects"}
"""The arguments that are no list of strings."""

_EXAMPLE = ["text", "label"]
"""The parts of an example."""

BOUNDS: JsonDict = {"minItems": 1, "maxItems": MAX_TEXTS}
"""Of a list of texts, for the schema. The tools check them, with better words."""

Texts = Annotated[list[str], BeforeValidator(within_bounds), BeforeValidator(_as_list)]

StoredTexts = Annotated[str | None, Field(description="a stored collection, instead of texts")]

CollectionName = Annotated[
    str, Field(description="name of a collection", json_schema_extra={"minLength": 1, "maxLength": 64})
]

Json = Annotated[dict[str, object], BeforeValidator(as_json)]
"""An object, or JSON of one inside a string."""


def as_objects(value: object) -> object:
    """As for texts: one object is a list of one, and JSON inside a string is what it holds."""
    decoded = as_json(value)
    return [decoded] if isinstance(decoded, dict) else decoded


Objects = Annotated[list[dict[str, object]], BeforeValidator(within_bounds), BeforeValidator(as_objects)]

LongTexts = Annotated[
    LongText,
    Field(description="text over the token limit: average its windows, read its beginning, or refuse"),
]

Top = Annotated[
    int | None,
    Field(
        description="entries to list; absent: as many as fit a small answer",
        json_schema_extra={"minimum": 1, "maximum": MAX_TEXTS},
    ),
]


class Arguments(BaseModel):
    """The arguments of one tool; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


A = TypeVar("A", bound=Arguments)


def parsed(model: type[A], raw: Mapping[str, object]) -> A:
    """The validated arguments.

    Raises:
        InputError: Something is missing, unknown or of the wrong type; the first faults are named.
    """
    fields = model.model_fields
    # Clients fill in null for what their model left out.
    sent = {k: raw[k] for k in fields if k in raw and (raw[k] is not None or fields[k].is_required())}
    unknown = [name for name in raw if name not in fields]
    try:
        return model.model_validate(sent | dict.fromkeys(unknown[:_FAULTS]))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        sentences = [_sentence(fault, list(fields)) for fault in faults[:_FAULTS]]
        unnamed = len(faults) - len(sentences) + len(unknown[_FAULTS:])
        more = [f"and {unnamed:,} more faults"] if unnamed else []
        raise InputError("; ".join(sentences + more)) from None


def _sentence(fault: ErrorDetails, known: list[str]) -> str:
    """What came, what is allowed, what to do."""
    where = _path(fault["loc"])
    kind = fault["type"]
    if kind == "missing":
        return f"{where} is missing; it is required"
    if kind == "extra_forbidden":
        known = known if len(fault["loc"]) == 1 else _EXAMPLE
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        advice = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown argument {where!r}; {advice}allowed: {', '.join(known) or 'none'}"
    allowed = {
        "string_type": "a string",
        "list_type": _LISTS.get(where, "a list of strings"),
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
        "literal_error": "one of " + str(fault.get("ctx", {}).get("expected", "")),
    }.get(kind, fault["msg"])
    return f"{where} is {_shown(fault['input'])}; allowed: {allowed}"


def _path(location: tuple[int | str, ...]) -> str:
    head, *rest = location
    return str(head)[:SHOWN] + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:SHOWN]}" for part in rest)


def _shown(value: object) -> str:
    text = repr(value[:SHOWN]) if isinstance(value, str) else reprlib.repr(value)
    return f"{text if len(text) <= SHOWN else text[:SHOWN] + '…'} ({type(value).__name__})"
