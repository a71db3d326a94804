"""A server with a local model makes no network socket: the kernel ends its processes where one tries."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from files import pdf, tree
from scripts import at_start
from test_shared_engine import engine_of
from wire import ServerProcess, client_environment

SOCKET = {"x86_64": 41, "aarch64": 198}
"""Number of the system call, by processor."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in SOCKET, reason="seccomp"),
]

SHIM = f"""
import ctypes, struct
LOAD, EQUAL, ANSWER = 0x20, 0x15, 0x06
program = [
    (LOAD, 0, 0, 0),  # the call's number
    (EQUAL, 0, 2, {SOCKET.get(platform.machine(), 0)}),
    (LOAD, 0, 0, 16),  # its first argument
    (EQUAL, 0, 1, 1),  # AF_UNIX
    (ANSWER, 0, 0, 0x7FFF0000),  # do it
    (ANSWER, 0, 0, 0x80000000),  # end the process by SIGSYS
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, struct.pack("HP", len(program), ctypes.addressof(code)), 0, 0):
    raise OSError("no seccomp")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of processes that have no network sockets."""
    return at_start(tmp_path_factory.mktemp("site"), SHIM)


@pytest.mark.parametrize(
    ("family", "status"), [("AF_INET", -signal.SIGSYS), ("AF_INET6", -signal.SIGSYS), ("AF_UNIX", 0)]
)
def test_the_kernel_ends_a_process_that_makes_a_network_socket(
    environment: dict[str, str], family: str, status: int
) -> None:
    script = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)"
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, env=client_environment(**environment), check=False).returncode == status


@pytest.mark.usefixtures("engine_process")
def test_a_local_server_makes_no_network_socket(environment: dict[str, str], tmp_path: Path) -> None:
    root = tree(tmp_path / "files", {"a.md": "# A cat\n\nA cat sat.", "b.csv": "id,text\n1,A dog\n"})
    (root / "c.pdf").write_bytes(pdf("A horse ran."))
    variables = {**environment, "HF_HUB_OFFLINE": "0"}
    with ServerProcess(tmp_path / "data", "--allow-dir", str(root), environment=variables) as server:
        server.handshake()
        engine = engine_of(server) if os.environ["MCP_EMBEDDINGS_ENGINE_PROCESS"] == "shared" else 0
        assert server.call("collection_add", {"collection": "a", "source": str(root)})["structuredContent"]["size"] == 3
        calls: dict[str, dict[str, Any]] = {
            "search": {"source": "a", "query": "an animal"},
            "similarity": {"left": ["a", "b"]},
            "cluster": {"source": "a"},
            "classify": {"source": "a", "labels": ["cats", "dogs"]},
            "status": {},
        }
        for tool, arguments in calls.items():
            result = server.call(tool, arguments)
            assert not result.get("isError"), result
        assert engine == (engine_of(server) if engine else 0)
