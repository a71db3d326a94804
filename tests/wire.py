"""Driving a real server process over its pipes, byte by byte."""

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
"""Variables that the tests set; see conftest."""

PATIENCE = 120.0
"""Seconds after which a missing answer fails a test; generous, since it is no measurement."""


def client_environment(**extra: str) -> dict[str, str]:
    """What MCP clients pass on (protocol.md), the tests' own folders, and no network."""
    passed_on = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
    kept = {name: os.environ[name] for name in (*passed_on, *OWN_FOLDERS, *MODE) if name in os.environ}
    return {**kept, "HF_HUB_OFFLINE": "1", **extra}


class ServerProcess:
    """A server under test. Every byte it writes to stdout is kept in ``lines`` and must be JSON-RPC."""

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
                # A program of a test's own changes the process that it is.
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
        """Raw bytes to the server's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, params: Mapping[str, Any] | None = None, **envelope: Any) -> int:
        """A request; returns its id."""
        self._next_id += 1
        message = {
            "jsonrpc": "2.0",
            "id": self._next_id,
            "method": method,
            "params": dict(params or {}),
            **envelope,
        }
        self.write(json.dumps(message).encode() + b"\n")
        return self._next_id

    def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """A notification."""
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": dict(params or {})}).encode() + b"\n")

    def next_message(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        message = self._messages.get(timeout=PATIENCE)
        assert message is not None, f"the server ended: {self.log}"
        return message

    def unread(self) -> Iterator[dict[str, Any]]:
        """The messages that nobody has read, after the end."""
        while (message := self._messages.get(timeout=PATIENCE)) is not None:
            yield message

    def answer(self, request: int | None) -> dict[str, Any]:
        """The answer to a request; other messages on the way are passed over."""
        while True:
            message = self.next_message()
            if message.get("id") == request and "method" not in message:
                return message

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send and wait; the result."""
        answer = self.answer(self.send(method, params))
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def handshake(self, version: str = "2025-11-25") -> dict[str, Any]:
        """The handshake of the protocol's first era."""
        client = {"name": "test", "version": "1"}
        result = self.request("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": client})
        self.notify("notifications/initialized")
        return result

    def call(self, tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        """Call a tool and wait; the result."""
        return self.request("tools/call", self.call_params(tool, arguments, token=token))

    def finished_call(self, tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        """Call a tool until it no longer goes on in the background; the structured result."""
        while True:
            found: dict[str, Any] = self.call(tool, arguments, token=token)["structuredContent"]
            if not found.get("running"):
                return found

    @staticmethod
    def call_params(tool: str, arguments: Mapping[str, Any], *, token: str | None = None) -> dict[str, Any]:
        params: dict[str, Any] = {"name": tool, "arguments": dict(arguments)}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return params

    def finish(self) -> int:
        """Wait for the end; the exit status, with all output read."""
        status = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        return status

    def seconds_to_end(self) -> float:
        """How long the process still takes to end."""
        began = time.monotonic()
        self.process.wait(PATIENCE)
        return time.monotonic() - began

    def assert_only_json_rpc(self) -> None:
        """Every byte on stdout belongs to a JSON-RPC message on a line of its own."""
        for line in self.lines:
            assert line.endswith(b"\n")
            assert json.loads(line)["jsonrpc"] == "2.0"


def error_text(result: Mapping[str, Any]) -> str:
    """The text of a tool error; fails when the result is none."""
    assert result.get("isError") is True, result
    text: str = result["content"][0]["text"]
    return text


def peak_memory(pid: int) -> int:
    """The most memory that a process had at one time, in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024
