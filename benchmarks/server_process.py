"""Start a server, call it, and measure its CPU time and memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PLAIN = [sys.executable, str(Path(__file__).with_name("plain_server.py"))]
SHARED = [sys.executable, "-m", "mcp_server_embeddings"]
"""The command of clients: a relay to the engine process that sessions share."""

OURS = [*SHARED, "--engine-process", "own"]
"""A single process, so that measurements include all of its cost."""

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds of all running threads, from the scheduler's nanosecond counts."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def resident_memory(pid: int) -> int:
    """Return the resident size in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class FailedCallError(RuntimeError):
    """The answer of a call is an error."""


class MeasuredServer:
    """A server process called in raw JSON-RPC, so that measurements include no work of a client."""

    def __init__(self, command: list[str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._next = 0
        self.answer_bytes = 0
        self._result(self.send("initialize", INITIALIZE))
        self.notify("notifications/initialized", {})

    def kill(self) -> None:
        """Kill the process without waiting, like a crash."""
        self._process.kill()

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request and return its id."""
        self._next += 1
        self._write({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        return self._next

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def answer(self, request: int) -> dict[str, Any]:
        """Return the answer to a request, skipping all earlier messages."""
        while (message := self.any_answer())["id"] != request:
            continue
        return message

    def any_answer(self) -> dict[str, Any]:
        """Wait for the next answer to any request and return it."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            message: dict[str, Any] = json.loads(line)
            if "id" in message and "method" not in message:
                self.answer_bytes = len(line)
                return message
        raise RuntimeError("the server ended")

    def start_call(self, tool: str, **arguments: object) -> int:
        """Send a tool call and return its id."""
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def call(self, tool: str, **arguments: object) -> float:
        """Return the wall seconds of one tool call, including its time in the background."""
        began = time.perf_counter()
        while self._result(self.start_call(tool, **arguments)).get("structuredContent", {}).get("running"):
            continue
        return time.perf_counter() - began

    def _result(self, request: int) -> dict[str, Any]:
        answer = self.answer(request)
        result: dict[str, Any] = answer.get("result", {"isError": True})
        if result.get("isError"):
            raise FailedCallError(f"the call failed: {answer}")
        return result

    def end(self) -> float:
        """Kill the process; return the CPU seconds of its lifetime, including children that have ended."""
        self._process.kill()
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = -9
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return usage.ru_utime + usage.ru_stime

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
