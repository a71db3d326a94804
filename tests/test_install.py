"""Putting the server into the files of MCP clients, and taking it out."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server_embeddings.clients import jsonc
from mcp_server_embeddings.clients.command import launch, own_program
from mcp_server_embeddings.clients.configuration import installed, uninstalled
from mcp_server_embeddings.clients.editors import EDITORS, object_at
from mcp_server_embeddings.clients.files import ClientFile
from mcp_server_embeddings.clients.table import CLIENTS, Client, System
from mcp_server_embeddings.errors import ClientFileError
from messages_api import CLAUDE_CODE
from scripts import run as run_script
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment

PLACES = {
    "linux": (
        System("linux", "/home/ann", {}),
        {
            "claude-desktop": "/home/ann/.config/Claude/claude_desktop_config.json",
            "claude-code": "/home/ann/.claude.json",
            "cursor": "/home/ann/.cursor/mcp.json",
            "vscode": "/home/ann/.config/Code/User/mcp.json",
            "codex": "/home/ann/.codex/config.toml",
            "windsurf": "/home/ann/.codeium/windsurf/mcp_config.json",
            "zed": "/home/ann/.config/zed/settings.json",
            "gemini": "/home/ann/.gemini/settings.json",
            "opencode": "/home/ann/.config/opencode/opencode.jsonc",
        },
    ),
    "moved": (
        System("linux", "/home/ann", {"XDG_CONFIG_HOME": "/x", "CODEX_HOME": "/c", "CLAUDE_CONFIG_DIR": "/a/b"}),
        {
            "vscode": "/x/Code/User/mcp.json",
            "zed": "/x/zed/settings.json",
            "codex": "/c/config.toml",
            "claude-code": "/a/b/.claude.json",
        },
    ),
    "macos": (
        System("darwin", "/Users/ann", {}),
        {
            "claude-desktop": "/Users/ann/Library/Application Support/Claude/claude_desktop_config.json",
            "claude-code": "/Users/ann/.claude.json",
            "vscode": "/Users/ann/Library/Application Support/Code/User/mcp.json",
            "zed": "/Users/ann/.config/zed/settings.json",
            "opencode": "/Users/ann/.config/opencode/opencode.jsonc",
        },
    ),
    "windows": (
        System("win32", r"C:\Users\Ann", {"APPDATA": r"D:\Roaming"}),
        {
            "claude-desktop": r"D:\Roaming\Claude\claude_desktop_config.json",
            "claude-code": r"C:\Users\Ann\.claude.json",
            "cursor": r"C:\Users\Ann\.cursor\mcp.json",
            "vscode": r"D:\Roaming\Code\User\mcp.json",
            "codex": r"C:\Users\Ann\.codex\config.toml",
            "zed": r"D:\Roaming\Zed\settings.json",
            "opencode": r"C:\Users\Ann\.config\opencode\opencode.jsonc",
        },
    ),
}

COMMENTED = """// My settings.
{
  "theme": "One",   // kept
  /* and this */
  "context_servers": {
    "other": { "command": "other" }, // mine
  },
}
"""

CODEX = """# Mine.
model = "o"  # kept

[mcp_servers.other]
command = "other" # this too

[profiles.fast]
model = "p"
"""


def environment(home: Path, **variables: str) -> dict[str, str]:
    """A user of nothing but this home."""
    return client_environment(HOME=str(home), PATH=str(Path(sys.executable).parent), **variables)


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program for a user of this home, with nobody to answer."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def files(home: Path) -> dict[str, bytes]:
    """What a home holds; the cache is none of it."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def written(home: Path, path: str, text: str) -> Path:
    """A file of a home."""
    file = home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="")
    return file


def document(client: Client, path: Path) -> object:
    """The values of a client's file."""
    return EDITORS[client.format].read(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PLACES)
def test_each_client_has_its_place_on_each_system(name: str) -> None:
    system, places = PLACES[name]
    assert {client: str(CLIENTS[client].candidates(system)[0]) for client in places} == places


