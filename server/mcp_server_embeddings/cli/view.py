"""``mcp-server-embeddings view SOURCE``: write an HTML page, as a private file that needs no network."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from mcp_server_embeddings.cli.output import say, say_json
from mcp_server_embeddings.cli.session import Task, run_with_store
from mcp_server_embeddings.cli.tool import prepare_call
from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.pages import PageData, check_installed, document, page_data
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.declaration import ToolContext, declared_tools
from mcp_server_embeddings.tools.output_file import output_path

_FILE_NAMES = {"cluster": "map", "similarity": "similarity", "align": "matches", "deduplicate": "duplicates"}
"""Names of files by tool."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Call the tool, write its page and open it in the browser.

    Raises:
        CallerError: The tool refuses the arguments, or ``--colour`` is not a column.
        OperatorError: The model or the store cannot be used, the extra ``view`` is missing, or the file cannot be
            written.
    """
    check_installed(options.tool)
    tool = declared_tools()[options.tool]
    settings, arguments = prepare_call(tool, settings, options)

    def work(engine: Engine, store: CollectionStore, task: Task) -> PageData:
        return page_data(tool, arguments, ToolContext(engine, engine.embedder(task.call), store, None, settings))

    data = run_with_store(settings, work)
    if options.colour is not None:
        data["colour"] = _check_column(data, options.colour)
    path = _write_page(options, settings, document(tool.name, data))
    opened = not options.no_open and _open_in_browser(path)
    if options.json:
        say_json({"path": str(path), "bytes": path.stat().st_size, "opened": opened})
    else:
        here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        say(f"{here}{', opened in the browser' if opened else ''}")
    return 0


def _check_column(data: PageData, name: str) -> str:
    """Return the name of a column for the colours of a map; raise ``InputError`` if there is no such column."""
    items = data.get("items")
    fields = items["fields"] if isinstance(items, dict) else {}
    if name not in fields:
        known = nearest(name, fields) if fields else "only a map has colours"
        raise InputError(f"--colour: no column or metadata {name!r} with 2 to 24 short values; {known}")
    return name


def _write_page(options: argparse.Namespace, settings: Settings, page: str) -> Path:
    """Write a page to the file given by ``--output`` or to a new one; raise ``StorageError`` if that fails."""
    output: Path | None = options.output
    folder = settings.output_dir or Path.cwd()
    path = output_path(folder, f"{_FILE_NAMES[options.tool]}.html", (".html",)) if output is None else output.absolute()
    try:
        with atomic_write(path, overwrite=output is not None) as file:
            file.write(page.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} cannot be written ({error.strerror or error}); pass another --output"
        ) from error
    return path


def _open_in_browser(path: Path) -> bool:
    """Open a page in the browser if there is a display; return whether it was opened."""
    screen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return screen and webbrowser.open(path.as_uri())
