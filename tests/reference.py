"""Make the reference pages of the site from the code: tools, commands, Python API."""

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import mcp_server_embeddings
from mcp_server_embeddings.cli.commands import CommandParser, main_parser
from mcp_server_embeddings.cli.tool import add_options
from mcp_server_embeddings.mcp_layer.schemas import input_schema
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.tools.declaration import Tool, declared_tools

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example):$")
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def tools_page() -> str:
    """Return the page of all tools with their descriptions and parameters, as in ``tools/list``."""
    introduction = (
        "The definition of each tool, as clients receive it. [Tools, with answers](../tools.md) shows a call of each "
        "and explains the parameters that they have in common."
    )
    return _page(["# Parameters of the tools", introduction, *map(_tool, declared_tools().values())])


def _tool(tool: Tool) -> str:
    schema = TypeAdapter(dict[str, Any]).validate_python(input_schema(tool.arguments))
    fields: Mapping[str, Mapping[str, Any]] = schema["properties"]
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_type(field)} | {_default(name, field, required)} | {_cell(field.get('description', ''))} |"
        for name, field in fields.items()
    ]
    table = ["| parameter | type | default | |", "| --- | --- | --- | --- |", *rows] if rows else ["No parameters."]
    return "\n".join([f"## {tool.name}", "", tool.description, "", *table])


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = str(field.get("type", "any"))
    if "minimum" in field and "maximum" in field:
        return f"{kind}, {field['minimum']:,} to {field['maximum']:,}"
    return kind


def _default(name: str, field: Mapping[str, Any], required: list[str]) -> str:
    return "required" if name in required else f"`{field['default']}`" if field.get("default") is not None else ""


def commands_page() -> str:
    """Return the page of all commands with their operands, options and an example."""
    introduction = (
        f"`{DISTRIBUTION}` without a command serves over stdio, as MCP clients start it. Every "
        "[setting](../settings.md) is an option of each command too; `COMMAND --help` lists them."
    )
    commands = main_parser().commands.items()
    return _page(["# Commands", introduction, *(_command(name, parser) for name, parser in commands)])


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    if isinstance(parser, CommandParser) and parser.tool:
        add_options(parser, parser.tool, parser.without)
    rows = [
        f"| `{_cell(_invocation(action))}` | {_cell((action.help or '').replace('%%', '%'))} |"
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    lines = [f"## {name}", "", f"`{(parser.usage or name).removesuffix(' [OPTIONS]')}`: {parser.description}", ""]
    lines += ["| | |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join([*lines, f"`{(parser.epilog or '').removeprefix('Example: ')}`" if parser.epilog else ""]).rstrip()


def _invocation(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    values = "" if action.nargs == 0 else f" {action.metavar or '|'.join(action.choices or [action.dest.upper()])}"
    return f"{action.option_strings[0]}{values}"


def python_page() -> str:
    """Return the page of all public names of the package with their signatures and docstrings."""
    introduction = (
        "The names that the package exports: the functions behind the tools, and the types of their arguments. "
        "Importing the package costs nothing; each name is loaded on first use. Use an `Engine` as a context manager."
    )
    names = sorted(mcp_server_embeddings.__all__, key=str.lower)
    return _page(["# Python API", introduction, *map(_object, names)])


def _object(name: str) -> str:
    value = getattr(mcp_server_embeddings, name)
    parts = [f"## {name}", _signature(name, value), _docstring_as_markdown(inspect.getdoc(value) or "")]
    if inspect.isclass(value) and not issubclass(value, Exception):
        for member, function in vars(value).items():
            if not member.startswith("_") and inspect.isfunction(function):
                parts += [
                    f"### {name}.{member}",
                    _signature(member, function),
                    _docstring_as_markdown(inspect.getdoc(function) or ""),
                ]
    return "\n\n".join(part for part in parts if part)


def _signature(name: str, function: Callable[..., object]) -> str:
    """Return the signature without annotations; the page of the tools describes the types in words."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    if name == "Settings":
        return "`Settings(*, …)`: every [setting](../settings.md) by its name in Python, such as `allow_dir`."
    signature = str(inspect.Signature(bare))
    return f"```text\n{name}{re.sub(r'<[^>]+>', '…', signature)}\n```"


def _docstring_as_markdown(docstring: str) -> str:
    """Return a docstring in Google's form as Markdown: sections as lists, examples as code."""
    lines: list[str] = []
    section = ""
    for line in docstring.splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
            lines += [f"**{section}**", ""] + (["```pycon"] if section == "Example" else [])
        elif section == "Example":
            lines.append(line[4:])
        elif section in ("Args", "Attributes", "Raises") and (entry := _ENTRY.match(line[4:])):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif section in ("Args", "Attributes", "Raises"):
            lines.append(f"  {line.strip()}" if line.strip() else "")
        else:
            lines.append(line.strip() if section else line)
    while lines and not lines[-1]:
        lines.pop()
    text = re.sub(r"(?<!`)``(?!`)", "`", "\n".join(lines))
    return f"{text}\n```" if section == "Example" else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _page(parts: list[str]) -> str:
    return "<!-- made from the code by `make snapshot` -->\n\n" + "\n\n".join(parts) + "\n"


REFERENCE: dict[Path, Callable[[], str]] = {
    FOLDER / "tools.md": tools_page,
    FOLDER / "commands.md": commands_page,
    FOLDER / "python.md": python_page,
}
"""The pages, each with the function that makes it."""