@pytest.mark.slow
def test_what_is_installed_in_every_client_starts_a_server_and_goes_again(tmp_path: Path, data_dir: Path) -> None:
    finished = run(tmp_path, "install", *CLIENTS, "--yes", "--tools", "core")
    assert (finished.returncode, finished.stderr) == (0, "")
    system = System(sys.platform, str(tmp_path), {})
    paths = {client.name: client.file(system) for client in CLIENTS.values()}
    entries = [ClientFile.read(CLIENTS[name], path).entry("embeddings") for name, path in paths.items()]
    (found_launch,) = {launch(entry) for entry in entries}
    assert found_launch is not None
    program, *arguments = found_launch.command
    assert Path(program).is_absolute()
    with ServerProcess(data_dir, *arguments, program=(program,)) as server:
        server.handshake()
        assert len(server.request("tools/list")["tools"]) == 4
    assert run(tmp_path, "install", *CLIENTS).stdout.count("has 'embeddings' already") == len(CLIENTS)
    assert run(tmp_path, "uninstall", "--yes").returncode == 0
    assert all(ClientFile.read(CLIENTS[name], path).entry("embeddings") is None for name, path in paths.items())


@pytest.mark.slow
def test_claude_code_connects_to_what_was_installed_and_install_knows_it_again(tmp_path: Path) -> None:
    run(tmp_path, "install", "claude-code", "--yes", "--engine-process", "own")
    node = shutil.which("node")
    assert node is not None
    listed = subprocess.run(
        [node, str(CLAUDE_CODE), "mcp", "list"],
        env=environment(tmp_path, DISABLE_AUTOUPDATER="1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert re.search(r"^embeddings: .* Connected$", listed.stdout, re.MULTILINE), listed
    written_by_client = (tmp_path / ".claude.json").read_bytes()
    assert "has 'embeddings' already" in run(tmp_path, "install", "--yes").stdout
    assert (tmp_path / ".claude.json").read_bytes() == written_by_client


def test_install_finds_the_clients_that_are_here_and_uninstall_too(tmp_path: Path) -> None:
    written(tmp_path, ".cursor/mcp.json", "{}")
    written(tmp_path, ".claude.json", '{"numStartups": 3}')
    assert run(tmp_path, "install", "--yes").returncode == 0
    assert json.loads((tmp_path / ".claude.json").read_text(encoding="utf-8"))["numStartups"] == 3
    assert sorted(name for name in files(tmp_path) if not name.endswith(".bak")) == [".claude.json", ".cursor/mcp.json"]
    assert run(tmp_path, "uninstall", "--yes").returncode == 0
    assert json.loads((tmp_path / ".cursor/mcp.json").read_text(encoding="utf-8")) == {"mcpServers": {}}


def test_without_an_answer_the_change_is_shown_and_nothing_written(tmp_path: Path) -> None:
    zed = written(tmp_path, ".config/zed/settings.json", COMMENTED)
    finished = run(tmp_path, "install")
    assert finished.returncode == 2
    assert '+    "embeddings": {' in finished.stdout.splitlines()
    assert "--yes writes without asking" in finished.stdout
    assert files(tmp_path) == {str(zed.relative_to(tmp_path)): COMMENTED.encode()}


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2), ("", 2)])
def test_a_person_is_asked(answer: str, status: int, tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "install"], env=environment(tmp_path), stdin=theirs, stdout=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=PATIENCE)
    os.close(ours)
    assert process.returncode == status
    assert "mcp.json? [y/N]" in output
    assert (tmp_path / ".cursor/mcp.json").exists() == (status == 0)


def test_print_shows_the_entry_and_touches_nothing_not_even_a_broken_file(tmp_path: Path) -> None:
    written(tmp_path, ".claude.json", "{broken")
    before = files(tmp_path)
    finished = run(tmp_path, "install", "claude-code", "--print", "--allow-dir", str(tmp_path))
    assert (finished.returncode, finished.stderr) == (0, "")
    heading, shown = finished.stdout.split("\n\n", 1)
    assert heading == f"Claude Code: {tmp_path / '.claude.json'}"
    assert json.loads(shown)["mcpServers"]["embeddings"]["args"] == ["--allow-dir", str(tmp_path)]
    assert files(tmp_path) == before


