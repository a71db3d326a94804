"""Annotations that several tools' parameters share: description, range, and what clients may send instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, GetPydanticSchema, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.lenient_json import parse_json
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.tools.texts import MAX_TEXTS, well_formed

MAX_TOP = 1_000
"""The most pairs and hits that a caller may ask for."""

_MAX_KEYS = 200
"""Keys of one object in a list. Metadata of the longest JSON that is stored has fewer."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers a parameter allows: published in the schema, checked at each call of the tool.

    Attributes:
        minimum: The lowest.
        maximum: The highest.
        allowed: What the error says instead of ``minimum to maximum``.

    Example:
        >>> top: Annotated[int, Range(1, 1_000), Field(description="how many hits")] = 5
    """

    minimum: float
    maximum: float
    allowed: str = ""

    def check(self, name: str, value: float | None) -> None:
        """Refuse a number outside the range; None passes.

        Raises:
            InputError: It is outside, or not a number.
        """
        if value is not None and not self.minimum <= value <= self.maximum:  # false for NaN too
            allowed = self.allowed or f"{self.minimum:,} to {self.maximum:,}"
            raise InputError(f"{name}={value} is out of range; allowed: {allowed}")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Publish the range beside the type."""
        return handler(schema) | {"minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class OpenedByName:
    """Marks a parameter for which clients send the name of a collection."""


def parse_if_string(value: object) -> object:
    """Return what a string contains as JSON; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(well_formed(value).encode())
    except ValueError:
        return value


def _as_strings(value: object) -> object:
    """Accept one string as a list of one, and a JSON list of strings inside a string.

    Clients send all three forms whatever the schema says.
    """
    if not isinstance(value, str):
        return value
    parsed = parse_if_string(value)
    return parsed if isinstance(parsed, list) and all(isinstance(item, str) for item in parsed) else [value]


def _as_objects(value: object) -> object:
    """Accept one object as a list of one, and JSON of either inside a string."""
    parsed = parse_if_string(value)
    return [parsed] if isinstance(parsed, dict) else parsed


def _check_length(value: object, info: ValidationInfo) -> object:
    """Refuse a list that is longer, or has larger objects, than any call may have; pydantic would list every error.

    Raises:
        InputError: It is.
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


def validated_as(type_: object) -> GetPydanticSchema:
    """Validate and publish a parameter as another type than its annotation says, as a list for a ``Sequence``."""
    return GetPydanticSchema(lambda _, handler: handler(type_))


Strings = Annotated[
    Sequence[str], validated_as(list[str]), BeforeValidator(_check_length), BeforeValidator(_as_strings)
]
"""A list of strings, or one string."""

Texts = Annotated[Strings, Field(json_schema_extra={"minItems": 1, "maxItems": MAX_TEXTS})]
"""The texts of a call. The schema has their bounds; tools check them with better errors."""

OBJECTS = (BeforeValidator(_check_length), BeforeValidator(_as_objects))
"""Validators of a list of objects, or one object."""

MetadataObjects = Annotated[
    Mapping[str, object] | Sequence[Mapping[str, object]], validated_as(list[dict[str, object]]), *OBJECTS
]
"""Flat objects: one per text, or one for all."""

StoredTexts = Annotated[
    Collection | None,
    validated_as(str | None),
    OpenedByName(),
    Field(description="a stored collection, instead of texts"),
]

CollectionName = Annotated[
    str, Field(description="name of a collection", json_schema_extra={"minLength": 1, "maxLength": 64})
]

LongTexts = Annotated[
    LongText, Field(description="text over the token limit: average its windows, read its beginning, or refuse")
]

Top = Annotated[
    int | None,
    Range(1, MAX_TEXTS),
    Field(description="entries to list; absent: as many as fit a small answer"),
]

THRESHOLD = Range(0, 1, "a cosine from 0 to 1, or leave it out to have it chosen")
"""The range of a threshold."""
