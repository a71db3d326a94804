"""What a shell completes of the command line."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mcp_server_embeddings.cli.commands import main_parser
from mcp_server_embeddings.clients.table import CLIENTS
from mcp_server_embeddings.config import Settings, flag
from wire import PATIENCE, PROGRAM, client_environment

_COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_shtab_mcp_server_embeddings
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "completion", *arguments],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "bash"
    path.write_text(run("bash").stdout, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("inst",), {"install"}),
        (("install", "claude-"), {"claude-desktop", "claude-code"}),
        (("install", "cursor", "z"), {"zed"}),
        (("install", "--prin"), {"--print"}),
        (("classify", "--lab"), {"--labels"}),
        (("search", "--mode", ""), {"hybrid", "semantic", "keyword"}),
        (("--precision", ""), {"exact", "bf16", "int8"}),
        (("index", "--log-level", "w"), {"warning"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("--allow-dir", sys.prefix[:-1]), {sys.prefix}),
    ],
)
def test_bash_completes_commands_options_values_and_paths(
    words: tuple[str, ...], completed: set[str], bash_script: Path
) -> None:
    finished = subprocess.run(
        ["bash", "-c", _COMPLETE, "bash", str(bash_script), "mcp-server-embeddings", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert completed <= set(finished.stdout.split())
    assert all(found.startswith(words[-1]) for found in finished.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_knows_every_command_setting_and_client(shell: str) -> None:
    finished = run(shell)
    assert (finished.returncode, finished.stderr) == (0, "")
    options = [flag(field).removeprefix("--") for field in fields(Settings)]
    for name in (*main_parser().commands, *CLIENTS, *options, "save-as", "labels"):
        assert name in finished.stdout


def test_an_unknown_shell_is_refused_with_the_nearest() -> None:
    finished = run("bsh")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "mcp-server-embeddings: unknown shell 'bsh'; did you mean 'bash'?\n"