def test_settings_are_passed_on_with_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    folders = ("--allow-dir", "~/notes", "--allow-dir", os.path.relpath(tmp_path))
    shown = run(tmp_path, "install", "cursor", "--print", *folders, "--no-cache").stdout.split("\n\n", 1)[1]
    arguments = json.loads(shown)["mcpServers"]["embeddings"]["args"]
    assert arguments[:4] == ["--no-cache", "--allow-dir", str(tmp_path / "notes"), "--allow-dir"]
    assert Path(arguments[4]).is_absolute()
    assert Path(arguments[4]).samefile(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("claud-code",), "unknown client 'claud-code'; did you mean 'claude-code'?"),
        ((), "no client was found on this machine; name one: claude-desktop, "),
        (("cursor", "--tools", "serch"), "tools: there is no tool or set 'serch'; did you mean 'search'?"),
        (("cursor", "--port", "1"), "--port is for HTTP, and clients start the server over stdio; leave it out"),
        (("cursor", "--transport", "http"), "--transport is for HTTP, and clients start"),
        (("cursor", "--name", "a b"), "name 'a b' is not a server's; use up to 64 of a-z"),
        (("cursor", "--allow-dir", "/nowhere"), "allow-dir '/nowhere' is not a directory"),
    ],
)
def test_bad_input_is_refused_before_anything_is_shown(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    finished = run(tmp_path, "install", "--yes", *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"mcp-server-embeddings: {sentence}")
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("client", "content", "problem"),
    [
        ("claude-code", b'{\n  "a": 1,\n  "b" 2\n}', "line 3: a colon is expected after 'b'"),
        ("claude-code", b'{\n  // why\n  "a": 1\n}', "line 2: a comment, which this client does not read"),
        ("claude-code", b'{"a": 1,\n}', "line 2: a comma before the end, which this client does not read"),
        ("claude-code", b'{"mcpServers": {"a": {}},\n"mcpServers": {}}', "line 2: 'mcpServers' is there a second time"),
        ("claude-code", b'{\n"mcpServers": []}', "line 2: an object is expected, to hold 'embeddings'"),
        ("cursor", b"{\n/* open", "line 2: a comment without its end"),
        ("cursor", b'{"a": NaN}', "line 1: NaN is not JSON"),
        ("cursor", b'{"a": 1} {}', "line 1: something follows the end"),
        ("cursor", b"[" * 300, "line 1: nested more than 200 levels deep"),
        ("cursor", b"{\n\xff}", "line 2 is not UTF-8"),
        ("codex", b"a = 1\nb = \n", "Invalid value (at line 2, column 5)"),
        ("codex", b"mcp_servers = 1\n", "'mcp_servers' is not a table"),
    ],
)
def test_a_file_that_cannot_be_edited_is_left_as_it_is(
    client: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    path = CLIENTS[client].file(System("linux", str(tmp_path), {}))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    finished = run(tmp_path, "install", client, "--yes")
    assert finished.returncode == 2
    assert f"{path} is left as it is: {problem}" in finished.stderr
    assert files(tmp_path) == {str(path.relative_to(tmp_path)): content}


def test_one_broken_file_does_not_keep_the_other_clients(tmp_path: Path) -> None:
    written(tmp_path, ".claude.json", "{broken")
    written(tmp_path, ".cursor/mcp.json", "")
    finished = run(tmp_path, "install", "--yes")
    assert finished.returncode == 2
    assert "Claude Code: " in finished.stderr
    assert "embeddings" in (tmp_path / ".cursor/mcp.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "text"), [("zed", COMMENTED), ("codex", CODEX)])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_everything_that_was_there_stays(name: str, text: str, newline: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    text = text.replace("\n", newline)
    path = written(tmp_path, "settings", text)
    path.chmod(0o640)
    change = installed(client, path, "embeddings", ["/bin/mcp-server-embeddings"], ["--tools", "core"])
    assert [line for line in change.diff() if re.match(r"-(?!--)", line)] == []
    backup = change.write()
    assert backup is not None
    assert backup.read_bytes() == text.encode()
    assert (path.stat().st_mode & 0o777, backup.stat().st_mode & 0o777) == (0o640, 0o600)
    now = path.read_bytes().decode()
    assert now.count(newline) == now.count("\n")
    uninstalled(client, path, "embeddings").write()
    assert path.read_bytes().decode().rstrip() == text.rstrip()


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert installed(CLIENTS["cursor"], path, "e", ["x"], []).after.startswith(b'\xef\xbb\xbf{"a": 1, "mcpServers"')


def test_a_file_without_lines_keeps_its_one(tmp_path: Path) -> None:
    path = written(tmp_path, "mcp.json", '{"mcpServers":{"a":{"command":"a"}}}')
    after = installed(CLIENTS["cursor"], path, "e", ["x"], []).after
    assert after == b'{"mcpServers":{"a":{"command":"a"}, "e": {"command": "x", "args": []}}}'


def test_an_entry_of_another_program_is_shown_as_changed_and_not_uninstalled(tmp_path: Path) -> None:
    path = written(tmp_path, ".cursor/mcp.json", '{"mcpServers": {"embeddings": {"url": "http://a.example"}}}')
    refused = run(tmp_path, "uninstall", "--yes")
    assert refused.returncode == 2
    assert "has another server under the name 'embeddings'; it is left as it is" in refused.stderr
    change = installed(CLIENTS["cursor"], path, "embeddings", ["/bin/server"], [])
    assert any(line.startswith("-") and "http://a.example" in line for line in change.diff())
    assert json.loads(change.after) == {"mcpServers": {"embeddings": {"command": "/bin/server", "args": []}}}


def test_an_entry_of_this_program_keeps_its_options_and_what_else_it_has(tmp_path: Path) -> None:
    entry = {"env": {"A": "1"}, "command": "/old/mcp-server-embeddings", "args": ["--tools", "core"], "disabled": True}
    path = written(tmp_path, "mcp.json", json.dumps({"mcpServers": {"embeddings": entry}}))
    kept = json.loads(installed(CLIENTS["cursor"], path, "embeddings", ["/new"], []).after)
    assert kept["mcpServers"]["embeddings"] == entry | {"command": "/new"}
    given = json.loads(installed(CLIENTS["cursor"], path, "embeddings", ["/new"], ["--no-cache"]).after)
    assert given["mcpServers"]["embeddings"] == entry | {"command": "/new", "args": ["--no-cache"]}


def test_an_entry_that_uvx_started_does_not_keep_its_arguments(tmp_path: Path) -> None:
    entry = {"command": "uvx", "args": ["mcp-server-embeddings"]}
    path = written(tmp_path, "mcp.json", json.dumps({"mcpServers": {"embeddings": entry}}))
    after = json.loads(installed(CLIENTS["cursor"], path, "embeddings", ["/new"], []).after)
    assert after == {"mcpServers": {"embeddings": {"command": "/new", "args": []}}}


def test_the_servers_of_opencode_2_stand_one_level_deeper(tmp_path: Path) -> None:
    path = written(tmp_path, "opencode.json", '{"mcp": {"servers": {}}}')
    after = json.loads(installed(CLIENTS["opencode"], path, "e", ["x", "-y"], []).after)
    assert after == {"mcp": {"servers": {"e": {"type": "local", "command": ["x", "-y"]}}}}


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target = written(tmp_path, "dotfiles/cursor.json", "{}")
    link = tmp_path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(target)
    assert run(tmp_path, "install", "--yes").returncode == 0
    assert link.is_symlink()
    assert "embeddings" in target.read_text(encoding="utf-8")
    assert next(target.parent.glob("*.bak")).read_text(encoding="utf-8") == "{}"


def test_a_read_only_file_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ".cursor/mcp.json", "{}")
    path.chmod(0o444)
    (tmp_path / ".claude.json").mkdir()
    finished = run(tmp_path, "install", "--yes")
    assert finished.returncode == 2
    assert f"{path} is read-only; make it writable" in finished.stderr
    assert f"{tmp_path / '.claude.json'} is not a file; move it away" in finished.stderr
    assert files(tmp_path) == {".cursor/mcp.json": b"{}"}


def test_a_file_that_its_client_writes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "mcp.json", "{}")
    change = installed(CLIENTS["cursor"], path, "e", ["x"], [])
    path.write_text('{"new": 1}', encoding="utf-8")
    with pytest.raises(ClientFileError, match="was changed meanwhile, maybe by Cursor; try again"):
        change.write()
    assert files(tmp_path) == {"mcp.json": b'{"new": 1}'}


