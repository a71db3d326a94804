"""What a client can read besides calling tools."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from mcp_types import Resource

from mcp_server_embeddings.engine.catalogue import catalogue


@dataclass(frozen=True, slots=True)
class ServedResource:
    """One resource: how it is listed and what it says."""

    listed: Resource
    text: Callable[[], str]


def _models() -> str:
    return json.dumps([entry.model_dump(mode="json", exclude_none=True) for entry in catalogue()], ensure_ascii=False)


RESOURCES = {
    "embeddings://models": ServedResource(
        Resource(
            uri="embeddings://models",
            name="models",
            title="Well-known embedding models",
            description="Dimensions, token limits, sizes, licences, prompts and published scores, with sources",
            mime_type="application/json",
        ),
        _models,
    )
}
"""Every resource by URI, in the order of ``resources/list``."""
