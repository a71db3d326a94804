"""``mcp-server-embeddings collections``: list the collections. No model is loaded."""

import argparse
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, format_size, safe, say, say_json, table
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.tools.status import collection_info

if TYPE_CHECKING:
    from rich.table import Table


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the collections by name.

    Raises:
        OperatorError: The collections cannot be read.
    """
    with closing(open_store(settings)) as store:
        records = store.list()
    if options.json:
        say_json({"collections": [_fields(record) for record in records]})
    elif not records:
        say("there are no collections yet; `mcp-server-embeddings index NAME PATH...` makes one")
    else:
        console().print(_table(records))
    return 0


def _fields(record: CollectionRecord) -> dict[str, object]:
    """Return the fields that ``status`` returns for a collection, except the one that needs the model."""
    return collection_info(record, record.identity).model_dump(mode="json", exclude={"usable"})


def _table(records: list[CollectionRecord]) -> "Table":
    rows = table()
    rows.add_column("name", overflow="fold")
    for name in ("size", "passages"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("model", overflow="fold")
    rows.add_column("bytes", justify="right", no_wrap=True)
    rows.add_column("updated", no_wrap=True)
    for record in records:
        updated = datetime.fromtimestamp(record.updated, UTC).astimezone()
        rows.add_row(
            safe(record.name),
            f"{record.documents:,}",
            f"{record.chunks:,}",
            safe(record.model),
            format_size(record.bytes),
            updated.isoformat(" ", "minutes")[:16],
        )
    return rows
