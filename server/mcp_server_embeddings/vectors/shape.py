"""Average the vectors of windows, and shorten vectors."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Vectors, unit_rows


def joined_windows(windows: Vectors, weights: list[int], *, normalised: bool) -> Vectors:
    """Compute the vector of a text from the vectors of its windows.

    The mean weighted by tokens would equal mean pooling over the whole text if attention did not cross windows; for a
    model whose vectors have length 1, it is scaled to length 1.

    Args:
        windows: Shape ``(w, d)``, one row per window.
        weights: Tokens of each window.
        normalised: Whether the model's vectors have length 1.

    Returns:
        Shape ``(1, d)``, float32.
    """
    mean = np.average(windows.astype(np.float64), axis=0, weights=weights)[None, :].astype(np.float32)
    return unit_rows(mean) if normalised else mean


def shortened(vectors: Vectors, dimensions: int) -> Vectors:
    """Take the first ``dimensions`` components, scaled to length 1.

    Meaningful only for models trained so that prefixes are embeddings too (Matryoshka representation learning, Kusupati
    et al. 2022, arXiv:2205.13147).

    Args:
        vectors: Shape ``(n, d)``.
        dimensions: 1 to ``d``.

    Returns:
        Shape ``(n, dimensions)``, unit rows.
    """
    return unit_rows(vectors[:, :dimensions])
