"""``doctor`` tells what is wrong, and what to do."""

import json
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_server_embeddings.clients.command import Launch
from mcp_server_embeddings.clients.table import CLIENTS, System
from mcp_server_embeddings.doctor.data import examine_collections, examine_folder
from mcp_server_embeddings.doctor.model import agreement_finding
from mcp_server_embeddings.doctor.report import Finding
from mcp_server_embeddings.doctor.servers import Servers
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.tools.collection_add import collection_add
from wire import PATIENCE, PROGRAM, client_environment

CURSOR = CLIENTS["cursor"]

SERVER = f"""
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    result = {{"tools": [{{}}, {{}}], "serverInfo": {{"version": "9.9"}}}}
    if "id" in request:
        print(json.dumps({{"jsonrpc": "2.0", "id": request["id"], "result": result}}), flush=True)
# {PROGRAM[-1]}
"""


def doctor(home: Path, data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, for a user of this home."""
    return subprocess.run(
        # What it starts gets no variables of the tests, as from a client.
        [*PROGRAM, "doctor", "--data-dir", str(data_dir), "--idle-exit", "0.1", *arguments],
        env=client_environment(HOME=str(home), PATH=str(Path(sys.executable).parent)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def findings(finished: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What ``--json`` prints, by subject."""
    return {finding["subject"]: finding for finding in json.loads(finished.stdout)["findings"]}


def configured(home: Path, *command: str) -> Path:
    """Cursor's file with one entry."""
    path = home / ".cursor" / "mcp.json"
    path.parent.mkdir(exist_ok=True)
    entry = {"command": command[0], "args": command[1:]}
    path.write_text(json.dumps({"mcpServers": {"embeddings": entry}}), encoding="utf-8")
    return path


def examined(path: Path) -> Finding:
    """The one finding about Cursor's file."""
    (finding,) = Servers().examine_client(CURSOR, path)
    return finding


@pytest.fixture
def stored(tmp_path: Path, embedder: Embedder) -> Path:
    """A data folder with a collection of three texts."""
    with closing(SqliteStore(tmp_path)) as store:
        collection_add(embedder, store, "notes", texts=["Roses are red.", "The invoice is overdue.", "Snow fell."])
    return tmp_path


@pytest.mark.slow
def test_a_sound_installation_is_described_and_its_clients_answer(tmp_path: Path, stored: Path) -> None:
    configured(tmp_path, *PROGRAM, "--engine-process", "own")
    (tmp_path / ".codex").mkdir()
    finished = doctor(tmp_path, stored, "--json")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(finished.stdout)["ok"] is True
    found = findings(finished)
    assert found["model"]["figures"]["sha256"].startswith("53aa5117")
    assert found["engine"]["figures"] == {"device": "cpu"}
    assert found["speed"]["figures"]["sentences_per_second"] > 0
    assert found["database collections.sqlite"]["found"] == "sound"
    assert found["collection notes"]["figures"]["compared"] == 3
    assert found["collection notes"]["figures"]["lowest_cosine"] > 0.999
    assert "tools, by " in found["server"]["found"]
    assert found["Cursor"]["state"] == "ok"
    assert (found["Codex"]["state"], found["Codex"]["advice"]) == ("note", "`install codex`")
    assert {"python", "packages", "agreement", "data folder", "memory", "engine processes"} < set(found)


@pytest.mark.slow
def test_problems_are_named_with_what_to_do_and_the_exit_status_is_1(tmp_path: Path) -> None:
    configured(tmp_path, "/nowhere/mcp-server-embeddings")
    (tmp_path / "collections.sqlite").write_bytes(b"no database at all, but longer than a header of one" * 10)
    finished = doctor(tmp_path, tmp_path, "--model", str(tmp_path / "missing"))
    assert finished.returncode == 1
    lines = finished.stdout.splitlines()
    assert any(line.startswith("PROBLEM model: it cannot be used: ") for line in lines)
    assert "PROBLEM database collections.sqlite: it cannot be read: file is not a database" in lines
    broken = "PROBLEM Cursor: 'embeddings' does not work: /nowhere/mcp-server-embeddings cannot be started"
    assert any(line.startswith(broken) for line in lines)
    assert any("`uninstall cursor --name embeddings` and `install` it again" in line for line in lines)
    assert lines[-1].endswith(" problems")


@pytest.mark.parametrize(
    ("lowest", "exact", "state"),
    [(0.9999999, True, "ok"), (0.9998, True, "problem"), (0.9998, False, "ok"), (float("nan"), False, "problem")],
)
def test_vectors_further_from_sentence_transformers_than_the_precision_allows_are_a_problem(
    lowest: float, exact: bool, state: str
) -> None:
    finding = agreement_finding(Agreement(lowest, lowest, 1.0), exact=exact)
    assert finding.state == state
    assert ("--engine reference" in finding.advice) == (state == "problem")


def test_ctrl_c_ends_it_with_one_sentence(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "doctor", "--data-dir", str(tmp_path)],
        env=client_environment(HOME=str(tmp_path), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ok      python: ")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (2, "mcp-server-embeddings: interrupted\n")


def test_vectors_that_are_not_those_of_their_texts_are_found(stored: Path, embedder: Embedder) -> None:
    with closing(sqlite3.connect(stored / "collections.sqlite")) as database, database:
        (table,) = (name for name, sql in database.execute("SELECT name, sql FROM sqlite_master") if _has_vectors(sql))
        blobs = [row[0] for row in database.execute(f"SELECT vector FROM {table} ORDER BY rowid")]
        database.execute(f"UPDATE {table} SET vector = ? WHERE vector = ?", (blobs[0], blobs[1]))
    with closing(SqliteStore(stored)) as store:
        (finding,) = examine_collections(store, embedder)
    assert finding.state == "problem"
    assert finding.found.startswith("a stored vector does not match its text: cosine 0.")
    assert finding.advice == "`mcp-server-embeddings reindex notes`"


def _has_vectors(sql: str | None) -> bool:
    return sql is not None and sql.startswith("CREATE TABLE") and " vector " in sql


def test_a_collection_of_another_model_is_no_problem(tmp_path: Path, embedder: Embedder) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.open_or_create("old", "another identity", "another@1", 3)
        (finding,) = examine_collections(store, embedder)
        (without,) = examine_collections(store, None)
    assert finding.state == without.state == "note"
    assert finding.found == "0 items of another model, another@1"
    assert "reindex old" in finding.advice
    assert without.found == "0 items; not compared, since the model cannot be used"


@pytest.mark.fault
def test_a_damaged_page_of_a_database_is_found(stored: Path) -> None:
    path = stored / "collections.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)
    found = {finding.subject: finding for finding in examine_folder(stored)}
    assert found["database collections.sqlite"].state == "problem"
    assert "put a backup in its place" in found["database collections.sqlite"].advice


def test_a_data_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding,) = examine_folder(tmp_path / "file" / "data")
    assert finding.state == "problem"


def test_a_server_that_ends_is_told_by_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "mcp-server-embeddings"
    program.write_text("#!/bin/sh\necho first >&2\necho no such model >&2\nexit 3\n", encoding="utf-8")
    program.chmod(stat.S_IRWXU)
    finding = examined(configured(tmp_path, str(program)))
    assert finding.state == "problem"
    assert finding.found.endswith(" s: no such model")


def test_what_writes_something_else_is_no_server(tmp_path: Path) -> None:
    program = tmp_path / "mcp-server-embeddings"
    shutil.copy("/bin/echo", program)
    finding = examined(configured(tmp_path, str(program), "[1]"))
    assert (finding.state, "gave no answer" in finding.found) == ("problem", True)


@pytest.mark.parametrize("lines", [["[1]"], ["5"], [f'{{"id": {number}, "result": [1]}}' for number in (1, 2, 3)]])
def test_what_reads_its_requests_and_writes_something_else_is_no_server(tmp_path: Path, lines: list[str]) -> None:
    program = tmp_path / "mcp-server-embeddings"
    written = "\n".join(f"echo '{line}'" for line in lines)
    program.write_text(f"#!/bin/sh\nread request\n{written}\n", encoding="utf-8")
    program.chmod(0o700)
    assert examined(configured(tmp_path, str(program))).state == "problem"


def test_an_installation_of_another_version_is_told(tmp_path: Path) -> None:
    finding = examined(configured(tmp_path, sys.executable, "-c", SERVER))
    assert (finding.state, finding.advice) == ("note", "`install cursor`")
    assert "with 2 tools, version 9.9 from another installation" in finding.found


def test_one_command_is_asked_once(tmp_path: Path) -> None:
    counted = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n{SERVER}"
    servers, command = Servers(), Launch((sys.executable, "-c", counted))
    assert {servers.examine_server(command).state for _ in range(3)} == {"ok"}
    assert (tmp_path / "starts").read_text(encoding="utf-8") == "x"


def test_a_broken_file_of_a_client_is_a_problem_with_its_line(tmp_path: Path) -> None:
    path = CURSOR.file(System("linux", str(tmp_path), {}))
    path.parent.mkdir()
    path.write_text('{\n  "a" 1}', encoding="utf-8")
    finding = examined(path)
    assert finding.state == "problem"
    assert "line 2: a colon is expected" in finding.found
