"""The server's fixed resources: models, status and guide."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from mcp.server import CacheHint
from mcp_types import Resource

from mcp_server_embeddings.engine.catalogue import catalogue, rerankers
from mcp_server_embeddings.mcp_layer.guide import guide
from mcp_server_embeddings.mcp_layer.registry import served_tools
from mcp_server_embeddings.tools.declaration import ToolContext
from mcp_server_embeddings.tools.status import status

HOUR = CacheHint(ttl_ms=3_600_000, scope="public")
"""For content that does not change while the server runs."""

_NOT_CACHED = CacheHint()


@dataclass(frozen=True, slots=True)
class ServedResource:
    """One resource.

    Attributes:
        entry: The entry of ``resources/list``.
        text: Returns its content. Runs on a worker thread; may wait for the model.
        cache_hint: How long a client may cache it.
    """

    entry: Resource
    text: Callable[[ToolContext], str]
    cache_hint: CacheHint


def _models(_: ToolContext) -> str:
    entries = (*catalogue(), *rerankers())
    return json.dumps([entry.model_dump(mode="json", exclude_none=True) for entry in entries], ensure_ascii=False)


def _status(context: ToolContext) -> str:
    return json.dumps(
        status(
            context.engine,
            context.store,
            protocol=context.protocol,
            folders=context.folders,
            output_dir=context.output_dir,
            process=context.process,
        ).compact()
    )


def _guide(context: ToolContext) -> str:
    return guide(context.embedder, served_tools(context.settings))


_RESOURCES = (
    ServedResource(
        Resource(
            uri="embeddings://models",
            name="models",
            title="Well-known embedding models",
            description="Dimensions, token limits, sizes, licences, prompts and published scores, with sources",
            mime_type="application/json",
        ),
        _models,
        HOUR,
    ),
    ServedResource(
        Resource(
            uri="embeddings://status",
            name="status",
            title="Server status",
            description="What the tool status says: model, state, limits, queue and cache figures",
            mime_type="application/json",
        ),
        _status,
        _NOT_CACHED,
    ),
    ServedResource(
        Resource(
            uri="embeddings://guide",
            name="guide",
            title="How to read scores",
            description="Scores, percentiles and bands with this model's own distribution, and which tool is for what",
            mime_type="text/markdown",
        ),
        _guide,
        _NOT_CACHED,
    ),
)

RESOURCES = {resource.entry.uri: resource for resource in _RESOURCES}
"""Every resource by URI, in the order of ``resources/list``."""
