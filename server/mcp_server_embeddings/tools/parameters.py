"""Annotations that several tools' parameters share: description, range, and how what clients send is coerced."""

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
"""The most entries of a list that a caller may ask for."""

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
"""Common names of parameters for which a tool's own name is meant, where it has that and not the synonym itself.

The own name may have a synonym again: ``similarity`` has no texts, but left.
"""

PLURALS = {"query": "queries"}
"""Names of parameters for one value, and for a list of them."""


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


def coerced(function: Callable[[str, object], object]) -> PlainValidator:
    """Validate a parameter with a function of ``tools/coercion.py``; None passes."""

    def validate(value: object, info: ValidationInfo) -> object:
        return None if value is None else function(info.field_name or "", value)

    return PlainValidator(validate)


STRINGS = WithJsonSchema({"type": "array", "items": {"type": "string"}})

Texts = Annotated[TextsOrMap | None, coerced(coerce_texts), STRINGS]
"""The texts of a call, or a map from id to text. The schema is a plain array: models handle unions badly."""

Strings = Annotated[Sequence[str] | None, coerced(coerce_strings), STRINGS]

Ids = Annotated[Sequence[Id] | None, coerced(coerce_ids), STRINGS, Field(description="only these")]


def _one_source(value: object, info: ValidationInfo) -> object:
    return coerce_source(info.field_name or "", value)


ONE_SOURCE = BeforeValidator(_one_source)
"""Takes a list of one source too."""

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
"""Flat objects: one per text, or one for all."""

CollectionName = Annotated[str, Field(description="its name", json_schema_extra={"minLength": 1, "maxLength": 64})]

LongTexts = Annotated[LongText, Field(description="over the token limit")]

SaveAs = Annotated[str | None, Field(description="new .csv, .jsonl or .parquet")]

Tag = Annotated[str | None, Field(description="store results as this metadata")]

THRESHOLD = Range(0, 1, "a cosine from 0 to 1, or leave it out to have it chosen")
"""The range of a threshold."""
