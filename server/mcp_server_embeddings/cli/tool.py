"""Run a tool as a command: options derive from its declaration, sources are operands, the answer is tables or JSON."""

import argparse
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mcp_server_embeddings.cli.answer import say_answer
from mcp_server_embeddings.cli.output import say_json
from mcp_server_embeddings.cli.paths import locate_path
from mcp_server_embeddings.cli.session import Task, run_with_store
from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.mcp_layer.arguments import parse
from mcp_server_embeddings.mcp_layer.schemas import input_schema
from mcp_server_embeddings.reading.parsing import TABLE_SUFFIXES
from mcp_server_embeddings.reading.tables import is_table, read_table
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.declaration import Arguments, Tool, ToolContext, declared_tools
from mcp_server_embeddings.tools.results import Result

STANDARD_INPUT = "-"

_TEXT_FIELDS = {"source": "texts", "left_source": "left", "right_source": "right"}
"""The parameter for a source, and the one for texts that replaces it when the source is standard input."""

_METAVARS = {"source": "SOURCE", "left_source": "LEFT", "right_source": "RIGHT", "collection": "NAME", "ids": "ID"}

_SOURCE_HELP = "a collection, a path, a pattern, a table's column as tickets.csv#message, or -: standard input"


def add_options(parser: argparse.ArgumentParser, name: str, without: Collection[str] = ()) -> None:
    """Add the operands and options of a tool, derived from its signature.

    Args:
        parser: The parser of the command.
        name: The name of the tool.
        without: Parameters that are not offered.
    """
    fields = {field: schema for field, schema in _schemas(declared_tools()[name]).items() if field not in without}
    operands = _operand_nargs(fields)
    for field, number in operands.items():
        description = _SOURCE_HELP if field in _TEXT_FIELDS else str(fields[field].get("description", ""))
        parser.add_argument(field, metavar=_METAVARS.get(field, field.upper()), nargs=number, help=_escape(description))
    group = parser.add_argument_group("options of the tool", argument_default=argparse.SUPPRESS)
    for field in fields:
        if field not in operands:
            _add_option(group, field, fields[field])
    parser.add_argument("--json", action="store_true", help="print the structured content of the tool's answer")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Call the tool and print its answer.

    Raises:
        CallerError: The tool refuses the arguments.
        OperatorError: The model, the store or a file cannot be used.
    """
    tool = declared_tools()[options.tool]
    settings, arguments = prepare_call(tool, settings, options)

    def work(engine: Engine, store: CollectionStore, task: Task) -> Result:
        return tool.call(ToolContext(engine, engine.embedder(task.call), store, None, settings), arguments)

    result = run_with_store(settings, work, load_model=tool.name != "status")
    if options.json:
        say_json(result.compact())
    else:
        say_answer(result)
    return 0


def prepare_call(tool: Tool, settings: Settings, options: argparse.Namespace) -> tuple[Settings, Arguments]:
    """Return the arguments for a tool, and settings that allow it to read the given paths.

    Raises:
        CallerError: The tool refuses the arguments, or a source does not exist.
    """
    with closing(open_store(settings)) as store:
        collections = {record.name: list(store.open(record.name).sources()) for record in store.list()}
    raw, folders = _arguments(tool, options, collections, readable=bool(settings.allow_dir))
    output_dir = settings.output_dir or Path.cwd()
    if isinstance(name := raw.get("save_as"), str):
        output_dir, raw["save_as"] = output_dir / Path(name).parent, Path(name).name
    settings = replace(settings, allow_dir=(*folders, *settings.allow_dir), output_dir=output_dir)
    return settings, parse(tool.arguments, raw)


def _schemas(tool: Tool) -> dict[str, dict[str, Any]]:
    """Return the schema of each parameter of a tool."""
    return TypeAdapter(dict[str, dict[str, Any]]).validate_python(input_schema(tool.arguments)["properties"])


def _operand_nargs(fields: Mapping[str, object]) -> dict[str, str | None]:
    """Return the parameters that are operands, in order, each with argparse's ``nargs``."""
    operands: dict[str, str | None] = {}
    for field in ("collection", "source", "left_source", "right_source"):
        if field in fields:
            optional = _TEXT_FIELDS.get(field) in fields and "queries" not in fields
            operands[field] = "?" if optional else None
    if "queries" in fields:
        operands["query"] = "*"
    if "ids" in fields and "texts" not in fields:
        operands["ids"] = "*"
    return operands


