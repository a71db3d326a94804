"""Embed texts as vectors."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Selection
from mcp_server_embeddings.tools.output_file import TABLE_SUFFIXES, new_file, output_path, renamed, written_once
from mcp_server_embeddings.tools.parameters import IdField, Ids, LongTexts, SaveAs, Source, Texts, WhereFilter
from mcp_server_embeddings.tools.results import EmbedResult, VectorFile
from mcp_server_embeddings.tools.saving import save_items
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.scores import Vectors
from mcp_server_embeddings.vectors.shape import shortened

INLINE_NUMBERS = 4_096
"""Maximum numbers in an answer, about 40 KB of JSON; more are written to a file."""

_DECIMALS = 6


@tool(
    title="Embed texts",
    description=(
        "Turns texts into embedding vectors. Use it when a program needs the numbers. Not to judge meaning: the other "
        "tools keep vectors out of your context. Returns up to 4,096 numbers, else a .npy file, one row per text."
    ),
    purpose="numbers for a program",
    too_large="pass save_as='vectors.npy', or fewer texts",
    effect="writes",
    core=True,
)
def embed(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts")] = None,
    *,
    role: Annotated[Role, Field(description="symmetric: like with like")] = "symmetric",
    dimensions: Annotated[
        int | None,
        Field(description="shorten; for Matryoshka models", json_schema_extra={"minimum": 1}),
    ] = None,
    encoding: Annotated[Literal["float", "base64"], Field(description="base64: little-endian float32")] = "float",
    long_text: LongTexts = "window",
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    save_as: SaveAs = None,
    sources: Sources | None = None,
    output_dir: Path | None = None,
) -> EmbedResult:
    """Embed texts as vectors.

    Args:
        embedder: The engine.
        texts: 1 to 2,000 texts with 2,000,000 characters in total, or a map from id to text.
        role: ``query`` or ``document`` for search, ``symmetric`` for comparing like with like.
        dimensions: Shorten the vectors and scale them to length 1; only for a model trained for it.
        encoding: ``float`` rounds to 6 decimals; ``base64`` is little-endian float32.
        long_text: Treatment of a text over the model's limit; see ``Embedder.embed``.
        source: Replaces ``texts``; see ``Sources.open``. The vector of a document is the mean over its passages.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata matches.
        save_as: A file name. ``.npy``: the vectors as float32, one row per item; ``.csv``, ``.jsonl`` or ``.parquet``:
            a table with the items' own columns and the vector as a JSON list.
        sources: Resolves ``source``.
        output_dir: The folder for files; by default ``output`` in the data folder.

    Raises:
        InputError: ``dimensions`` or ``save_as`` is invalid, or ``select_items`` rejects the items.
        TextTooLongError: See ``long_text``.
        OperatorError: The model cannot be used, or the file cannot be written.

    Example:
        >>> embed(embedder, ["Apple"]).dimensions
        384
    """
    folder = output_dir or embedder.data_dir / "output"
    path = None if save_as is None else output_path(folder, save_as, [".npy", *TABLE_SUFFIXES])
    identity = embedder.identity()
    if dimensions is not None:
        check_dimensions(dimensions, identity)
    items = select_items(embedder, sources, texts, Selection(source, id_field, ids, where))
    vectors = items.embed(embedder, role, long_text)
    if dimensions is not None and dimensions < identity.dimensions:
        vectors = shortened(vectors, dimensions)
    inline = path is None and vectors.size <= INLINE_NUMBERS
    if path is None or path.suffix.lower() == ".npy":
        file = None if inline else _write_vectors(vectors, folder, save_as)
        items.notes.extend(renamed(save_as, file.path) if save_as is not None and file is not None else [])
    else:
        json_vectors = [json.dumps(row) for row in encoded(vectors, "float")]
        table = save_items(items, sources, folder, save_as, {"vector": json_vectors})
        file = None if table is None else VectorFile(path=table.path, shape=list(vectors.shape), dtype="float32")
    return EmbedResult(
        model=identity.short,
        notes=items.notes,
        dimensions=vectors.shape[1],
        vectors=encoded(vectors, encoding) if inline else None,
        file=file,
    )


def check_dimensions(dimensions: int, identity: ModelIdentity) -> None:
    """Reject a number of dimensions to which the model's vectors must not be shortened.

    Raises:
        InputError: The number is outside the range that the model was trained for.
    """
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


def encoded(vectors: Vectors, encoding: Literal["float", "base64"]) -> list[list[float]] | list[str]:
    """Encode vectors for an answer: numbers with 6 decimals, or base64 of little-endian float32."""
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
    rounded: list[list[float]] = (np.round(vectors.astype(np.float64), _DECIMALS) + 0.0).tolist()
    return rounded


def _write_vectors(vectors: Vectors, folder: Path, save_as: str | None) -> VectorFile:
    """Write the vectors to a .npy file; without a name, under one derived from their content."""
    array = np.ascontiguousarray(vectors, dtype="<f4")
    digest = hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:24]
    name = save_as or f"vectors-{digest}.npy"
    path = output_path(folder, name, [".npy"])
    with new_file(path) as file:
        np.save(file, array, allow_pickle=False)
    path = written_once(path, folder / name)
    return VectorFile(path=str(path), shape=list(array.shape), dtype="float32")
