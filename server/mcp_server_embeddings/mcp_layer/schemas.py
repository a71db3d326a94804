"""JSON schemas as small and plain as clients need them."""

from pydantic import BaseModel, TypeAdapter

JsonSchema = dict[str, object]


def input_schema(model: type[BaseModel]) -> JsonSchema:
    """The schema of a tool's arguments: no titles, no references, no union with null, since absent says the same.

    Clients' models mishandle unions: they send lists as JSON strings.
    """
    schema = model.model_json_schema()
    return _plain(schema, _definitions(schema))


def output_schema(model: type[BaseModel]) -> JsonSchema:
    """The outline of a tool's result: its fields and their types, and the fields of objects in lists.

    What they mean is in the tool's description, and in the models themselves (``tools/results.py``). PutResult out
    in full, the schemas of all results would cost every client twice the tokens of everything else in the list.
    All fields are always present; ``required`` would say so, and cost its tokens again.
    """
    schema = model.model_json_schema(mode="serialization")
    return _object(schema, _definitions(schema))


def _definitions(schema: JsonSchema) -> dict[str, JsonSchema]:
    return TypeAdapter(dict[str, JsonSchema]).validate_python(schema.get("$defs", {}))


def _parts(value: object) -> list[JsonSchema]:
    return TypeAdapter(list[JsonSchema]).validate_python(value)


def _fields(schema: JsonSchema) -> dict[str, JsonSchema]:
    return TypeAdapter(dict[str, JsonSchema]).validate_python(schema["properties"])


def _resolved(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """What a reference stands for; a schema that is none as it is."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return {**definitions[reference.rsplit("/", 1)[-1]], **{key: schema[key] for key in schema if key != "$ref"}}


def _plain(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    schema = _without_null(_resolved(schema, definitions))
    plain = {key: value for key, value in schema.items() if key not in ("title", "$defs")}
    if "properties" in plain:
        plain["properties"] = {name: _plain(field, definitions) for name, field in _fields(schema).items()}
    if "items" in plain:
        (items,) = _parts([plain["items"]])
        plain["items"] = {key: value for key, value in _plain(items, definitions).items() if key != "description"}
    return plain


def _without_null(schema: JsonSchema) -> JsonSchema:
    if {"type": "null"} not in _parts(schema.get("anyOf", [])):
        return schema
    (only,) = [choice for choice in _parts(schema["anyOf"]) if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**only, **rest}


def _object(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    fields = {name: _outline(field, definitions) for name, field in _fields(schema).items()}
    return {"type": "object", "properties": fields}


def _outline(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    schema = _resolved(schema, definitions)
    choices = [_outline(choice, definitions) for choice in _parts(schema.get("anyOf", []))]
    if choices:
        return {"anyOf": choices}
    items = schema.get("items")
    if items is None:
        return {"type": schema["type"]}
    (item,) = (_resolved(part, definitions) for part in _parts([items]))
    return {
        "type": "array",
        "items": _object(item, definitions) if "properties" in item else _outline(item, definitions),
    }
