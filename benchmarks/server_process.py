"""A server under measurement: its calls, its CPU seconds, its memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import peak_memory

PLAIN = [sys.executable, str(Path(__file__).with_name("plain_server.py"))]
SHARED = [sys.executable, "-m", "mcp_server_embeddings"]
"""As clients start it: a relay to the engine process that sessions share."""

OURS = [*SHARED, "--engine-process", "own"]
"""One process, so that all it costs is measured."""

_CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


def cpu_seconds(pid: int) -> float:
    """User and system seconds so far, of all threads, from the scheduler's nanosecond counts."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def resident_memory(pid: int) -> int:
    """The resident size, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class FailedCallError(RuntimeError):
    """A call was answered with an error."""


class MeasuredServer:
    """A server process spoken to in raw JSON-RPC, so that no client's own work is measured."""

    def __init__(self, command: list[str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._next = 0
        self.answer_bytes = 0
        self._result(self.send("initialize", _CLIENT))
        self.notify("notifications/initialized", {})

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()

    def send(self, method: str, params: dict[str, Any]) -> int:
        """A request; its id."""
        self._next += 1
        self._write({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        return self._next

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """A notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def answer(self, request: int) -> dict[str, Any]:
        """The answer to a request, whatever comes before it."""
        assert self._process.stdout is not None
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the server ended")
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == request and "method" not in message:
                self.answer_bytes = len(line)
                return message

    def any_answer(self) -> int:
        """The id of the next answer, to whichever request."""
        assert self._process.stdout is not None
        while True:
            message: dict[str, Any] = json.loads(self._process.stdout.readline())
            if "id" in message and "method" not in message:
                return int(message["id"])

    def start_call(self, tool: str, **arguments: object) -> int:
        """A tool call; its id."""
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def call(self, tool: str, **arguments: object) -> float:
        """Wall seconds of one tool call, until it no longer goes on in the background."""
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

    def cpu_seconds(self) -> float:
        """As the function of this name."""
        return cpu_seconds(self._process.pid)

    def peak_memory(self) -> int:
        """The largest resident size so far, in bytes."""
        return peak_memory(self._process.pid)

    def end(self) -> float:
        """Kill it; CPU seconds of its whole life, of children that ended too."""
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
