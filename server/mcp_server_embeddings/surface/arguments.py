"""What a client may send to each tool: the published schemas, and errors a model can act on."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.engine.tokens import LongText
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.similarity import MAX_TOP
from mcp_server_embeddings.tools.texts import MAX_TEXTS
from mcp_server_embeddings.vectors.similarity import Metric

_FAULTS = 4
"""Faults that one error names; a list of 2,000 numbers has 2,000."""

_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


def _as_list(value: object) -> object:
    """A bare string is a list of one; a JSON list of strings inside a string is that list.

    Clients send all three forms whatever the schema says.
    """
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    if isinstance(decoded, list) and all(isinstance(item, str) for item in decoded):
        return decoded
    return [value]


_BOUNDS: JsonDict = {"minItems": 1, "maxItems": MAX_TEXTS}

Texts = Annotated[list[str], BeforeValidator(_as_list)]
Windows = Annotated[
    LongText,
    Field(
        description="a text over the model's token limit: 'window' averages overlapping windows, 'truncate' "
        "reads its beginning, 'error' refuses it"
    ),
]


class Arguments(BaseModel):
    """The arguments of one tool; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbedArguments(Arguments):
    """Arguments of ``embed``."""

    texts: Texts = Field(description="texts to embed", json_schema_extra=_BOUNDS)
    role: Role = Field(
        default="symmetric",
        description="'query' or 'document' for search, 'symmetric' to compare like with like",
    )
    dimensions: int | None = Field(
        default=None,
        description="shorten the vectors; only for Matryoshka models",
        json_schema_extra={"minimum": 1},
    )
    encoding: Literal["float", "base64"] = Field(
        default="float", description="base64: little-endian float32, half the size"
    )
    output: Literal["auto", "inline", "file"] = Field(
        default="auto", description="'file' writes a .npy; 'auto' is inline up to 4,096 numbers, else a file"
    )
    long_text: Windows = "window"


class SimilarityArguments(Arguments):
    """Arguments of ``similarity``."""

    left: Texts = Field(description="texts", json_schema_extra=_BOUNDS)
    right: Texts | None = Field(
        default=None,
        description="texts to compare left with; absent: every pair inside left",
        json_schema_extra=_BOUNDS,
    )
    metric: Metric = Field(default="cosine", description="of the score; distances are negated, so higher is closer")
    top: int = Field(
        default=10,
        description="how many of the closest pairs to return",
        json_schema_extra={"minimum": 1, "maximum": MAX_TOP},
    )
    long_text: Windows = "window"


class StatusArguments(Arguments):
    """``status`` takes no arguments."""


A = TypeVar("A", bound=Arguments)


def parsed(model: type[A], raw: Mapping[str, object]) -> A:
    """The validated arguments.

    Raises:
        InputError: Something is missing, unknown or of the wrong type; the first faults are named.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        known = list(model.model_fields)
        faults = [_sentence(fault, known) for fault in error.errors(include_url=False)]
        more = [f"and {len(faults) - _FAULTS:,} more faults"] if len(faults) > _FAULTS else []
        raise InputError("; ".join(faults[:_FAULTS] + more)) from None


def _sentence(fault: ErrorDetails, known: list[str]) -> str:
    """What came, what is allowed, what to do."""
    where = _path(fault["loc"])
    kind = fault["type"]
    if kind == "missing":
        return f"{where} is missing; it is required"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(where, known, n=1)
        advice = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown argument {where!r}; {advice}allowed: {', '.join(known) or 'none'}"
    allowed = {
        "string_type": "a string",
        "list_type": "a list of strings",
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "finite_number": "a whole number",
        "literal_error": "one of " + str(fault.get("ctx", {}).get("expected", "")),
    }.get(kind, fault["msg"])
    return f"{where} is {_shown(fault['input'])}; allowed: {allowed}"


def _path(location: tuple[int | str, ...]) -> str:
    head, *rest = location
    return str(head) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'} ({type(value).__name__})"
