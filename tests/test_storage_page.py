"""The page on the file format tells the truth."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.store.sqlite.schema import APPLICATION_ID, PAGE_BYTES, VERSION
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from wire import PATIENCE, client_environment

PAGE = (Path(__file__).parents[1] / "docs" / "storage.md").read_text(encoding="utf-8")

SHOW = """
for key, part, text, heading, vector in chunks:
    print(repr((key, part, text, heading, vector.tolist())))
"""


def decoder() -> str:
    """The lines between the marks."""
    found = re.search(
        r"<!-- decoder -->\n<!-- not run: .*? -->\n```python\n(.*?)```\n<!-- /decoder -->", PAGE, re.DOTALL
    )
    assert found is not None
    return found[1]


def filled(folder: Path) -> SqliteStore:
    store = SqliteStore(folder)
    text = "𝔣irst part, second part"
    chunks = tuple(
        NewChunk(start, stop, heading, np.array([start, 0.5, -1], np.float32))
        for start, stop, heading in ((0, 12, "# One"), (12, 23, ""))
    )
    store.open_or_create("notes", "identity", "model@1", 3).put(
        [NewDocument("a", text, {"year": 2024}, chunks, "a.md", b"d")]
    )
    store.open_or_create("others", "identity", "model@1", 3).put([NewDocument("b", text, None, chunks)])
    return store


def test_the_decoder_of_the_page_reads_a_collection(tmp_path: Path) -> None:
    store = filled(tmp_path)
    command = [sys.executable, "-W", "error", "-c", decoder() + SHOW]
    finished = subprocess.run(
        command,
        cwd=tmp_path,
        env=client_environment(PYTHONIOENCODING="utf-8"),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        repr(("a", 0, "𝔣irst part, ", "# One", [0.0, 0.5, -1.0])),
        repr(("a", 1, "second part", "", [12.0, 0.5, -1.0])),
    ]
    store.close()


def test_the_decoder_needs_ten_lines_and_nothing_of_this_program() -> None:
    lines = [line for line in decoder().splitlines() if line]
    assert len(lines) <= 10
    assert [line for line in lines if line.startswith(("import", "from"))] == ["import sqlite3", "import numpy as np"]


def test_the_page_names_every_table_and_column(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in (name for name in names if not name.startswith(("sqlite_", "words_"))):
            _, found, section = PAGE.partition(f"\n`{table}`, ")
            assert found, table
            described = section.split("\n\n`")[0]
            for (column,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,)):
                assert re.search(rf"^\| [^|]*`{column}`[^|]* \|", described, re.MULTILINE), (table, column)


def test_the_page_has_the_numbers_of_the_file(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database:
        settings = {
            name: database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "page_size", "journal_mode")
        }
    assert settings == {
        "application_id": APPLICATION_ID,
        "user_version": VERSION,
        "page_size": PAGE_BYTES,
        "journal_mode": "wal",
    }
    for shown in (
        f"`0x{APPLICATION_ID:X}`",
        f"`PRAGMA user_version` is {VERSION}.",
        f"Pages have {PAGE_BYTES:,} bytes",
    ):
        assert shown in PAGE
