"""JSON schemas of tools, reduced to what clients need."""

from pydantic import BaseModel, TypeAdapter

JsonSchema = dict[str, object]

_DEPTH = 2
"""Levels of nested objects whose fields an output schema lists: the result, and the entries of its lists."""

_SCHEMAS = TypeAdapter(list[JsonSchema])
_NAMED_SCHEMAS = TypeAdapter(dict[str, JsonSchema])


def input_schema(model: type[BaseModel]) -> JsonSchema:
    """Return the schema of a tool's arguments, without titles, references and unions with null.

    An absent argument means the same as null. Models mishandle unions: they send lists as JSON strings.
    """
    schema = model.model_json_schema()
    plain = _simplified(schema, _named_schemas(schema, "$defs"))
    # Synonyms of parameters are accepted, and an unknown name is refused with an error that suggests the nearest.
    del plain["additionalProperties"]
    return plain


def output_schema(model: type[BaseModel]) -> JsonSchema:
    """Return an outline of a tool's result: its fields and their types, and the fields of objects in lists.

    The tool's description and the models themselves (``tools/results.py``) document the fields. Full schemas of all
    results would cost every client twice the tokens of everything else in ``tools/list``. No field is required, since a
    result omits fields that have their default.
    """
    schema = model.model_json_schema(mode="serialization")
    return _object_outline(schema, _named_schemas(schema, "$defs"), _DEPTH)


def _named_schemas(schema: JsonSchema, key: str) -> dict[str, JsonSchema]:
    return _NAMED_SCHEMAS.validate_python(schema.get(key, {}))


def _resolve(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Return the schema that a reference points to; return any other schema unchanged."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return {**definitions[reference.rsplit("/", 1)[-1]], **{key: schema[key] for key in schema if key != "$ref"}}


def _simplified(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    schema = _without_null(_resolve(schema, definitions))
    plain = {key: value for key, value in schema.items() if key not in ("title", "$defs")}
    if plain.get("default", ...) is None:  # an absent argument means the same
        del plain["default"]
    if "properties" in plain:
        fields = _named_schemas(schema, "properties")
        plain["properties"] = {name: _simplified(field, definitions) for name, field in fields.items()}
    if "items" in plain:
        (items,) = _SCHEMAS.validate_python([plain["items"]])
        plain["items"] = {key: value for key, value in _simplified(items, definitions).items() if key != "description"}
    return plain


def _without_null(schema: JsonSchema) -> JsonSchema:
    choices = _SCHEMAS.validate_python(schema.get("anyOf", []))
    if {"type": "null"} not in choices:
        return schema
    non_null = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**non_null[0], **rest} if len(non_null) == 1 else {"anyOf": non_null, **rest}


def _object_outline(schema: JsonSchema, definitions: dict[str, JsonSchema], depth: int) -> JsonSchema:
    if not depth:
        return {"type": "object"}
    fields = _named_schemas(schema, "properties")
    outlines = {name: _outline(field, definitions, depth) for name, field in fields.items()}
    return {"type": "object", "properties": outlines}


def _outline(schema: JsonSchema, definitions: dict[str, JsonSchema], depth: int) -> JsonSchema:
    schema = _resolve(_without_null(_resolve(schema, definitions)), definitions)
    if "enum" in schema:
        return {"enum": schema["enum"]}
    choices = [_resolve(choice, definitions) for choice in _SCHEMAS.validate_python(schema.get("anyOf", []))]
    if choices:  # one type in each: some clients do not support a list of types
        types = list(dict.fromkeys(str(choice["type"]) for choice in choices))
        return {"type": types[0]} if len(types) == 1 else {"anyOf": [{"type": name} for name in types]}
    items = schema.get("items")
    if items is None:
        return {"type": schema["type"]} if "type" in schema else {}
    item = _resolve(_SCHEMAS.validate_python([items])[0], definitions)
    if "items" in item:  # a list of lists, such as a matrix or groups
        return {"type": "array", "items": {"type": "array"}}
    item_outline = (
        _object_outline(item, definitions, depth - 1) if "properties" in item else _outline(item, definitions, depth)
    )
    return {"type": "array", "items": item_outline}
