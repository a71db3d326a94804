"""Collections as resources: the list of collections, a summary of each, and single documents."""

import json
from urllib.parse import quote, unquote

from mcp_types import Resource, ResourceTemplate

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.tools.status import collection_info
from mcp_server_embeddings.tools.texts import snippet

ROOT = "embeddings://collections"

_MAX_ENTRIES = 100
"""Maximum of collections in ``resources/list``, names in a completion, and documents in a collection's resource."""

TEMPLATES = [
    ResourceTemplate(
        uri_template=f"{ROOT}/{{name}}",
        name="collection",
        title="A collection",
        description="Its size, model and first documents",
        mime_type="application/json",
    ),
    ResourceTemplate(
        uri_template=f"{ROOT}/{{name}}/{{+id}}",
        name="document",
        title="A document of a collection",
        description="Its text as stored; an id such as notes.md#2 names one part of it",
        mime_type="text/plain",
    ),
]


def collection_uri(name: str) -> str:
    """Return the URI of a collection's resource."""
    return f"{ROOT}/{quote(name, safe='')}"


def list_resources(store: CollectionStore) -> list[Resource]:
    """Return the resource that lists all collections, then one resource for each collection."""
    root = Resource(
        uri=ROOT,
        name="collections",
        title="Collections",
        description="What is stored, with sizes and models",
        mime_type="application/json",
    )
    return [root, *(_entry(record) for record in store.list()[:_MAX_ENTRIES])]


def read(store: CollectionStore, uri: str) -> tuple[str, str]:
    """Return the text and the MIME type of a collection resource.

    Raises:
        CollectionError: The collection or the document does not exist.
        StorageError: The store cannot be read.
    """
    if uri == ROOT:
        return json.dumps([_summary(record) for record in store.list()], ensure_ascii=False), "application/json"
    name, slash, document = uri.removeprefix(f"{ROOT}/").partition("/")
    collection = store.open(unquote(name))
    if not slash:
        chunks = collection.first(_MAX_ENTRIES)
        previews = [{"id": chunk.id, "snippet": snippet(chunk.text)} for chunk in chunks]
        content = {**_summary(collection.record), "first": previews}
        return json.dumps(content, ensure_ascii=False), "application/json"
    text = collection.text_of(unquote(document))
    if text is None:
        raise CollectionError(f"collection {collection.name!r} has no document {unquote(document)!r}; search gives ids")
    return text, "text/plain"


def complete_names(store: CollectionStore, prefix: str) -> list[str]:
    """Return the names of collections that begin with a prefix, at most a hundred."""
    return [record.name for record in store.list() if record.name.startswith(prefix)][:_MAX_ENTRIES]


def _entry(record: CollectionRecord) -> Resource:
    return Resource(
        uri=collection_uri(record.name),
        name=record.name,
        description=f"{record.documents:,} documents, {record.chunks:,} chunks, {record.model}",
        mime_type="application/json",
    )


def _summary(record: CollectionRecord) -> dict[str, object]:
    info = collection_info(record, record.identity).model_dump(mode="json", exclude={"usable", "updated"})
    return {**info, "uri": collection_uri(record.name)}
