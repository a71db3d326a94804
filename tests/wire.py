"""Drive a real server process over its pipes, byte by byte."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = (sys.executable, "-m", "mcp_server_embeddings")
OWN_FOLDERS = ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
MODE = ("MCP_EMBEDDINGS_ENGINE_PROCESS", "MCP_EMBEDDINGS_IDLE_EXIT")
"""Variables that conftest.py and its fixtures set."""

PATIENCE = 120.0
"""Seconds after which a missing answer fails a test; generous, because no test measures time with it."""


def client_environment(**extra: str) -> dict[str, str]:
    """Return the variables that MCP clients pass on, those of the tests, and one that forbids downloads."""
    from_user = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
    inherited = {name: os.environ[name] for name in (*from_user, *OWN_FOLDERS, *MODE) if name in os.environ}
    return {**inherited, "HF_HUB_OFFLINE": "1", **extra}


class ServerProcess:
    """A server under test. ``lines`` has every byte that it wrote to stdout, which must be JSON-RPC."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.lines: list[bytes] = []
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._next_id = 0
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir)),
                # A test's own program modifies its process, so the engine must run there.
                **({} if program is PROGRAM else {"MCP_EMBEDDINGS_ENGINE_PROCESS": "own"}),
                **(environment or {}),
            },
        )
        self.stderr: list[bytes] = []
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._log)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.finish()
        if kind is None:
            self.assert_only_json_rpc()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._messages.put(json.loads(line) if line.startswith(b"{") else {"stray": line})
        self._messages.put(None)

    def _log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr.append(line)

    @property
    def log(self) -> str:
        """Everything on standard error so far."""
        return b"".join(self.stderr).decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        """Write raw bytes to the server's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, params: Mapping[str, Any] | None = None, **envelope: Any) -> int:
        """Send a request; return its id."""
        self._next_id += 1
        self._write_message({"id": self._next_id, "method": method, "params": dict(params or {}), **envelope})
        return self._next_id

    def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification."""
        self._write_message({"method": method, "params": dict(params or {})})

    def _write_message(self, message: Mapping[str, Any]) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def next_message(self) -> dict[str, Any]:
        """Return the next message of any kind."""
        message = self._messages.get(timeout=PATIENCE)
        assert message is not None, f"the server ended: {self.log}"
        return message

    def unread(self) -> Iterator[dict[str, Any]]:
        """Yield the messages that are left after the process has ended."""
        while (message := self._messages.get(timeout=PATIENCE)) is not None:
            yield message

    def answer(self, request: int | None) -> dict[str, Any]:
        """Wait for the answer to a request; skip other messages."""
        while True:
            message = self.next_message()
            if message.get("id") == request and "method" not in message:
                return message

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request, wait for its answer and return the result."""
        answer = self.answer(self.send(method, params))
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def handshake(self, version: str = "2025-11-25") -> dict[str, Any]:
        """Initialize the session; return the server's answer."""
        client = {"name": "test", "version": "1"}
        result = self.request("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": client})
        self.notify("notifications/initialized")
        return result

    def call(self, tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        """Call a tool and return the result."""
        return self.request("tools/call", self.call_params(tool, arguments, token=token))

    def finished_call(self, tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        """Call a tool until its work in the background has finished; return the structured result."""
        while True:
            result: dict[str, Any] = self.call(tool, arguments, token=token)["structuredContent"]
            if not result.get("running"):
                return result

    @staticmethod
    def call_params(tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        params: dict[str, Any] = {"name": tool, "arguments": dict(arguments)}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return params

    def finish(self) -> int:
        """Wait for the process to end and read all its output; return the exit status."""
        status = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return status

    def seconds_to_end(self) -> float:
        """Wait for the process to end; return how many seconds that took."""
        start = time.monotonic()
        self.process.wait(PATIENCE)
        return time.monotonic() - start

    def assert_only_json_rpc(self) -> None:
        """Assert that every line on stdout is a complete JSON-RPC message."""
        for line in self.lines:
            assert line.endswith(b"\n")
            assert json.loads(line)["jsonrpc"] == "2.0"


def error_text(result: Mapping[str, Any]) -> str:
    """Return the text of a tool error; fail if the result is not an error."""
    assert result.get("isError") is True, result
    text: str = result["content"][0]["text"]
    return text


def peak_memory(pid: int) -> int:
    """Return the peak resident memory of a process in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024
