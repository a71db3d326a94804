"""``mcp-server-embeddings search NAME QUERY``: the hits for a person or, with ``--json``, for a program."""

import argparse
import json
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, safe, say_result, table
from mcp_server_embeddings.cli.session import Task, run_with_store
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.where import EXAMPLE, Where
from mcp_server_embeddings.tools.collection_results import CollectionSearchResult, FoundPassage
from mcp_server_embeddings.tools.collection_search import collection_search

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"same": "green", "close": "green", "related": "yellow"}


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Search and print the hits, best first.

    Raises:
        CallerError: The collection, the query or the filter is refused.
        OperatorError: The model or the collections cannot be used.
    """
    where = None if options.where is None else _where(options.where)

    def work(embedder: Embedder, store: CollectionStore, _: Task) -> CollectionSearchResult:
        return collection_search(
            embedder, store, options.name, options.query, top=options.top, mode=options.mode, where=where
        )

    result = run_with_store(settings, work, collection=options.name, load_model=options.mode != "keyword")
    note = "nothing fits well; the nearest are:" if result.hits else "nothing found"
    say_result(result, options.json, *([note] if result.no_match else []))
    if result.hits and not options.json:
        console().print(_table(result.hits))
    return 0


def _where(text: str) -> Where:
    try:
        where = json.loads(text)
    except ValueError:
        where = None
    if not isinstance(where, dict):
        raise InputError(f"--where is {text[:80]!r}, not a JSON object; give one such as {EXAMPLE}")
    return where


def _table(hits: list[FoundPassage]) -> "Table":
    from rich.text import Text

    rows = table()
    rows.add_column("score", justify="right", no_wrap=True)
    rows.add_column("band", no_wrap=True)
    rows.add_column("id", overflow="fold", ratio=1)
    rows.add_column("snippet", overflow="fold", ratio=3)
    for hit in hits:
        heading = str(hit.metadata.get("heading", ""))
        snippet = " ".join(hit.snippet.split())
        rows.add_row(
            "" if hit.score is None else f"{hit.score:.3f}",
            Text(hit.band or "", style=_COLOURS.get(hit.band or "", "dim")),
            Text(safe(hit.id)),
            Text(safe(f"{heading}: {snippet}" if heading else snippet)),
        )
    return rows
