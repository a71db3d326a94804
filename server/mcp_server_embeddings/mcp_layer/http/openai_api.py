"""``/v1/embeddings`` and ``/v1/models`` as in OpenAI's API, ``/v1/rerank`` as in Cohere's and Jina's.

They give programs that do not speak MCP access to the same engine.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import anyio
import numpy as np
import pydantic_core
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.catalogue import full_id
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.errors import CallerError, EmbeddingsError, InputError, OperatorError, UnknownModelError
from mcp_server_embeddings.lenient_json import parse_json
from mcp_server_embeddings.mcp_layer.arguments import parse
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.limits import MAX_BODY_BYTES
from mcp_server_embeddings.tools.coercion import MAX_QUOTED, quoted
from mcp_server_embeddings.tools.declaration import Arguments
from mcp_server_embeddings.tools.embed import check_dimensions, encoded
from mcp_server_embeddings.tools.texts import check_size, checked_query, checked_texts
from mcp_server_embeddings.vectors.scores import Vectors
from mcp_server_embeddings.vectors.shape import shortened

_log = logging.getLogger(__name__)

_LARGE_BODY_BYTES = 1_000_000
"""Only a few larger requests run at a time, since their parsed texts and their vectors take memory."""

_CLIENT_CLOSED_REQUEST = 499
"""Status after a disconnect, the one that nginx logs; no client receives it."""

_DECIMALS = 6


class EmbeddingsRequest(Arguments):
    """The body of ``POST /v1/embeddings``; ``input_type`` is an extension, ``user`` is ignored."""

    input: object
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Role = "symmetric"
    user: object = None


class RerankRequest(Arguments):
    """The body of ``POST /v1/rerank``; ``user`` is ignored."""

    query: str
    documents: object
    model: str = ""
    top_n: int | None = None
    return_documents: bool = False
    user: object = None


def routes(service: Service) -> list[Route]:
    """Return the routes, without authentication and limits, which the application adds.

    Requests of one user (``scope["user"]``), or of one address if there are no users, share threads and the inference
    queue like the calls of one session.
    """

    def route(path: str, method: str, work: Callable[[bytes, Embedder], object]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _serve(request, service, work)

        return Route(path, endpoint, methods=[method])

    return [
        route("/v1/embeddings", "POST", _embeddings),
        route("/v1/models", "GET", _models),
        route("/v1/rerank", "POST", _rerank),
    ]


async def _serve(request: Request, service: Service, work: Callable[[bytes, Embedder], object]) -> Response:
    """Answer a request on a thread of its session; if the client disconnects, the work stops at the next batch."""
    try:
        body = await _body(request)
    except ClientDisconnect:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    if body is None:
        return _error(413, f"the body has over {MAX_BODY_BYTES:,} bytes; spread the texts over several requests")
    call = Call(_session(request))
    threads = service.large_calls if len(body) > _LARGE_BODY_BYTES else service.threads
    answer = Response(status_code=_CLIENT_CLOSED_REQUEST)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, request, tasks.cancel_scope)
            future = threads.submit(call.session, _respond, work, body, service.engine.embedder(call))
            answer = await asyncio.wrap_future(future)
            tasks.cancel_scope.cancel()
    finally:
        call.cancel()
    return answer


async def _body(request: Request) -> bytes | None:
    """Return the body, or None if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def _cancel_on_disconnect(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _session(request: Request) -> Hashable:
    user = request.scope.get("user")
    return ("http", user.display_name if user else request.client and request.client.host)


def _respond(work: Callable[[bytes, Embedder], object], body: bytes, embedder: Embedder) -> Response:
    try:
        return _json(200, work(body, embedder))
    except UnknownModelError as error:
        return _error(404, str(error), param="model", code="model_not_found")
    except CallerError as error:
        return _error(400, str(error))
    except EmbeddingsError as error:
        return _error(503, str(error))
    # The outermost edge: the text of a crash stays in the log. A panic in a Rust library is not an Exception.
    except BaseException:  # noqa: BLE001
        _log.exception("%s crashed", work.__name__)
        return _error(500, "the request failed inside the server; its log says why. It can be tried again")


def _json(status: int, content: object) -> Response:
    return Response(pydantic_core.to_json(content), status, media_type="application/json")


def _error(status: int, message: str, param: str | None = None, code: str | None = None) -> Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return _json(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def _embeddings(body: bytes, embedder: Embedder) -> object:
    request = parse(EmbeddingsRequest, _object(body))
    identity = embedder.identity()
    _check_model(request.model, identity.name, identity.short)
    if request.dimensions is not None:
        check_dimensions(request.dimensions, identity)
    texts = _input_texts(request.input)
    embedded = embedder.embed(texts, role=request.input_type)
    vectors = embedded.vectors
    if request.dimensions is not None and request.dimensions < identity.dimensions:
        vectors = shortened(vectors, request.dimensions)
    return {
        "object": "list",
        "data": _entries(vectors, request.encoding_format),
        "model": identity.name,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
        **_notes(embedded.windowed, "of input are longer than the model reads; each is the mean of its windows"),
    }


def _entries(vectors: Vectors, encoding: Literal["float", "base64"]) -> Iterator[object]:
    """Yield the entries one at a time, so that the numbers are never all Python objects at once."""
    for index in range(len(vectors)):
        (embedding,) = encoded(vectors[index : index + 1], encoding)
        yield {"object": "embedding", "index": index, "embedding": embedding}


def _models(_: bytes, embedder: Embedder) -> object:
    names = [embedder.identity().name]
    with suppress(OperatorError):  # no reranker is configured, or it cannot be loaded
        names.append(embedder.reranker_identity().name)
    models = [{"id": name, "object": "model", "created": 0, "owned_by": name.rpartition("/")[0]} for name in names]
    return {"object": "list", "data": models}


def _rerank(body: bytes, embedder: Embedder) -> object:
    request = parse(RerankRequest, _object(body))
    if embedder.reranker is None:
        raise InputError("no reranker is configured; start the server with --reranker MODEL, a cross-encoder")
    name = embedder.reranker_identity().name
    _check_model(request.model, name)
    if request.top_n is not None and request.top_n < 1:
        raise InputError(f"top_n={request.top_n} is out of range; allowed: 1 or more, or leave it out for all")
    query, documents = _query_and_documents(request)
    relevance = embedder.rerank(query, documents, complete=True)
    results = [
        {"index": index, "relevance_score": round(float(relevance.scores[index]), _DECIMALS)}
        | ({"document": {"text": documents[index]}} if request.return_documents else {})
        for index in np.argsort(-relevance.scores, kind="stable")[: request.top_n].tolist()
    ]
    notes = _notes(relevance.full, "of documents fill what the model reads; what is beyond was not read")
    return {"model": name, "results": results, "usage": {"total_tokens": relevance.tokens}, **notes}


def _object(body: bytes) -> Mapping[str, object]:
    try:
        value = parse_json(body)
    except ValueError as error:
        raise InputError(f"the body is not JSON ({error}); send one JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f"the body is {quoted(value)}; send one JSON object")
    return value


def _check_model(requested: str, *served: str) -> None:
    """Accept the names of the served model, and an empty name.

    Raises:
        UnknownModelError: The name is another model's.
    """
    if requested and full_id(requested) not in {*served, full_id(served[0])}:
        raise UnknownModelError(
            f"the model {requested[:MAX_QUOTED]!r} is not served here; pass {served[0]!r}, or leave model out "
            "(GET /v1/models lists what is served)"
        )


def _input_texts(value: object) -> list[str]:
    """Return the texts in ``input``."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise InputError(f"input is {quoted(value)}; allowed: a string or a list of strings")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"input[{index}] is {quoted(text)}; allowed: strings. Token ids are refused, since each model has "
                "its own: send the texts (LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)"
            )
    check_size(texts)
    return checked_texts("input", texts)


def _query_and_documents(request: RerankRequest) -> tuple[str, list[str]]:
    if not isinstance(request.documents, list):
        raise InputError(f"documents is {quoted(request.documents)}; allowed: a list of strings")
    documents: list[str] = []
    for index, document in enumerate(request.documents):
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str):
            raise InputError(f"documents[{index}] is {quoted(document)}; allowed: strings, or objects with text")
        documents.append(text)
    check_size(documents, request.query)
    return checked_query("query", request.query), checked_texts("documents", documents)


def _notes(positions: Sequence[int], explanation: str) -> dict[str, object]:
    """Return the field ``notes``, which says how long texts were treated; empty if there are none."""
    if not positions:
        return {}
    listed = ", ".join(map(str, positions[:10])) + ("…" if len(positions) > 10 else "")
    return {"notes": [f"{len(positions):,} {explanation}: {listed}"]}
