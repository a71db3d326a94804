"""A relay sends again what an engine process left unanswered, perhaps after it was done: that must change nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls import Arguments, call, structured, text
from corpus import TEXTS
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.declaration import declared_tools

SOURCE = {"source": "kept"}
CALLS: dict[str, list[Arguments]] = {
    "embed": [{"texts": TEXTS}, {**SOURCE, "save_as": "vectors.npy"}, {**SOURCE, "save_as": "vectors.csv"}],
    "similarity": [{"left": TEXTS[:2]}],
    "search": [{"query": "battery", **SOURCE}],
    "status": [{}],
    "align": [{"left": TEXTS[:3], "right": TEXTS[1:4], "save_as": "aligned.parquet"}],
    "classify": [{"labels": ["trade", "repair"], **SOURCE, "tag": "label", "save_as": "labelled.jsonl"}],
    "cluster": [{**SOURCE, "tag": "theme", "clusters": 2, "save_as": "themes.csv"}],
    "collection_add": [
        {"collection": "kept", "texts": {"new": "a text that was not there"}, "metadata": {"year": 2026}},
        {"collection": "files", "source": ["note.md"]},
    ],
    "collection_remove": [{"collection": "kept", "ids": ["1"]}, {"collection": "kept", "all": True}],
    "condense": [{**SOURCE, "count": 2}],
    "deduplicate": [{**SOURCE, "save_as": "unique.csv"}],
    "read": [{**SOURCE, "ids": ["1"]}],
}
"""By tool its calls, those that write in all their ways."""

CHANGED = {"added", "updated", "unchanged", "removed", "size", "process", "queue", "cache"}
"""What an answer says of the call itself, or of the process."""


@pytest.fixture(scope="module")
def server(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("repeated")
    (folder / "note.md").write_text("# A note\n\nThat is kept.\n", encoding="utf-8")
    with Engine(Settings(data_dir=folder / "data", allow_dir=(folder,), output_dir=folder / "output")) as engine:
        yield engine


def state(engine: Engine) -> dict[str, Any]:
    """All that calls can change: collections and files."""
    collections = structured(call(engine, "status", {}))["collections"]
    output = engine.settings.output_dir
    assert output is not None
    files = {path.name: path.read_bytes() for path in output.iterdir()} if output.exists() else {}
    kept = [{key: value for key, value in found.items() if key != "updated"} for found in collections]
    return {"collections": kept, "files": files}


def test_every_tool_is_named_here() -> None:
    assert CALLS.keys() == declared_tools().keys()


@pytest.mark.parametrize(
    ("tool", "arguments"), [(tool, arguments) for tool, several in CALLS.items() for arguments in several]
)
def test_a_call_that_is_sent_again_changes_nothing(server: Engine, tool: str, arguments: Arguments) -> None:
    call(server, "collection_add", {"collection": "kept", "texts": {str(n): one for n, one in enumerate(TEXTS)}})
    first = structured(call(server, tool, arguments))
    after = state(server)
    answer = call(server, tool, arguments)
    assert state(server) == after
    if tool == "collection_remove":  # what is gone is said
        assert answer.is_error or "not there" in text(answer)
        return
    again = structured(answer)
    for found in (first, again):
        for name in CHANGED:
            found.pop(name, None)
    assert again == first
