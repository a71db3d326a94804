"""Report the state of the server, its model and its collections."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, AnswerBudget
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.status_results import CollectionInfo, Limits, ServerInfo, Status
from mcp_server_embeddings.tools.texts import MAX_CHARACTERS, MAX_TEXTS

ANSWER_BYTES = 4_000_000
"""Maximum number of bytes of an answer: TypeScript clients drop a stdio connection at 10 MiB, and an answer is sent
twice, as text and as structured content."""


@tool(
    title="Server status",
    description=(
        "Lists the collections, the readable folders and the model in use. Use it to learn what "
        "can be a source, or when a call failed. Not needed before other calls. Returns collections, folders, model, "
        "device, limits; never waits."
    ),
    core=True,
)
def status(
    engine: Engine,
    store: CollectionStore,
    *,
    protocol: str | None = None,
    folders: Sequence[Path] = (),
    output_dir: Path | None = None,
    process: str = "",
) -> Status:
    """Return a snapshot of server, model, collections and queue. Never waits, even while the model loads.

    Args:
        engine: The engine.
        store: The collections.
        protocol: The protocol revision negotiated with the client, if there is one.
        folders: The folders that may be read.
        output_dir: The folder that ``save_as`` writes to.
        process: Description of the server process.

    Raises:
        OperatorError: The store cannot be read.

    Example:
        >>> status(engine, store).state
        'ready'
    """
    figures = asdict(engine.status())
    encoder_note = figures.pop("note")
    loaded = engine.embedder().lifecycle.snapshot()[-1]
    identity = None if loaded is None else loaded.encoder.identity.digest
    notes = [encoder_note] if encoder_note else []
    if loaded is not None:
        notes += engine.text_languages.note(loaded.encoder.identity.name)
    collections = [collection_info(record, identity) for record in store.list()]
    listed = AnswerBudget().take(collections, share=0.6)
    more = len(collections) - listed
    return Status.model_validate(
        {
            **figures,
            "notes": [*([f"{more:,} more collections are not listed"] if more else []), *notes],
            "server": ServerInfo(name=DISTRIBUTION, version=VERSION),
            "protocol": protocol,
            "limits": Limits(texts=MAX_TEXTS, characters=MAX_CHARACTERS, answer_characters=ANSWER_CHARACTERS),
            "collections": collections[:listed],
            "folders": [str(folder) for folder in folders],
            "process": process,
            "output_folder": "" if output_dir is None else str(output_dir),
        }
    )


def collection_info(record: CollectionRecord, identity: str | None) -> CollectionInfo:
    """Return a record in the form of answers; ``usable`` is None if no model identity to compare with is known."""
    return CollectionInfo(
        name=record.name,
        size=record.documents,
        passages=record.chunks,
        model=record.model,
        usable=record.identity == identity if identity is not None else None,
        updated=datetime.fromtimestamp(record.updated, UTC).isoformat(timespec="seconds"),
    )
