"""Check servers, started like clients start them, and the engine processes that they share."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mcp_server_embeddings.clients.command import Launch, is_own, launch
from mcp_server_embeddings.clients.editors import object_at
from mcp_server_embeddings.clients.files import ClientFile
from mcp_server_embeddings.clients.table import Client
from mcp_server_embeddings.doctor.report import Finding, problem
from mcp_server_embeddings.errors import ClientFileError, NoAnswerError, UnsafePlaceError
from mcp_server_embeddings.program import DISTRIBUTION, VERSION

if TYPE_CHECKING:
    from mcp_server_embeddings.relay.address import EngineAddress

_INHERITED_VARIABLES = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""Environment variables that clients pass to servers in addition to those of the entry. On Windows all variables are
passed, since the ones that clients pass are too many to list."""

_TIMEOUT_SECONDS = 60.0
"""Seconds to wait for all answers, the same as Claude Desktop."""

_CLIENT = {"name": f"{DISTRIBUTION}-doctor", "version": VERSION}

_MESSAGES: tuple[dict[str, object], ...] = (
    {
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT},
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
    {"id": 3, "method": "tools/call", "params": {"name": "status", "arguments": {}}},
)

_REQUESTS = b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in _MESSAGES)

_ANSWERS = sum("id" in message for message in _MESSAGES)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answers of a server.

    Attributes:
        version: The server's version.
        tools: The number of tools.
        process: The server's description of its process; empty if it does not serve ``status``.
        seconds: The time from starting the server to its last answer.
    """

    version: str
    tools: int
    process: str
    seconds: float


def ask(command: Launch) -> Answer:
    """Start a server like a client does, and ask for its version, tools and status.

    Raises:
        NoAnswerError: The server cannot be started, or does not answer as an MCP server.
    """
    names = os.environ if sys.platform == "win32" else _INHERITED_VARIABLES
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user's client starts
                command.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**inherited, **dict(command.environment)},
            )
        except OSError as error:
            raise NoAnswerError(f"{command.command[0]} cannot be started: {error.strerror}") from None
        with process:
            results = _results(process)
        seconds = time.perf_counter() - start
        if len(results) < _ANSWERS:
            raise NoAnswerError(f"it gave no answer within {seconds:.0f} s{_last_line(log)}")
    return _answer(results, seconds)


def _results(process: "subprocess.Popen[bytes]") -> dict[int, dict[str, object]]:
    """Send the requests and read the answers, then stop the server."""
    deadline = threading.Timer(_TIMEOUT_SECONDS, process.kill)
    deadline.start()
    results: dict[int, dict[str, object]] = {}
    try:
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(_REQUESTS)
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "method" not in message:
                    results[message["id"]] = object_at(message, ("result",))
                if len(results) == _ANSWERS:
                    break
    except (OSError, ValueError, KeyError, TypeError):  # the server has ended, or does not write the protocol
        pass
    finally:
        deadline.cancel()
        process.terminate()
        if process.stdin is not None:
            with suppress(OSError):  # flushes requests that the server did not read
                process.stdin.close()
    return results


def _answer(results: dict[int, dict[str, object]], seconds: float) -> Answer:
    tools = results[2].get("tools")
    if not isinstance(tools, list):
        raise NoAnswerError("it answers, but has no tools")
    return Answer(
        version=str(object_at(results[1], ("serverInfo",)).get("version", "")),
        tools=len(tools),
        process=str(object_at(results[3], ("structuredContent",)).get("process", "")),
        seconds=seconds,
    )


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


class Servers:
    """Checks servers, starting each distinct command only once."""

    def __init__(self) -> None:
        self._answers: dict[Launch, Answer | NoAnswerError] = {}

    def _ask(self, command: Launch) -> Answer | NoAnswerError:
        if command not in self._answers:
            try:
                self._answers[command] = ask(command)
            except NoAnswerError as error:
                self._answers[command] = error
        return self._answers[command]

    def examine_server(self, command: Launch) -> Finding:
        """Start the server of this installation."""
        answer = self._ask(command)
        if isinstance(answer, NoAnswerError):
            return problem("server", str(answer), f"`{' '.join(command.command)}` in a terminal shows more")
        summary = f"answers after {answer.seconds:.1f} s with {answer.tools} tools"
        return Finding("server", "ok", f"{summary}, by {answer.process}" if answer.process else summary)

    def examine_client(self, client: Client, path: Path) -> Iterator[Finding]:
        """Read a client's configuration, and start each of its entries for this program like the client does."""
        try:
            file = ClientFile.read(client, path)
        except ClientFileError as error:
            yield problem(client.title, str(error))
            return
        entries = object_at(file.document, file.keys)
        own = {name: command for name, entry in entries.items() if is_own(entry) and (command := launch(entry))}
        if not own:
            yield Finding(client.title, "note", f"has no entry for this server: {path}", f"`install {client.name}`")
        for name, command in own.items():
            yield self._examine_entry(client, name, command)

    def _examine_entry(self, client: Client, name: str, command: Launch) -> Finding:
        answer = self._ask(command)
        if isinstance(answer, NoAnswerError):
            advice = f"correct its entry, or `uninstall {client.name} --name {name}` and `install` it again"
            return problem(client.title, f"{name!r} does not work: {answer}", advice)
        summary = f"{name!r} answers after {answer.seconds:.1f} s with {answer.tools} tools"
        if answer.version != VERSION:
            summary += f", version {answer.version} from another installation"
            return Finding(client.title, "note", summary, f"`install {client.name}`")
        return Finding(client.title, "ok", summary)


def examine_processes() -> list[Finding]:
    """Report the user's running engine processes."""
    if not hasattr(socket, "AF_UNIX"):
        return [Finding("engine processes", "ok", "none are shared here; each session serves itself")]
    from mcp_server_embeddings.relay.address import EngineAddress, private_folder

    try:
        folder = Path(private_folder())
        addresses = [EngineAddress(str(folder), path.stem) for path in sorted(folder.glob("*.sock"))]
        logs = [address.log_path for address in addresses if _listens(address)]
    except (OSError, UnsafePlaceError) as error:
        return [problem("engine processes", f"none can be shared: {error}")]
    if logs:
        summary = f"{len(logs)} running; logs: {', '.join(logs)}"
    else:
        summary = "none is running; the first session starts one"
    return [Finding("engine processes", "ok", summary, figures={"running": len(logs)})]


def _listens(address: "EngineAddress") -> bool:
    connection = address.connect()
    if connection is not None:
        connection.close()
    return connection is not None