def test_a_second_copy_within_a_second_does_not_replace_the_first(tmp_path: Path) -> None:
    path = written(tmp_path, "mcp.json", "{}")
    copies = {
        installed(CLIENTS["cursor"], path, name, ["x"], []).write() for name in ("first", "second", "third", "fourth")
    }
    assert len(copies) == 4


def test_a_server_starts_without_what_only_people_need() -> None:
    script = (
        "import sys\n"
        "from mcp_server_embeddings.cli.main import parse\n"
        "parse(['--tools', 'core'])\n"
        "from mcp_server_embeddings.cli import engine, serve\n"
        "from mcp_server_embeddings.mcp_layer import server\n"
        "print([name for name in sys.modules if name.startswith(('tomlkit', 'shtab', *sys.argv[1:]))])"
    )
    parts = ("clients", "doctor", "cli.install", "cli.doctor", "cli.completion", "cli.commands")
    assert run_script(script, *(f"mcp_server_embeddings.{part}" for part in parts)) == "[]\n"


def test_the_command_is_this_installation_s() -> None:
    (program,) = own_program()
    assert Path(program).is_absolute()
    assert Path(program).parent == Path(sys.executable).parent


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
COMMENTS = st.sampled_from(["", " ", "\n", "\n\n    ", "\t", " /* a */ ", " // b, { }\n", "\r\n"])


