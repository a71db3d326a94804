"""How near one encoder's vectors are to another's."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mcp_server_embeddings.engine.calibrate import reference_groups
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, Piece
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.private import replaced
from mcp_server_embeddings.vectors.scores import Vectors, scores, unit_rows

_log = logging.getLogger(__name__)

_PROBE_GROUPS = 48
"""Groups of the reference set whose statement and paraphrase are probes."""

_BATCH = 8

_AGREEMENT = TypeAdapter(Agreement)


def measure_agreement(encoder: Encoder, exact: Encoder) -> Agreement:
    """Compare two encoders of one model on texts of many lengths, in padded batches.

    Args:
        encoder: The one to be judged.
        exact: What its vectors should be.

    Returns:
        The agreement; its numbers are NaN where a vector of either is not finite.
    """
    pieces = _probes(exact)
    ours, theirs = _encoded(encoder, pieces), _encoded(exact, pieces)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return Agreement(float("nan"), float("nan"), float("nan"))
    cosines = (unit_rows(ours).astype(np.float64) * unit_rows(theirs)).sum(axis=1)
    kept = _nearest(ours) == _nearest(theirs)
    return Agreement(float(cosines.min()), float(cosines.mean()), float(kept.mean()))


def kept_agreement(path: Path, measure: Callable[[], Agreement]) -> Agreement:
    """The agreement in a file, or measured and kept there; a file that cannot be written costs only the time."""
    try:
        return _AGREEMENT.validate_json(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValidationError) as error:
        _log.warning("the agreement in %s cannot be read (%s); measuring again", path, type(error).__name__)
    measured = measure()
    try:
        with replaced(path) as file:
            file.write(json.dumps(asdict(measured)).encode())
    except OSError as error:
        _log.warning("the agreement cannot be kept in %s (%s)", path, error.strerror)
    return measured


def _probes(encoder: Encoder) -> list[Piece]:
    """Short and medium texts of the reference set, and one text of the longest length the model reads."""
    groups = reference_groups()[:: max(1, len(reference_groups()) // _PROBE_GROUPS)]
    texts = [group[column] for group in groups for column in ("statement", "paraphrase")]
    texts.append(" ".join(texts))
    tokenizer = TextTokenizer(encoder.tokenizer_json, encoder.identity.prompts, encoder.identity.max_tokens)
    return [piece for text in tokenizer.tokenize(texts, "symmetric", "truncate") for piece in text.pieces]


def _encoded(encoder: Encoder, pieces: Sequence[Piece]) -> Vectors:
    """In small batches of mixed lengths, so that padding is part of what is checked."""
    batches = [encoder.encode(pieces[i : i + _BATCH]) for i in range(0, len(pieces), _BATCH)]
    return np.concatenate(batches)


def _nearest(vectors: Vectors) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    values = scores(vectors, vectors, "cosine")
    np.fill_diagonal(values, -np.inf)
    nearest: np.ndarray[tuple[int], np.dtype[np.intp]] = values.argmax(axis=1)
    return nearest
