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

_NEVER = CacheHint()


@dataclass(frozen=True, slots=True)
class ServedResource:
    """One resource.

    Attributes:
        listed: The entry of ``resources/list``.
        text: Returns its content. Runs on a worker thread; may wait for the model.
        fresh: How long a client may cache it.
    """

    listed: Resource
    text: Callable[[ToolContext], str]
    fresh: CacheHint


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


_ALL = (
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
        _NEVER,
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
        _NEVER,
    ),
)

RESOURCES = {resource.listed.uri: resource for resource in _ALL}
"""Every resource by URI, in the order of ``resources/list``."""
