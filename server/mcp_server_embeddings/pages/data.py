"""The data of a page: a tool's complete answer, and the texts of its items."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.tools.answer_budget import whole_answers
from mcp_server_embeddings.tools.declaration import Arguments, Tool, ToolContext
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.parameters import MAX_TOP
from mcp_server_embeddings.tools.results import Result
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.projection import projected

PAGES = ("cluster", "similarity", "align", "deduplicate")
"""The tools whose answers can be shown on a page."""

_MAX_MAP_TEXT = 400
"""Maximum length of an item's text on a map, which may have 100,000 items."""

_MAX_TEXT = 2_000
"""Maximum length of an item's text on other pages."""

_MAX_FIELD_VALUES = 24
"""Maximum number of distinct values of a column that can colour a map, since more colours cannot be distinguished."""

_MAX_FIELD_CHARACTERS = 60
_CLUSTER = "cluster"
_ROWS = "items.jsonl"
_LAST_PART = re.compile(r"([^/\\]+)[/\\]?$")
_MAX_COORDINATE = 10_000
"""Maximum coordinate on a map. Coordinates are integers; one unit is about a tenth of a pixel."""

PageData = dict[str, object]
"""JSON values, which the code in ``static/`` reads."""


def page_data(tool: Tool, arguments: Arguments, context: ToolContext) -> PageData:
    """Call a tool of ``PAGES`` and return the data of its page.

    Args:
        tool: The tool.
        arguments: Its arguments; ``save_as`` and ``tag`` are ignored, ``top`` is set to its maximum.
        context: The context that the server passes to the tool.

    Raises:
        EmbeddingsError: The tool rejects the arguments, or fails.
    """
    overrides = {"top": MAX_TOP, "save_as": None, "tag": None}
    arguments = arguments.model_copy(update={k: v for k, v in overrides.items() if k in type(arguments).model_fields})
    page: PageData = {"page": tool.name, "made_by": f"{DISTRIBUTION} {VERSION}"}
    with whole_answers():
        if tool.name == "cluster":
            return page | _map(tool, arguments, context)
        return page | {"answer": _answer(tool.call(context, arguments))} | _item_data_by_side(arguments, context)


def _answer(result: Result) -> PageData:
    return {name: value for name, value in result.compact().items() if name != "file"}


def _item_data_by_side(arguments: Arguments, context: ToolContext) -> PageData:
    """Return the texts of the items on both sides, or on the left if there is only one side."""
    sides = ["left"] if hasattr(arguments, "left") else [""]
    if any(getattr(arguments, name, None) is not None for name in ("right", "right_source")):
        sides.append("right")
    return {side or "left": _item_data(_selected_items(arguments, context, side), _MAX_TEXT) for side in sides}


def _selected_items(arguments: Arguments, context: ToolContext, side: str = "") -> Items:
    """Return the items that a tool processed, on one side if it has two."""
    source = getattr(arguments, f"{side}_source" if side else "source")
    chosen = {name: getattr(arguments, name, None) for name in ("id_field", "ids", "where")} if source else {}
    texts = getattr(arguments, side or "texts")
    return select_items(context.embedder, context.sources, texts, Selection(source, **chosen), name=side or "texts")


def _item_data(items: Items, length: int) -> PageData:
    return {"label": _title(items.label), "ids": list(items.ids), "texts": items.texts(length=length)}


def _map(tool: Tool, arguments: Arguments, context: ToolContext) -> PageData:
    """Return the clusters, and the coordinates, texts, clusters and other short columns of the items."""
    with TemporaryDirectory() as folder:
        settings = replace(context.settings, output_dir=Path(folder))
        saved = arguments.model_copy(update={"save_as": _ROWS})
        answer = _answer(tool.call(replace(context, settings=settings), saved))
        rows = [json.loads(line) for line in (Path(folder) / _ROWS).read_text(encoding="utf-8").split("\n") if line]
    items = _selected_items(arguments, context)
    if [row["id"] for row in rows] != list(items.ids):
        raise InputError(f"{items.label} changed meanwhile; run the command again")
    call = context.embedder.call
    call.stage = "placing items on the map"
    points = projected(items.embed(context.embedder), Watch(call.raise_if_cancelled))
    coordinates = {axis: (points[:, at] * _MAX_COORDINATE).round().astype(int).tolist() for at, axis in enumerate("xy")}
    return {"answer": answer, "items": {**_item_data(items, _MAX_MAP_TEXT), **coordinates, "fields": _fields(rows)}}


def _fields(rows: Sequence[Mapping[str, object]]) -> PageData:
    """Return the columns that can colour a map: the cluster, and columns with a few short values.

    Each column has its values, the most frequent first, and for each item the index of its value, or -1 for none.
    """
    fields: PageData = {}
    for name in sorted(rows[0], key=lambda name: name != _CLUSTER):
        column = [row[name] for row in rows]
        counts = Counter(str(value) for value in column if value is not None)
        max_values = len(rows) if name == _CLUSTER else _MAX_FIELD_VALUES
        if name == "id" or not 1 <= len(counts) <= max_values or max(map(len, counts)) > _MAX_FIELD_CHARACTERS:
            continue
        if name != _CLUSTER and len(counts) == len(rows):
            continue
        indices = {value: at for at, (value, _) in enumerate(counts.most_common())}
        codes = [-1 if value is None else indices[str(value)] for value in column]
        fields[name] = {"values": list(indices), "codes": codes}
    return fields


def _title(label: str) -> str:
    """Return the last part of a path, which suffices as a title; return any other label unchanged."""
    match = _LAST_PART.search(label)
    return match[1] if match else label
