"""JSON schemas as small and plain as clients need them."""

from pydantic import BaseModel

JsonSchema = dict[str, object]


def input_schema(model: type[BaseModel]) -> JsonSchema:
    """The schema of a tool's arguments: no titles, and no union with null, since absent says the same.

    Clients' models mishandle unions: they send lists as JSON strings.
    """
    return _without_docstrings(_plain(model.model_json_schema(), optional=True))


def output_schema(model: type[BaseModel]) -> JsonSchema:
    """The schema of a tool's result: no titles, and no docstrings, which say no more than the names."""
    schema = _plain(model.model_json_schema(mode="serialization"), optional=False)
    return _without_docstrings(schema)


def _plain(schema: JsonSchema, *, optional: bool) -> JsonSchema:
    plain = {key: _nested(value, optional=optional) for key, value in schema.items()}
    if isinstance(plain.get("title"), str):
        del plain["title"]
    if optional:
        plain = _without_null(plain)
    return plain


def _nested(value: object, *, optional: bool) -> object:
    if isinstance(value, dict):
        return _plain(value, optional=optional)
    if isinstance(value, list):
        return [_nested(item, optional=optional) for item in value]
    return value


def _without_null(schema: JsonSchema) -> JsonSchema:
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    (only,) = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**only, **rest}


def _without_docstrings(schema: JsonSchema) -> JsonSchema:
    """Drop the docstrings of the models, keep the descriptions of their fields."""
    del schema["description"]
    definitions = schema.get("$defs")
    if isinstance(definitions, dict):
        for definition in definitions.values():
            definition.pop("description", None)
    return schema
