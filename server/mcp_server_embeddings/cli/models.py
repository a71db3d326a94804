"""``mcp-server-embeddings models``: the catalogue as a table."""

import argparse
import sys

from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.catalogue import CatalogueModel, catalogue
from mcp_server_embeddings.engine.locate import cached_folder

_COLUMNS = ("", "model", "dims", "tokens", "MB", "licence", "class.", "clust.", "retr.", "STS", "summ.")


def run(_: Settings, __: argparse.Namespace) -> int:
    """Print it; no setting changes it."""
    rows = [_COLUMNS, *(_row(entry) for entry in catalogue())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        sys.stdout.write("  ".join(_padded(cell, i, widths[i]) for i, cell in enumerate(row)).rstrip() + "\n")
    sys.stdout.write(
        "\n* on this machine. Scores are published MTEB averages by task, in percent; they compare only within\n"
        "one benchmark: " + _benchmarks() + ".\nSources of every figure: the resource embeddings://models.\n"
    )
    return 0


def _row(entry: CatalogueModel) -> tuple[str, ...]:
    scores = entry.mteb
    tasks = ("classification", "clustering", "retrieval", "sts", "summarization")
    return (
        "*" if entry.id == DEFAULT_MODEL or cached_folder(entry.id) else "",
        entry.id,
        str(entry.dimensions),
        str(entry.max_tokens or "any"),
        f"{entry.size_mb:.0f}" if entry.size_mb else "-",
        entry.licence or "-",
        *(f"{getattr(scores, task):.1f}" if scores and getattr(scores, task) is not None else "-" for task in tasks),
    )


def _padded(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if column in (0, 1, 5) else cell.rjust(width)


def _benchmarks() -> str:
    names: dict[str, list[str]] = {}
    for entry in catalogue():
        if entry.mteb:
            names.setdefault(entry.mteb.benchmark, []).append(entry.id.rsplit("/", 1)[-1])
    return "; ".join(f"{benchmark}: {', '.join(models)}" for benchmark, models in names.items())
