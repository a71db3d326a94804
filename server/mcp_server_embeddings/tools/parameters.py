"""Annotations shared by the parameters of several tools: description, range, and coercion of client input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.coercion import (
    Id,
    TextsOrMap,
    coerce_ids,
    coerce_object,
    coerce_objects,
    coerce_source,
    coerce_strings,
    coerce_texts,
)

MAX_TOP = 1_000
"""Maximum number of list entries that a caller may request."""

SYNONYMS = {
    "documents": "texts",
    "docs": "texts",
    "items": "texts",
    "inputs": "texts",
    "input": "texts",
    "text": "texts",
    "texts": "left",
    "text1": "left",
    "text2": "right",
    "a": "left",
    "b": "right",
    "old": "left",
    "new": "right",
    "before": "left",
    "after": "right",
    "old_source": "left_source",
    "new_source": "right_source",
    "path": "source",
    "file": "source",
    "paths": "source",
    "source": "left_source",
    "collection_name": "collection",
    "collections": "source",
    "collection": "source",
    "id": "ids",
    "id_column": "id_field",
    "filter": "where",
    "filters": "where",
    "k": "top",
    "top_k": "top",
    "limit": "top",
    "n": "top",
    "max_results": "top",
    "n_clusters": "clusters",
    "num_clusters": "clusters",
    "categories": "labels",
    "classes": "labels",
    "budget": "max_tokens",
    "tokens": "max_tokens",
    "question": "query",
    "q": "query",
    "output": "save_as",
    "metadatas": "metadata",
}
"""Common names of parameters, by which a client may call a tool's own. A name that the tool has itself is kept.

Synonyms are followed in turn: ``similarity`` has no ``texts``, so ``documents`` means ``left``.
"""

PLURALS = {"query": "queries"}
"""Names of parameters for one value, each with the name of the parameter for a list of values."""


@dataclass(frozen=True, slots=True)
class Range:
    """The range of a numeric parameter: published in the schema, checked at each call of the tool.

    ``allowed`` describes it in errors, ``minimum to maximum`` by default.

    Example:
        >>> top: Annotated[int, Range(1, 1_000), Field(description="how many hits")] = 5
    """

    minimum: float
    maximum: float
    allowed: str = ""

    def check(self, name: str, value: float | None) -> None:
        """Reject a number outside the range; None passes.

        Raises:
            InputError: The value is out of range or NaN.
        """
        if value is not None and not self.minimum <= value <= self.maximum:  # false for NaN too
            allowed = self.allowed or f"{self.minimum:,} to {self.maximum:,}"
            raise InputError(f"{name}={value} is out of range; allowed: {allowed}")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the range to the schema of the type."""
        return handler(schema) | {"minimum": self.minimum, "maximum": self.maximum}


def coerced(function: Callable[[str, object], object]) -> PlainValidator:
    """Return a validator that applies a function of ``tools/coercion.py``; None passes."""

    def validate(value: object, info: ValidationInfo) -> object:
        return None if value is None else function(info.field_name or "", value)

    return PlainValidator(validate)


STRINGS = WithJsonSchema({"type": "array", "items": {"type": "string"}})

Texts = Annotated[TextsOrMap | None, coerced(coerce_texts), STRINGS]
"""The texts of a call, or a map from id to text. The schema is a plain array, because models handle unions badly."""

Strings = Annotated[Sequence[str] | None, coerced(coerce_strings), STRINGS]

Ids = Annotated[Sequence[Id] | None, coerced(coerce_ids), STRINGS, Field(description="only these")]


def _one_source(value: object, info: ValidationInfo) -> object:
    return coerce_source(info.field_name or "", value)


ONE_SOURCE = BeforeValidator(_one_source)
"""Also accepts a list of one source."""

Source = Annotated[str | None, ONE_SOURCE, Field(description="or collection or path")]

IdField = Annotated[str | None, Field(description="id column")]

WhereFilter = Annotated[
    Where | None,
    coerced(coerce_object),
    WithJsonSchema({"type": "object"}),
    Field(description='filter: {"year": {"gte": 2020}}'),
]

MetadataObjects = Annotated[
    Mapping[str, object] | Sequence[Mapping[str, object]] | None,
    coerced(coerce_objects),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}),
]
"""Flat objects: one per text, or one for all texts."""

CollectionName = Annotated[str, Field(description="its name", json_schema_extra={"minLength": 1, "maxLength": 64})]

LongTexts = Annotated[LongText, Field(description="over the token limit")]

SaveAs = Annotated[str | None, Field(description="new .csv, .jsonl or .parquet")]

Tag = Annotated[str | None, Field(description="store results as this metadata")]

THRESHOLD = Range(0, 1, "a cosine from 0 to 1, or leave it out to have it chosen")
"""Range of a similarity threshold."""
