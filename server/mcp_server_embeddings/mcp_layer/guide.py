"""The resource ``embeddings://guide``: how to read the answers, with the figures of the model in use."""

from collections.abc import Mapping

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import OperatorError
from mcp_server_embeddings.tools.declaration import Tool
from mcp_server_embeddings.vectors.calibration import BANDS, Calibration, Sample

_MEANINGS = (
    "no more similar than texts on different subjects",
    "something in common, but not the same meaning",
    "probably on one subject; the same meaning is possible",
    "more than a subject in common",
    "as close as two wordings of the same statement",
)
"""Meanings of the bands, in order."""

_GUIDE = """\
# How to read scores, percentiles and bands

- **score**: cosine similarity of two texts' vectors, higher is closer. Its scale differs between models: unrelated
  texts score about 0.0 with one and about 0.6 with another. Never reuse a threshold with a different model. Hits of a
  search have a separate score; with a reranker (see status) it is the relevance of the passage: about 0.05 for an
  unrelated one, 0.95 for an answer, below 0 if there was no time. `explain=true` shows the numbers behind it.
- **percentile**: the share of unrelated reference pairs, with this model, that score lower (0 to 100). It separates
  related texts from chance and saturates early: above 99.9 look at the band.
- **band**: the meaning of the score, the same with every model. Judge by it.

{figures}

## What a score does not show

Similarity compares subject and meaning, not truth: a sentence and its negation, or two that differ in a number, score
high. Read `differs`, which names changed numbers, negations and words of close pairs. The vector of a single word mixes
all its senses. That of a text over the token limit is the average of its windows, of a document that of its passages.

## Which tool

{tools}

Do not retype texts: pass `source`, the name of a collection or a path such as `docs/` or `tickets.csv#message`.
Answers name items by the caller's own ids (a table's id column or row numbers from 1, paths, positions from 0 of texts
that were sent); pass them on as `ids`. An answer has about 8,000 characters, doubtful cases first, and says what it
left out; `save_as` writes every item to a file.
"""


def guide(embedder: Embedder, served: Mapping[str, Tool]) -> str:
    """Return the guide. Waits for the model's calibration; without one, the guide says why its figures are missing.

    Args:
        embedder: Gives the model and its calibration.
        served: The tools that the guide names.

    Raises:
        CallCancelledError: The request was cancelled.
    """
    tools = "; ".join(f"{tool.purpose}: {name}" for name, tool in served.items() if tool.purpose) + "."
    try:
        identity = embedder.identity()
        symmetric, retrieval = embedder.calibration(), embedder.calibration("retrieval")
    except OperatorError as error:
        return _GUIDE.format(tools=tools, figures=f"This model's figures are missing: {error}")
    sections = [
        f"## Under this model, {identity.short}",
        _calibration_tables(symmetric, "the same in other words"),
        "### A query with texts (search; condense with a query)",
        "An answer scores lower with its question than with another wording of itself, so these bands start lower.",
        _calibration_tables(retrieval, "a subject and a statement about it"),
    ]
    return _GUIDE.format(tools=tools, figures="\n\n".join(sections))


def _calibration_tables(calibration: Calibration, paraphrase_name: str) -> str:
    edges = ("", *(f"{edge:.3f}" for edge in calibration.edges))
    bands = [f"| {band} | {edge} | {meaning} |" for band, edge, meaning in zip(BANDS, edges, _MEANINGS, strict=True)]
    samples = [
        _sample_row("texts on different subjects", calibration.unrelated),
        _sample_row("one subject, different statements", calibration.related),
        _sample_row(paraphrase_name, calibration.paraphrase),
    ]
    return "\n".join(
        [
            "| band | from score | meaning |",
            "| --- | --- | --- |",
            *bands,
            "",
            "| reference pairs | 5 % score below | half | 95 % |",
            "| --- | --- | --- | --- |",
            *samples,
        ]
    )


def _sample_row(name: str, sample: Sample) -> str:
    return f"| {name} | {' | '.join(f'{quantile:.3f}' for quantile in np.quantile(sample, (0.05, 0.5, 0.95)))} |"
