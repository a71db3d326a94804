"""Make the tables of the README and of docs/ from the code."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

from pydantic.fields import FieldInfo

from mcp_server_embeddings.clients.configuration import snippet
from mcp_server_embeddings.clients.table import CLIENTS, Client, System
from mcp_server_embeddings.config import Settings, default, flag, variable
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.tools.declaration import declared_tools

README = Path(__file__).parents[1] / "README.md"
HTTP_PAGE = README.parent / "docs" / "http.md"
SETTINGS_PAGE = README.parent / "docs" / "settings.md"
CLIENTS_PAGE = README.parent / "docs" / "clients.md"
EXAMPLES = README.parent / "examples" / "clients"

_SELECTING = ("id_field", "ids", "where")
"""Parameters that every tool with a source has; the table leaves them out where they are optional."""


def _parameter(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"`{name}`"
    return f"`{name}`?" if field.default is None else f"`{name}`={field.default}"


def tools_table() -> str:
    """Return the table of tools, one row for each."""
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


def settings_table(*, http: bool = False) -> str:
    """Return the table of settings, either those of HTTP or all others.

    Defaults of folders are left out, because they depend on the system.
    """
    rows = ["| option | variable | what it does |", "| --- | --- | --- |"]
    for field in fields(Settings):
        if (field.metadata["scope"] == "http") != http:
            continue
        value = default(field)
        shown = "" if not value or isinstance(value, Path) else f" (default `{value}`)"
        rows.append(f"| `{flag(field)}` | `{variable(field)}` | {field.metadata['help']}{shown} |")
    return "\n".join(rows)


def client_examples() -> dict[Path, str]:
    """Return the example file of each client, which configures only this server, by its path."""
    return {
        EXAMPLES / f"{client.name}.{client.format.removesuffix('c')}": snippet(client, "embeddings", [DISTRIBUTION])
        for client in CLIENTS.values()
    }


def client_places() -> str:
    """Return the table of clients: the path of the configuration file of each on each system."""
    systems = (System("linux", "~", {}), System("darwin", "~", {}), System("win32", "~", {"APPDATA": "%APPDATA%"}))
    rows = ["| client | name | Linux | macOS | Windows |", "| --- | --- | --- | --- | --- |"]
    for client in CLIENTS.values():
        places = (_place(client, system) for system in systems)
        rows.append(f"| {client.title} | `{client.name}` | {' | '.join(places)} |")
    return "\n".join(rows)


def _place(client: Client, system: System) -> str:
    """Return the path of a client's configuration file; of alternatives, only the names."""
    first, *others = client.candidates(system)
    return " or ".join([f"`{first}`", *(f"`{other.name}`" for other in others)]).replace("~\\", "%USERPROFILE%\\")


def client_snippets() -> str:
    """Return the content of the clients' files; clients with the same content share a snippet."""
    titles: dict[str, list[str]] = {}
    for client, (path, text) in zip(CLIENTS.values(), client_examples().items(), strict=True):
        shown = f"```{path.suffix[1:]}\n{text.strip()}\n```"
        titles.setdefault(shown, []).append(f"[{client.title}](../{path.relative_to(README.parent)})")
    return "\n\n".join(f"{', '.join(names)}:\n\n{shown}" for shown, names in titles.items())


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"tools": tools_table},
    SETTINGS_PAGE: {"settings": settings_table},
    CLIENTS_PAGE: {"places": client_places, "snippets": client_snippets},
    HTTP_PAGE: {"http": partial(settings_table, http=True)},
}
"""The generated tables of each page, by the name of their block."""


def with_tables(page: Path) -> str:
    """Return the text of a page with its tables made from the current code."""
    text = page.read_text(encoding="utf-8")
    for name, table in PAGES[page].items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        assert end, f"{page.name} has no <!-- {name} --> block"
        text = before + begin + table() + end + after
    return text
