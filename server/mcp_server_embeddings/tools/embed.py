"""Texts to vectors."""

import base64
import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.errors import ConfigurationError, InputError
from mcp_server_embeddings.private import replaced
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import check_name
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import LongTexts, Texts
from mcp_server_embeddings.tools.results import EmbedResult, Saved, Usage, VectorFile
from mcp_server_embeddings.tools.texts import check_size, checked_texts
from mcp_server_embeddings.vectors.scores import Vectors
from mcp_server_embeddings.vectors.shape import shortened

INLINE_NUMBERS = 4_096
"""``auto`` sends up to this many numbers inline: about 40 KB of JSON."""

_DECIMALS = 6


@tool(
    title="Embed texts",
    description=(
        "Turns texts into embedding vectors. Use it when a program needs the numbers: an index, a plot, "
        "training data. Not to judge meaning: the other tools compare texts and keep vectors out of your context. "
        "Returns up to 4,096 numbers inline, else the path of a .npy file, one row per text."
    ),
    purpose="numbers for a program",
    too_large="pass output='file', which returns a path, or fewer texts",
    effect="writes",
    core=True,
)
def embed(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts to embed")],
    *,
    role: Annotated[Role, Field(description="side of a search; symmetric: compare like with like")] = "symmetric",
    dimensions: Annotated[
        int | None,
        Field(description="shorten the vectors; only for Matryoshka models", json_schema_extra={"minimum": 1}),
    ] = None,
    encoding: Annotated[Literal["float", "base64"], Field(description="base64: little-endian float32")] = "float",
    output: Annotated[
        Literal["auto", "inline", "file"], Field(description="file: a .npy; auto: inline up to 4,096 numbers")
    ] = "auto",
    long_text: LongTexts = "window",
    save_as: Annotated[str | None, Field(description="a collection to store the texts in too")] = None,
    store: CollectionStore | None = None,
) -> EmbedResult:
    """Turn texts into vectors.

    Args:
        embedder: The engine.
        texts: 1 to 2,000 texts with 2,000,000 characters in all.
        role: ``query`` or ``document`` for search, ``symmetric`` for comparing like with like.
        dimensions: Shorten the vectors and scale them to length 1; only for a model trained for it.
        encoding: ``float`` rounds to 6 decimals; ``base64`` is little-endian float32.
        output: ``file`` writes a float32 ``.npy`` into the data folder; ``auto`` is inline up to 4,096
            numbers, else a file.
        long_text: What becomes of a text over the model's limit; see ``Embedder.embed``.
        save_as: A collection to store the texts in as well, as ``collection_add`` does: in chunks, whole, as
            documents, whatever the vectors that are returned.
        store: The collections; needed with ``save_as``.

    Raises:
        InputError: A text is blank, there are too many, ``dimensions`` or the name in ``save_as`` is refused, or
            ``save_as`` came without a store.
        CollectionError: The collection is another model's, or would grow too large.
        TextTooLongError: See ``long_text``.
        OperatorError: The model cannot be used, or the file or the store cannot be written.
    """
    texts = checked_texts("texts", texts)
    check_size(texts)
    identity = embedder.identity()
    if dimensions is not None:
        _check_dimensions(dimensions, identity)
    target = _checked_target(save_as, store)
    if target and identity.prompts.of(role) == identity.prompts.document:
        role = "document"  # the same vectors, which the cache then has for the store
    embedded = embedder.embed(texts, role=role, long_text=long_text)
    saved = _saved(embedder, target[1], target[0], texts) if target else None
    vectors = embedded.vectors
    if dimensions is not None and dimensions < identity.dimensions:
        vectors = shortened(vectors, dimensions)
    inline = output == "inline" or (output == "auto" and vectors.size <= INLINE_NUMBERS)
    return EmbedResult(
        model=identity.short,
        usage=Usage.of(embedded),
        dimensions=vectors.shape[1],
        encoding=encoding,
        output="inline" if inline else "file",
        vectors=_inline(vectors, encoding) if inline else None,
        file=None if inline else _written(vectors, embedder.data_dir / "vectors"),
        saved=saved,
    )


def _checked_target(save_as: str | None, store: CollectionStore | None) -> tuple[str, CollectionStore] | None:
    if save_as is None:
        return None
    if store is None:
        raise InputError(
            f"save_as={save_as!r} came without a store; give store=open_store(settings), or leave save_as out"
        )
    check_name(save_as)
    return save_as, store


def _saved(embedder: Embedder, store: CollectionStore, collection: str, texts: Sequence[str]) -> Saved:
    added = collection_add(embedder, store, collection, texts)
    return Saved(collection=collection, added=added.added, updated=added.updated, unchanged=added.unchanged)


def _check_dimensions(dimensions: int, identity: ModelIdentity) -> None:
    full, trained = identity.dimensions, identity.matryoshka
    if dimensions == full:
        return
    if not trained:
        raise InputError(
            f"dimensions={dimensions} is refused: {identity.name} is not known to be trained for shortened "
            f"vectors, so cutting its {full} would lose meaning; leave dimensions out, or use a Matryoshka "
            "model (see `mcp-server-embeddings models`)"
        )
    if not min(trained) <= dimensions <= full:
        raise InputError(
            f"dimensions={dimensions} is out of range; {identity.name} allows {min(trained)} to {full} "
            f"(trained at {', '.join(map(str, trained))})"
        )


def _inline(vectors: Vectors, encoding: Literal["float", "base64"]) -> list[list[float]] | list[str]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
    rounded: list[list[float]] = (np.round(vectors.astype(np.float64), _DECIMALS) + 0.0).tolist()
    return rounded


def _written(vectors: Vectors, folder: Path) -> VectorFile:
    """Write the vectors under a name made of their content, so that the same call makes the same file."""
    array = np.ascontiguousarray(vectors, dtype="<f4")
    path = folder / f"{hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:24]}.npy"
    try:
        with replaced(path) as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        advice = "make room" if error.errno == errno.ENOSPC else "give a writable folder with --data-dir"
        raise ConfigurationError(
            f"the vectors cannot be written to {str(folder)!r} ({error.strerror}); {advice}, or ask for fewer "
            "texts with output='inline'"
        ) from error
    return VectorFile(path=str(path), shape=list(array.shape), dtype="float32")
