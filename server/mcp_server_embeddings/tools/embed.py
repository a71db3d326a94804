"""Texts to vectors."""

import base64
import errno
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.engine.tokens import LongText
from mcp_server_embeddings.errors import ConfigurationError, InputError
from mcp_server_embeddings.tools.results import Embedded, Usage, VectorFile
from mcp_server_embeddings.tools.texts import check_size, checked_texts
from mcp_server_embeddings.vectors.shape import shortened
from mcp_server_embeddings.vectors.similarity import Vectors

INLINE_NUMBERS = 4_096
"""``auto`` sends up to this many numbers inline: about 40 KB of JSON."""

_DECIMALS = 6


def embed(
    embedder: Embedder,
    texts: Sequence[str],
    *,
    role: Role = "symmetric",
    dimensions: int | None = None,
    encoding: Literal["float", "base64"] = "float",
    output: Literal["auto", "inline", "file"] = "auto",
    long_text: LongText = "window",
) -> Embedded:
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

    Raises:
        InputError: A text is blank, there are too many, or ``dimensions`` is refused.
        TextTooLongError: See ``long_text``.
        OperatorError: The model cannot be used, or the file cannot be written.
    """
    texts = checked_texts("texts", texts)
    check_size(texts)
    identity = embedder.identity()
    if dimensions is not None:
        _check_dimensions(dimensions, identity)
    embedded = embedder.embed(texts, role=role, long_text=long_text)
    vectors = embedded.vectors
    if dimensions is not None and dimensions < identity.dimensions:
        vectors = shortened(vectors, dimensions)
    inline = output == "inline" or (output == "auto" and vectors.size <= INLINE_NUMBERS)
    return Embedded(
        model=identity.short,
        usage=Usage.of(embedded),
        dimensions=vectors.shape[1],
        encoding=encoding,
        output="inline" if inline else "file",
        vectors=_inline(vectors, encoding) if inline else None,
        file=None if inline else _written(vectors, embedder.data_dir / "vectors"),
    )


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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
            np.save(file, array, allow_pickle=False)
        Path(file.name).replace(path)
    except OSError as error:
        advice = "make room" if error.errno == errno.ENOSPC else "give a writable folder with --data-dir"
        raise ConfigurationError(
            f"the vectors cannot be written to {str(folder)!r} ({error.strerror}); {advice}, or ask for fewer "
            "texts with output='inline'"
        ) from error
    return VectorFile(path=str(path), shape=list(array.shape), dtype="float32")
