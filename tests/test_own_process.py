"""Serving in a process of its own, changed by the tests."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wire import PATIENCE, ServerProcess, client_environment


def test_handshake_list_and_ping_are_answered_while_the_model_loads_and_nothing_heavy_before(data_dir: Path) -> None:
    script = (
        "import sys; from mcp_server_embeddings.engine import engine as e\n"
        "start = e.Engine.start\n"
        "def watched(self):\n"
        "    heavy = {'torch', 'transformers', 'sentence_transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "    print('heavy at start:', sorted(heavy), file=sys.stderr, flush=True); start(self)\n"
        "e.Engine.start = watched\n"
        "from mcp_server_embeddings.__main__ import main; main()\n"
    )
    with ServerProcess(data_dir, program=(sys.executable, "-c", script)) as server:
        server.handshake()
        waiting = server.send("tools/call", server.call_params("similarity", {"left": ["a", "b"]}))
        assert server.request("ping") == {}
        assert server.request("tools/list")["tools"]
        assert server.call("status", {})["structuredContent"]["state"] == "warming"
        assert server.answer(waiting)["result"]["structuredContent"]["pairs"]
        assert server.call("status", {})["structuredContent"]["state"] == "ready"
    assert "heavy at start: []" in server.log


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_numpy_is_imported_with_one_thread(transport: str, data_dir: Path) -> None:
    script = (
        "import os, sys\n"
        "class Watcher:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        "            print('threads:', os.environ.get('OPENBLAS_NUM_THREADS'), file=sys.stderr, flush=True)\n"
        "sys.meta_path.insert(0, Watcher)\n"
        "from mcp_server_embeddings.__main__ import main; main()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that the HTTP server ends after its imports
        address = ("--transport", transport, "--port", str(taken.getsockname()[1]))
        ended = subprocess.run(
            [sys.executable, "-c", script, *address, "--engine-process", "own", "--data-dir", str(data_dir)],
            env=client_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert re.findall("threads: .*", ended.stderr) == ["threads: 1"]


def test_a_lone_surrogate_in_an_answer_is_replaced_and_the_server_lives(data_dir: Path) -> None:
    script = (
        "from mcp.server import Server\n"
        "from mcp_types import ListToolsResult, Tool\n"
        "from mcp_server_embeddings.mcp_layer.stdio import leave, serve\n"
        "from mcp_server_embeddings.relay.wire import claim_wire\n"
        "async def tools(context, params):\n"
        "    schema = {'type': 'object'}\n"
        "    return ListToolsResult(tools=[Tool(name='t', description='cut \\ud83d', input_schema=schema)])\n"
        "wire = claim_wire()\n"
        "leave(serve(Server('s', on_list_tools=tools), wire, after_first_answer=lambda: None))\n"
    )
    with ServerProcess(data_dir, program=(sys.executable, "-c", script)) as server:
        server.handshake()
        assert server.request("tools/list")["tools"][0]["description"] == "cut \ufffd"
        assert server.request("ping") == {}


def test_prints_before_during_and_after_serving_stay_off_the_wire(data_dir: Path) -> None:
    script = (
        "import atexit, os, sys\n"
        "from mcp_server_embeddings.engine import engine as e\n"
        "sys.stdout.reconfigure(line_buffering=False)\n"
        "start = e.Engine.start\n"
        "def noisy(self):\n"
        "    print('stray print', end=''); os.write(1, b'stray write\\n'); os.system('echo stray child'); start(self)\n"
        "e.Engine.start = noisy\n"
        "from mcp_server_embeddings.__main__ import main; main()\n"
    )
    with ServerProcess(data_dir, program=(sys.executable, "-c", script)) as server:
        server.handshake()
        server.call("embed", {"texts": ["a"]})
        server.process.send_signal(signal.SIGTERM)
        server.finish()
        assert not any(b"stray" in line for line in server.lines)
    assert "stray write" in server.log
    assert "stray child" in server.log
