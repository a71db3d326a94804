"""Check the model: whether it loads, how exact its vectors are, and its speed on this machine."""

import sys
import time
from math import isfinite

from mcp_server_embeddings.doctor.report import Finding, problem
from mcp_server_embeddings.engine.artifact import MINIMUM_COSINE
from mcp_server_embeddings.engine.calibrate import reference_groups
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.engine.engine import Engine, EngineStatus
from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.program import DISTRIBUTION

_MEASURING_SECONDS = 1.0
"""Time in which to measure speed; a call that has started is finished."""

_TEXTS = 64
"""Texts in a call, enough to keep every stream busy."""


def examine_model(engine: Engine) -> list[Finding]:
    """Load the model and measure it.

    Args:
        engine: An engine without a cache, since reading cached vectors would be measured instead.
    """
    try:
        embedder = engine.embedder()
        embedder.identity()
        speed = _speed(embedder)
    except EmbeddingsError as error:
        return [problem("model", f"it cannot be used: {error}")]
    return [*_identity(engine.status()), speed, *_memory()]


def _identity(status: EngineStatus) -> list[Finding]:
    """Report the model, the engine that runs it, and its agreement with sentence-transformers."""
    identity, agreement = status.identity, status.agreement
    if identity is None:
        return [problem("model", f"it is {status.state}: {status.detail}", "run this again")]
    figures = {"name": identity.name, "sha256": identity.sha256, "dimensions": identity.dimensions}
    description = f"{identity.name}, SHA-256 {identity.sha256}, {identity.dimensions} dimensions"
    findings = [Finding("model", "ok", description, figures=figures)]
    streams = f"{status.streams} stream{'s' if status.streams != 1 else ''}"
    running = f"{status.engine or 'the engine'} on {status.device}, {streams}, {status.precision} precision"
    note = f". {status.note}" if status.note else ""
    findings.append(Finding("engine", "note" if note else "ok", running + note, figures={"device": status.device}))
    if agreement is not None:
        findings.append(agreement_finding(agreement, exact=status.precision == "exact"))
    elif status.engine == "compiled":
        guarantee = f"the tests of {DISTRIBUTION} hold that to cosines of {MINIMUM_COSINE} or more"
        findings.append(Finding("agreement", "ok", f"built from the model's own files; {guarantee}"))
    return findings


def agreement_finding(agreement: Agreement, *, exact: bool) -> Finding:
    """Assess the agreement of the vectors with those of sentence-transformers.

    Args:
        agreement: The measured agreement.
        exact: The precision is exact, so low agreement is a problem; a reduced precision is the user's choice.
    """
    lowest = agreement.minimum_cosine
    too_low = not isfinite(lowest) or (exact and lowest < MINIMUM_COSINE)
    neighbours = f"{100 * agreement.top1_kept:.1f} % keep their nearest text"
    summary = f"lowest cosine with sentence-transformers {lowest:.7f}, {neighbours}"
    advice = "start with --engine reference, and report this" if too_low else ""
    return Finding("agreement", "problem" if too_low else "ok", summary, advice, {"minimum_cosine": lowest})


def _speed(embedder: Embedder) -> Finding:
    """Measure the number of short texts encoded per second."""
    texts = [group["statement"] for group in reference_groups()][:_TEXTS]
    embedder.calibration()  # at the first start it is measured now, which would slow down everything below
    embedder.embed(texts)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _MEASURING_SECONDS:
        embedder.embed(texts)
        count += len(texts)
    rate = count / elapsed
    summary = f"about {rate:,.0f} sentences a second now: {_duration(10_000 / rate)} for a table of 10,000 rows"
    return Finding("speed", "ok", summary, figures={"sentences_per_second": round(rate, 1)})


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _memory() -> list[Finding]:
    """Report the peak memory of this process with the model; nothing on Windows, which has no ``resource`` module."""
    if sys.platform == "win32":
        return []
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    summary = f"{peak / 1e6:,.0f} MB at most, of this process with the model"
    return [Finding("memory", "ok", summary, figures={"bytes": peak})]
