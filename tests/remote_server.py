"""A server with OpenAI's embeddings API: the real model, which cuts long texts, and faults on request."""

import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.vectors.scores import Vectors
from waiting import wait_until
from wire import PATIENCE


def refusal(status: int, message: object = "no", **headers: str) -> Response:
    """Return an error in OpenAI's format; keywords are headers."""
    return JSONResponse({"error": {"message": message}}, status, {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass
class RemoteServer:
    """The server's behaviour, which a test may change between requests.

    Attributes:
        embedder: The model that embeds the texts.
        refuses_long: Whether to refuse a text over the model's limit with 400 instead of cutting it.
        read: Applied to the texts before they are embedded.
        base64: Whether to accept ``encoding_format``; otherwise it is refused with 400.
        most_texts: The maximum of texts in a request; more are refused with 422.
        key: A request without this key is refused with 401.
        change: Applied to the vectors.
        faults: Answers to give to the next requests instead, in order.
        bodies: The bodies of all requests that were answered with vectors.
        url: The value for --engine-url.
    """

    embedder: Embedder
    refuses_long: bool = False
    read: Callable[[list[str]], list[str]] = list
    base64: bool = True
    most_texts: int = 10_000
    key: str = ""
    change: Callable[[Vectors], Vectors] = lambda vectors: vectors
    faults: list[Response] = field(default_factory=list)
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def texts(self) -> list[str]:
        """All texts that were embedded."""
        return [text for body in self.bodies for text in body["input"]]

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        if self.faults:
            return self.faults.pop(0)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refusal(401, f"wrong key {request.headers.get('Authorization')}")
        if "encoding_format" in body and not self.base64:
            return refusal(400, "unknown field encoding_format")
        if len(body["input"]) > self.most_texts:
            return refusal(422, f"batch size {len(body['input'])} > maximum allowed batch size {self.most_texts}")
        return await anyio.to_thread.run_sync(self._embed, body)

    def _embed(self, body: Mapping[str, Any]) -> Response:
        embedded = self.embedder.embed(self.read(body["input"]), long_text="truncate")
        if embedded.truncated and self.refuses_long:
            return refusal(400, "a text is longer than the model reads")
        self.bodies.append(body)
        rows = self.change(embedded.vectors)
        entries = [{"index": index, "embedding": self._encoded(row, body)} for index, row in enumerate(rows)]
        return JSONResponse({"data": entries[::-1]})  # clients must not rely on the order

    @staticmethod
    def _encoded(row: Vectors, body: Mapping[str, Any]) -> object:
        if body.get("encoding_format") == "base64":
            return base64.b64encode(row.astype("<f4").tobytes()).decode()
        return row.tolist()


@contextmanager
def remote_server(embedder: Embedder, port: int = 0) -> Iterator[RemoteServer]:
    """Serve on a thread until the ``with`` block ends."""
    remote = RemoteServer(embedder)
    app = Starlette(routes=[Route("/v1/embeddings", remote._answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", ws="none", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server listens")
    remote.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    yield remote
    server.should_exit = True
    thread.join(PATIENCE)


def turned(vectors: Vectors) -> Vectors:
    """Return vectors that another model of the same size might answer."""
    return np.roll(vectors, 1, axis=1) * np.where(np.arange(vectors.shape[1]) % 2, 1, -1).astype(np.float32)


def in_float16(vectors: Vectors) -> Vectors:
    """Return the vectors that the same model answers in another precision."""
    return vectors.astype(np.float16).astype(np.float32)
