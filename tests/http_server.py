"""Drive a real server over HTTP: raw requests, and the SDK's client."""

import queue
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from mcp import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client

from wire import PATIENCE, PROGRAM, client_environment

ACCEPTED = {"Accept": "application/json, text/event-stream"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""Metadata about the client in a request of the stateless protocol."""


class HttpServer:
    """A server under test, on a free port."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "serve", "--transport", "http", "--port", "0", "--data-dir", str(data_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=client_environment(),
        )
        self.lines: list[bytes] = []
        self._url = queue.Queue[str]()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._url.get(timeout=PATIENCE)
        assert self.url, self.log
        self.http = httpx2.Client(base_url=self.url.removesuffix("/mcp"), timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        self.finish()

    @property
    def log(self) -> str:
        """Everything on standard error so far."""
        return b"".join(self.lines).decode("utf-8", "replace")

    def finish(self) -> int:
        """Wait for the process to end and read all its output; return the exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return status

    def post(
        self, method: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Send a request of the protocol with a handshake."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})}
        return self.http.post("/mcp", json=message, headers={**ACCEPTED, **(headers or {})})

    def post_modern(
        self, method: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Send a request of the stateless protocol (2026-07-28)."""
        name = (params or {}).get("name") or (params or {}).get("uri")
        named = {"Mcp-Name": name} if name else {}
        sent = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, **named, **(headers or {})}
        return self.post(method, {**(params or {}), "_meta": META}, sent)

    def call(self, tool: str, arguments: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Call a tool and return the result."""
        answer = self.post("tools/call", {"name": tool, "arguments": dict(arguments)}, headers)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()["result"]
        return result

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        lines = self.http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"mcp_embeddings_{name} "))

    def connect(self, body: bytes, headers: Mapping[str, str]) -> socket.socket:
        """Begin a request: send its headers and part of its body."""
        connection = socket.create_connection((self.http.base_url.host, self.http.base_url.port or 80), PATIENCE)
        sent = {"Host": "localhost", "Content-Type": "application/json", **ACCEPTED, **headers}
        lines = ["POST /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return connection

    @asynccontextmanager
    async def client(
        self, mode: str = "auto", token: str = "", message_handler: MessageHandlerFnT | None = None
    ) -> AsyncIterator[Client]:
        """Connect the SDK's client."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
            transport = streamable_http_client(self.url, http_client=http)
            client = Client(transport, mode=mode, message_handler=message_handler, read_timeout_seconds=PATIENCE)
            async with client as connected:
                yield connected

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if b": serving at " in line:
                self._url.put(line.decode().split()[-1])
        self._url.put("")
