"""The tables of the README, made from the code."""

from dataclasses import fields
from pathlib import Path

from pydantic.fields import FieldInfo

from mcp_server_embeddings.cli.options import default, flag, variable
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.tools.declaration import declared_tools

README = Path(__file__).parents[1] / "README.md"


_SELECTING = ("id_field", "ids", "where")
"""Parameters that every tool with a source has; the rows leave them out where they may be absent."""


def _parameter(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"`{name}`"
    return f"`{name}`?" if field.default is None else f"`{name}`={field.default}"


def tools_table() -> str:
    """One row a tool."""
    rows = ["| tool | parameters | what it does |", "| --- | --- | --- |"]
    for tool in declared_tools().values():
        shown = {
            name: field
            for name, field in tool.arguments.model_fields.items()
            if field.is_required() or name not in _SELECTING or "source" not in tool.arguments.model_fields
        }
        names = [_parameter(name, field) for name, field in shown.items()]
        rows.append(f"| `{tool.name}` | {', '.join(names) or 'none'} | {tool.description.split('. ')[0]}. |")
    return "\n".join(rows)


def settings_table() -> str:
    """One row a setting; the defaults of folders depend on the system."""
    rows = ["| option | variable | what it does |", "| --- | --- | --- |"]
    for field in fields(Settings):
        value = default(field)
        shown = "" if not value or isinstance(value, Path) else f" (default `{value}`)"
        rows.append(f"| `{flag(field)}` | `{variable(field)}` | {field.metadata['help']}{shown} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """The README's text with both tables as the code has them now."""
    for name, table in (("tools", tools_table()), ("settings", settings_table())):
        before, found, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        assert end, f"README.md has no <!-- {name} --> block"
        text = before + found + table + end + after
    return text