def _add_option(group: "argparse._ArgumentGroup", field: str, schema: Mapping[str, Any]) -> None:
    flag, kind, default = "--" + field.replace("_", "-"), schema["type"], schema.get("default")
    description = str(schema.get("description", field.replace("_", " ")))
    if "minimum" in schema and "maximum" in schema:
        description += f", {schema['minimum']:,} to {schema['maximum']:,}"
    if default is not None and default is not False:
        description += f" (default: {'yes' if default is True else default})"
    text = _escape(description)
    if kind == "boolean":
        action = argparse.BooleanOptionalAction if default else "store_true"
        group.add_argument(flag, action=action, help=text)
    elif "enum" in schema:
        group.add_argument(flag, choices=schema["enum"], help=text)
    elif kind == "array":
        metavar = "TEXT" if field in _TEXT_FIELDS.values() else "VALUE"
        files = "" if field in _TEXT_FIELDS.values() else "; or a file of them"
        group.add_argument(flag, metavar=metavar, action="append", help=f"{text}{files}; may be given several times")
    else:
        metavar = {"object": "JSON", "integer": "N", "number": "X"}.get(kind, "NAME" if field != "query" else "TEXT")
        group.add_argument(flag, metavar=metavar, help=text)


def _escape(text: str) -> str:
    """Escape percent signs, in which argparse would substitute values."""
    return text.replace("%", "%%")


def _arguments(
    tool: Tool, options: argparse.Namespace, collections: Mapping[str, Sequence[str]], *, readable: bool
) -> tuple[dict[str, object], list[Path]]:
    """Return the tool's arguments, and the folders to read: those of paths, or of the files that collections index.

    Raises:
        InputError: A source does not exist, or standard input or a file cannot be used.
    """
    fields, folders = _schemas(tool), list[Path]()
    raw: dict[str, object] = {}
    given = {field: value for field in fields if (value := getattr(options, field, None)) not in (None, [])}
    operands = _operand_nargs(fields)
    sides = [field for field in operands if field in _TEXT_FIELDS]
    if sides and not sys.stdin.isatty() and not any(field in given or _TEXT_FIELDS[field] in given for field in sides):
        given[sides[0]] = STANDARD_INPUT
    for field, value in given.items():
        if field in _TEXT_FIELDS and value == STANDARD_INPUT:
            raw[_TEXT_FIELDS[field]] = _read_standard_input()
        elif field in _TEXT_FIELDS:
            raw[field], named = _source(value, collections, readable=readable)
            folders += named
        elif field == "query" and isinstance(value, list):
            raw |= {"query": value[0]} if len(value) == 1 else {"queries": value}
        elif isinstance(value, list):
            values = value if field in _TEXT_FIELDS.values() else [_option_content(field, one) for one in value]
            raw[field] = values[0] if len(values) == 1 else values
        else:
            raw[field] = value
    return raw, folders


def _source(value: str, collections: Mapping[str, Sequence[str]], *, readable: bool) -> tuple[str, list[Path]]:
    """Return a source and the folders to read for it; raise ``InputError`` for neither a collection nor a path."""
    if value in collections:
        return value, [found[1] for path in collections[value] if (found := locate_path(path)) is not None]
    found = locate_path(value)
    if found is None and not readable:
        known = nearest(value, list(collections)) if collections else "there are no collections yet"
        raise InputError(f"there is no collection or file {value!r}; {known}")
    return (value, []) if found is None else (found[0], [found[1]])


def _option_content(field: str, value: str) -> object:
    """Return the content of the file that an option names, or the value itself; raise ``InputError`` if unreadable."""
    if not value.lower().endswith((".txt", ".json", *TABLE_SUFFIXES)) or not os.path.isfile(value):  # noqa: PTH113
        return value
    try:
        content = Path(value).read_bytes()
        if is_table(value):
            table = read_table(value, content)
            columns = {name: table.column(name) for name in table.columns}
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{value!r} cannot be read ({error}); give a text file in UTF-8, or a table") from None
    if value.lower().endswith(".json"):
        return text
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if field == "labels" and lines and all(": " in line for line in lines):
        return dict(line.split(": ", 1) for line in lines)
    return lines


def _read_standard_input() -> list[object]:
    """Read texts from standard input: lines, or JSON lines with ``text`` and optionally ``id``.

    Raises:
        InputError: Standard input is empty or not UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except ValueError as error:
        raise InputError(f"standard input is not UTF-8 ({error}); send lines of text, or JSON lines") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError("no source was named and standard input is empty; name a source, or send lines of text")
    try:
        values = [json.loads(line) for line in lines] if lines[0].lstrip().startswith("{") else []
    except ValueError:
        values = []
    return values if values and all(isinstance(value, dict) for value in values) else list(lines)
