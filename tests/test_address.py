"""Who can be behind the socket of an engine process, and what a greeting may say."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server_embeddings.config import Settings, default_cache_dir, default_data_dir
from mcp_server_embeddings.errors import ConfigurationError, UnsafePlaceError
from mcp_server_embeddings.relay.address import EngineAddress
from mcp_server_embeddings.relay.greeting import Greeting, received_settings, session_settings
from mcp_server_embeddings.relay.peer import is_same_user, peer_user
from mcp_server_embeddings.relay.starting import engine_address, engine_options, engine_variables, with_absolute_paths
from scripts import run
from wire import PATIENCE, ServerProcess

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of this test's own for sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def refused_folder(folder: Path) -> str:
    with pytest.raises(UnsafePlaceError) as caught:
        engine_address(Settings(data_dir=folder))
    return str(caught.value)


def test_modules_of_the_relay_can_be_imported_where_fcntl_is_missing_as_on_windows() -> None:
    run("import sys; sys.modules['fcntl'] = None; import mcp_server_embeddings.relay.relay")


def test_the_folder_is_made_for_its_owner_only_whatever_the_umask(runtime_dir: Path) -> None:
    before = os.umask(0)
    try:
        address = engine_address(Settings())
        listener = address.listen()
    finally:
        os.umask(before)
    assert address.folder == str(runtime_dir / "mcp-server-embeddings")
    assert Path(address.folder).stat().st_mode & 0o777 == 0o700
    assert Path(address.socket_path).stat().st_mode & 0o777 == 0o600
    listener.close()


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o710])
def test_a_folder_that_is_open_to_others_is_refused(runtime_dir: Path, mode: int) -> None:
    folder = runtime_dir / "mcp-server-embeddings"
    folder.mkdir()
    folder.chmod(mode)
    assert "must be a folder of this user with mode 0700" in refused_folder(runtime_dir)


def test_a_link_or_a_file_in_place_of_the_folder_is_refused(runtime_dir: Path) -> None:
    elsewhere = runtime_dir / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (runtime_dir / "mcp-server-embeddings").symlink_to(elsewhere)
    assert "must be a folder" in refused_folder(runtime_dir)
    (runtime_dir / "mcp-server-embeddings").unlink()
    (runtime_dir / "mcp-server-embeddings").write_text("", encoding="utf-8")
    assert "must be a folder" in refused_folder(runtime_dir)


@needs_root
def test_a_folder_of_another_user_is_refused_and_the_session_served_in_its_own_process(runtime_dir: Path) -> None:
    folder = runtime_dir / "mcp-server-embeddings"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    assert "must be a folder" in refused_folder(runtime_dir)
    environment = {"XDG_RUNTIME_DIR": str(runtime_dir)}
    with ServerProcess(runtime_dir / "data", environment=environment) as server:
        server.handshake()
        process = server.call("status", {})["structuredContent"]["process"]
        assert process.startswith(f"process {server.process.pid} of its own (the shared one cannot be used: ")
        assert "serving in a process of its own" in server.log
    assert list(folder.iterdir()) == []


@needs_root
def test_a_runtime_folder_of_another_user_is_passed_over(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = runtime_dir / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))
    assert theirs not in Path(engine_address(Settings()).folder).parents


@needs_root
@pytest.mark.parametrize("kind", ["file", "link", "socket of another user"])
def test_what_was_planted_in_place_of_the_socket_is_refused(runtime_dir: Path, kind: str) -> None:
    address = engine_address(Settings())
    if kind == "file":
        Path(address.socket_path).write_text("", encoding="utf-8")
    elif kind == "link":
        Path(address.socket_path).symlink_to(runtime_dir / "other.sock")
    else:
        address.listen().close()
        os.chown(address.socket_path, NOBODY, NOBODY)
    with pytest.raises(UnsafePlaceError, match="is not a socket of this user; remove it"):
        address.connect()


AS_NOBODY = """
import os, socket, sys
os.setuid(65534)
other = socket.socket(socket.AF_UNIX)
try:
    {act}
except (BrokenPipeError, ConnectionResetError):
    print("closed")
