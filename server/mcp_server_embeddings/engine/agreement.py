"""Measure how close one encoder's vectors are to another's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.engine.calibrate import reference_groups
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, EncoderInput, TokenCounter
from mcp_server_embeddings.vectors.scores import Vectors, paired_cosines, scores

_PROBE_GROUPS = 48
"""Number of groups of the reference set whose statement and paraphrase are encoded."""

_BATCH = 8

_DECIMALS = 7
"""Decimals of an agreement's values; float32 has no more."""


def measure_agreement(encoder: Encoder, exact: Encoder, counter: TokenCounter) -> Agreement:
    """Compare two encoders of one model on texts of many lengths, in padded batches.

    Args:
        encoder: The encoder to measure.
        exact: The encoder whose vectors are correct.
        counter: Prepares inputs for both.

    Returns:
        The agreement; its values are NaN if a vector of either encoder is not finite.
    """
    inputs = _probes(counter)
    measured, expected = _encode(encoder, inputs), _encode(exact, inputs)
    if not (np.isfinite(measured).all() and np.isfinite(expected).all()):
        return Agreement(float("nan"), float("nan"), float("nan"))
    cosines = paired_cosines(measured, expected)
    same = _nearest(measured) == _nearest(expected)
    return Agreement(*(round(float(value), _DECIMALS) for value in (cosines.min(), cosines.mean(), same.mean())))


def _probes(counter: TokenCounter) -> list[EncoderInput]:
    """Prepare short and medium texts of the reference set, and one text that fills the model's limit."""
    groups = reference_groups()[:: max(1, len(reference_groups()) // _PROBE_GROUPS)]
    texts = [group[column] for group in groups for column in ("statement", "paraphrase")]
    texts.append(" ".join(texts))
    return [part for text in counter.tokenize(texts, "symmetric", "truncate") for part in text.inputs]


def _encode(encoder: Encoder, inputs: Sequence[EncoderInput]) -> Vectors:
    """Encode in small batches of mixed lengths, so that the effect of padding is measured too."""
    batches = [encoder.encode(inputs[i : i + _BATCH]) for i in range(0, len(inputs), _BATCH)]
    return np.concatenate(batches)


def _nearest(vectors: Vectors) -> NDArray[np.intp]:
    values = scores(vectors, vectors, "cosine")
    np.fill_diagonal(values, -np.inf)
    nearest: NDArray[np.intp] = values.argmax(axis=1)
    return nearest