@st.composite
def commented(draw: st.DrawFn, value: object) -> str:
    """A value with blanks, comments and trailing commas anywhere."""
    blank = draw(COMMENTS)
    if isinstance(value, Mapping):
        parts = [f"{draw(COMMENTS)}{json.dumps(k)}{draw(COMMENTS)}:{draw(commented(v))}" for k, v in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list):
        parts = [draw(commented(item)) for item in value]
        opening, closing = "[", "]"
    else:
        return blank + json.dumps(value, ensure_ascii=draw(st.booleans())) + draw(COMMENTS)
    trailing = draw(st.booleans())
    comma = "," if parts and trailing else ""
    return f"{blank}{opening}{','.join(parts)}{comma}{draw(COMMENTS)}{closing}{draw(COMMENTS)}"


@pytest.mark.slow
@given(st.data(), st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from(["mcp", "a"]))
def test_edits_of_json_with_comments_change_what_they_say_and_nothing_else(
    data: st.DataObject, value: dict[str, object], key: str
) -> None:
    text = data.draw(commented(value))
    assert jsonc.read(text) == value
    inner = object_at(value, (key,)) if isinstance(value.get(key, {}), dict) else None
    if inner is None:
        return
    put = jsonc.put(text, (key, "new"), {"command": "x"})
    assert jsonc.read(put) == value | {key: inner | {"new": {"command": "x"}}}
    removed = jsonc.remove(put, (key, "new"))
    assert jsonc.read(removed) == value | {key: {name: kept for name, kept in inner.items() if name != "new"}}
    assert removed.count("/* a */") == text.count("/* a */")
    assert removed.count("// b, { }") == text.count("// b, { }")


@given(st.text(alphabet='{}[]",:/*\\ \n1atn', max_size=30))
def test_what_is_malformed_is_said_with_its_line(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        if text.strip():
            with pytest.raises(ValueError, match=r"^line \d+: ."):
                jsonc.read(text, comments=False)
    else:
        assert jsonc.read(text, comments=False) == expected


def test_toml_is_read_back_as_it_was_meant() -> None:
    for text in (
        CODEX,
        "",
        "mcp_servers = {a = {command = 'x'}}\n",
        "[mcp_servers]\n",
        "mcp_servers.a.command = 'x'\n",
    ):
        put = EDITORS["toml"].put(text, ("mcp_servers", "e"), {"command": "y", "args": ["-z"]})
        assert object_at(tomllib.loads(put), ("mcp_servers", "e")) == {"command": "y", "args": ["-z"]}
        removed = tomllib.loads(EDITORS["toml"].remove(put, ("mcp_servers", "e")))
        assert object_at(removed, ("mcp_servers",)) == object_at(tomllib.loads(text), ("mcp_servers",))
