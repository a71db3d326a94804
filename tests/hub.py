"""A local Hugging Face hub: the part of its API that downloads need, with failures on request."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from wire import PATIENCE

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_LARGE = (".safetensors", ".bin", ".onnx")
"""Files that the hub keeps in large-file storage, and whose SHA-256 it therefore reports."""


@dataclass(frozen=True, slots=True)
class Request:
    """A received request."""

    method: str
    path: str
    range: str | None

    @property
    def file(self) -> str | None:
        """The requested file of a model; None if the request is for something else."""
        _, separator, name = self.path.partition("/resolve/main/")
        return name if separator else None


@dataclass(frozen=True, slots=True)
class Hold:
    """Stops the transfer of a file at ``position`` until ``released`` is set."""

    position: int
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def wait_until_reached(self) -> None:
        assert self.reached.wait(PATIENCE), "nobody fetched the file"


class Hub:
    """Serves models until it is closed.

    Attributes:
        requests: All received requests, in order.
        gated: Ids of models whose files are refused.
        corrupt: Names of files that are sent with a wrong last byte.
        cuts: By file name, the position at which the connection breaks, for each GET in turn.
        holds: By file name, where every transfer of the file waits.
        status: Answer everything with this HTTP status; 0 to answer properly.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gated: set[str] = set()
        self.corrupt: set[str] = set()
        self.cuts: dict[str, Iterator[int]] = {}
        self.holds: dict[str, Hold] = {}
        self.status = 0
        self.models: dict[str, dict[str, bytes]] = {}
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def serve(self, model: str, folder: Path, *, extra: Mapping[str, bytes] | None = None) -> None:
        """Offer the files of a folder, and some more, under a model's id."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.models[model] = {**files, **(extra or {})}

    def hold(self, file: str, position: int) -> Hold:
        """Make every transfer of a file wait at a position."""
        self.holds[file] = Hold(position)
        return self.holds[file]

    def fetched(self, file: str) -> list[str | None]:
        """Return the Range header of each GET of a file, or None where there was no header."""
        return [request.range for request in self.requests if request.method == "GET" and request.file == file]

    def files_fetched(self) -> set[str]:
        """Return the names of all files that a client began to fetch."""
        return {request.file for request in self.requests if request.method == "GET" and request.file is not None}

    def close(self) -> None:
        """Stop serving and free the port."""
        for hold in self.holds.values():
            hold.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Do not log requests."""

    def _answer(self) -> None:
        hub = self.server.hub
        url = urlsplit(self.path)
        request = Request(self.command, unquote(url.path), self.headers.get("Range"))
        hub.requests.append(request)
        model = request.path.removeprefix("/api/models").removesuffix("/revision/main").strip("/")
        if request.file is not None:
            model = request.path.partition("/resolve/main/")[0].strip("/")
        try:
            if hub.status:
                self._refuse(hub.status, "")
            elif model not in hub.models:
                self._refuse(401, "RepoNotFound")
            elif request.file is None:
                self._send_info(model)
            elif model in hub.gated:
                self._refuse(403, "GatedRepo")
            elif request.file not in hub.models[model]:
                self._refuse(404, "EntryNotFound")
            else:
                self._send_file(request.file, hub.models[model][request.file])
        except ConnectionError:  # the client went away
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

    def _send_info(self, model: str) -> None:
        files = self.server.hub.models[model]
        info = {
            "id": model,
            "sha": COMMIT,
            "private": False,
            "gated": model in self.server.hub.gated,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [_sibling(name, data) for name, data in files.items()],
        }
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _send_file(self, name: str, data: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": f'"{_etag(name, data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if name in self.server.hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.command == "HEAD":
            self._send_headers(200, len(data), headers)
            return
        cut = next(self.server.hub.cuts.get(name, iter(())), None)
        self._send_headers(206 if start else 200, len(data) - start, headers)
        self._send_held(name, data[:cut], start)
        self.close_connection = cut is not None

    def _send_held(self, name: str, data: bytes, start: int) -> None:
        hold = self.server.hub.holds.get(name)
        if hold is not None:
            self.wfile.write(data[start : hold.position])
            hold.reached.set()
            hold.released.wait(PATIENCE)
            start = max(start, hold.position)
        self.wfile.write(data[start:])

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._send_headers(status, len(body), headers)
        if self.command == "GET":
            self.wfile.write(body)

    def _send_headers(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(header, value)
        self.end_headers()


def _sibling(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": name, "size": len(data)}
    if name.endswith(_LARGE):
        entry["lfs"] = {"sha256": _etag(name, data), "size": len(data), "pointerSize": 134}
    return entry


def _etag(name: str, data: bytes) -> str:
    """Return a file's ETag as the hub computes it: the SHA-256 of a large file, the git hash of any other."""
    if name.endswith(_LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