"""


def as_nobody(act: str, *arguments: str) -> "subprocess.Popen[str]":
    """A process of another user that does something with a socket."""
    command = [sys.executable, "-c", AS_NOBODY.format(act=act), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@needs_root
def test_the_process_of_another_user_that_listens_is_found_out_by_the_kernel(tmp_path: Path) -> None:
    """Even where the file is ours: the folder's rights are not the only defence."""
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:3]:
        folder.chmod(0o755)
    address = EngineAddress(str(tmp_path), "planted")
    with as_nobody(
        "other.bind(sys.argv[1]); other.listen(); print(flush=True); sys.stdin.read()", address.socket_path
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.chown(address.socket_path, 0, 0)
        with pytest.raises(UnsafePlaceError, match="another user's process listens"):
            address.connect()
        process.kill()


@needs_root
def test_an_engine_does_not_serve_another_user(data_dir: Path, runtime_dir: Path) -> None:
    runtime_dir.chmod(0o755)
    with ServerProcess(data_dir, environment={"XDG_RUNTIME_DIR": str(runtime_dir)}) as server:
        server.handshake()
        process = server.call("status", {})["structuredContent"]["process"]
        path = Path(process.split(" log ")[1]).with_suffix(".sock")
        path.parent.chmod(0o755)  # as if the folder's rights had failed
        path.chmod(0o666)
        act = "other.connect(sys.argv[1]); other.sendall(sys.argv[2].encode()); print(other.recv(99) or 'closed')"
        greeting = Greeting(session_settings(Settings())).line().decode()
        with as_nobody(act, str(path), greeting) as stranger:
            assert stranger.communicate(timeout=PATIENCE)[0] == "closed\n"
        assert ", 1 session, " in server.call("status", {})["structuredContent"]["process"]


def test_the_kernel_tells_whose_process_is_at_the_other_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_user(one) == os.geteuid()
        assert is_same_user(other)


def test_the_settings_of_a_session_arrive_as_they_were_sent(tmp_path: Path) -> None:
    sent = Settings(tools=("core",), allow_dir=(tmp_path,), output_dir=tmp_path, log_level="debug", threads=3)
    greeting = Greeting.parse(Greeting(session_settings(sent)).line())
    received = received_settings(Settings(threads=2), greeting.settings)
    assert (received.tools, received.allow_dir, received.output_dir) == (("core",), (tmp_path,), tmp_path)
    assert (received.log_level, received.threads) == ("debug", 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data_dir": "/etc"}, "data_dir is not a setting of a session"),
        ({"model": "a/b"}, "model is not a setting of a session"),
        ({"anything": 1}, "anything is not a setting of a session"),
        ({"allow_dir": ["relative"]}, "allow_dir 'relative' is not an absolute path"),
        ({"allow_dir": "/"}, "allow_dir is '/', not of its type"),
        ({"allow_dir": [1]}, r"allow_dir is \[1\], not of its type"),
        ({"allow_dir": ["/nowhere"]}, "allow-dir '/nowhere' is not a directory"),
        ({"output_dir": 5}, "output_dir is 5, not of its type"),
        ({"tools": {"a": 1}}, "tools is {'a': 1}, not of its type"),
        ({"log_level": "loud"}, "log-level 'loud' is unknown"),
        ({"log_level": None}, "log_level is None, not of its type"),
    ],
)
def test_a_greeting_is_checked_as_options_are(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        received_settings(Settings(), settings)


@pytest.mark.parametrize("line", [b"", b"\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 100_000])
def test_a_line_that_is_no_greeting_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigurationError, match="is not the greeting of a relay"):
        Greeting.parse(line)


def test_a_relay_of_another_version_is_refused() -> None:
    sent = json.loads(Greeting({}).line())
    for name in ("version", "protocol"):
        with pytest.raises(ConfigurationError, match="the relay is of version"):
            Greeting.parse(json.dumps({**sent, name: 0}).encode())


def test_the_options_of_an_engine_are_those_of_its_settings(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, threads=2, no_cache=True, tools=("core",), allow_dir=(tmp_path,))
    assert engine_options(settings) == ["--threads=2", "--no-cache", f"--data-dir={tmp_path}"]


def test_a_password_is_on_no_command_line_and_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_EMBEDDINGS_STORE", "postgresql://other/")
    settings = Settings(store="postgresql://me:sesame@host/db", threads=2)
    assert engine_options(settings) == ["--threads=2"]
    assert engine_variables(settings)["MCP_EMBEDDINGS_STORE"] == settings.store
    assert "MCP_EMBEDDINGS_STORE" not in engine_variables(Settings())
    assert "sesame" not in repr(settings)


def test_the_database_decides_which_engine_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(store: str) -> str:
        return engine_address(Settings(store=store)).key

    assert key("postgresql://a/") == key("postgresql://a/")
    assert len({key(store) for store in ("", "postgresql://a/", "postgresql://b/")}) == 3
    before = key("postgresql://a/"), key("")
    monkeypatch.setenv("PGDATABASE", "another")
    assert key("postgresql://a/") != before[0]
    assert key("") == before[1]


def test_a_model_that_is_a_folder_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    absolute = with_absolute_paths(Settings(model="model", data_dir=Path("data")))
    assert (absolute.model, absolute.data_dir) == (str(tmp_path / "model"), tmp_path / "data")
    assert with_absolute_paths(Settings(model="org/model")).model == "org/model"


def test_the_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    name = "mcp-server-embeddings"
    for value in (str(tmp_path), "", "  "):
        for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(variable, value)
        assert str(default_data_dir()) == platformdirs.user_data_dir(name, appauthor=False)
        assert str(default_cache_dir()) == platformdirs.user_cache_dir(name, appauthor=False)


def test_nothing_is_imported_from_the_folder_in_which_a_client_works(
    data_dir: Path, runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    for name in ("mcp_server_embeddings", "numpy"):
        (planted / name).mkdir(parents=True)
        (planted / name / "__init__.py").write_text("raise SystemExit('planted')", encoding="utf-8")
    monkeypatch.chdir(planted)
    program = (str(Path(sys.executable).with_name("mcp-server-embeddings")),)
    environment = {"XDG_RUNTIME_DIR": str(runtime_dir), "MCP_EMBEDDINGS_ENGINE_PROCESS": "shared"}
    with ServerProcess(data_dir, program=program, environment=environment) as server:
        server.handshake()
        assert server.call("status", {})["structuredContent"]["process"].startswith("engine process ")
