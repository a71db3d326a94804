"""The text of each answer: the same small answer as the structured content, complete by itself."""

import json
from collections.abc import Sequence

from mcp_server_embeddings.tools.results import Compared, Embedded, Status, Usage

_SNIPPET = 48
"""Characters of a text that an answer repeats."""


def snippet(text: str) -> str:
    """The beginning of a text on one line, in quotes."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= _SNIPPET else line[: _SNIPPET - 1].rstrip() + "…"}"'


def embedded(result: Embedded) -> str:
    """Say where the vectors are, and give them when they were asked for inline."""
    head = (
        f"{_count(result.usage.texts, 'vector')} of {result.dimensions} dimensions ({result.encoding}, {result.model})"
    )
    if result.file is not None:
        shape = " x ".join(map(str, result.file.shape))
        body = f" in the file {result.file.path} (NumPy .npy, {shape}, {result.file.dtype})."
    else:
        body = ":\n" + "\n".join(_vector(vector) for vector in result.vectors or [])
    return head + body + _cut(result.usage)


def _vector(vector: list[float] | str) -> str:
    return vector if isinstance(vector, str) else json.dumps(vector, separators=(",", ":"))


def compared(result: Compared, left: Sequence[str], right: Sequence[str] | None) -> str:
    """One line a pair; the matrix too, when it says more than the pairs."""
    others, side = (left, "left") if right is None else (right, "right")
    possible = len(left) * (len(left) - 1) // 2 if right is None else len(left) * len(right)
    lines = [f"Closest {len(result.pairs)} of {_count(possible, 'pair')} by {result.metric} ({result.model}):"]
    lines += [
        f"left[{pair.left}] {snippet(left[pair.left])} ~ {side}[{pair.right}] {snippet(others[pair.right])}: "
        f"{pair.score:.4f}, percentile {pair.percentile:g}, {pair.band}"
        for pair in result.pairs
    ]
    if possible > len(result.pairs):
        lines.append(f"{possible - len(result.pairs):,} more; ask with top=.")
        if result.scores is not None:
            lines.append(f"All scores, a row for each of left: {json.dumps(result.scores, separators=(',', ':'))}")
    return "\n".join(lines) + _cut(result.usage)


def status(result: Status) -> str:
    """A short report."""
    lines = [
        f"{result.server.name} {result.server.version}: {result.state}"
        + (f" ({result.detail})" if result.detail else ""),
        (
            f"model {result.model}, engine {result.engine or 'not loaded'}, precision {result.precision}, "
            f"device {result.device}, streams {result.streams}, protocol {result.protocol or 'none'}"
        ),
    ]
    if result.identity is not None:
        lines.append(f"identity {result.identity.model_dump_json()}")
    if result.agreement is not None:
        lines.append(f"agreement with sentence-transformers {result.agreement.model_dump_json()}")
    if result.cache is not None:
        lines.append(f"cache {result.cache.model_dump_json()}")
    queue, limits = result.queue, result.limits
    lines += [
        f"percentiles and bands {'ready' if result.calibrated else 'not yet measured'}",
        (
            f"queue: {_count(queue.calls_waiting, 'call')} and {_count(queue.pieces_waiting, 'text')} waiting; "
            f"done: {_count(queue.pieces_done, 'text')} in {_count(queue.batches_done, 'batch', 'batches')}"
        ),
        (
            f"limits of a call: {limits.texts:,} texts, {limits.characters:,} characters, "
            f"{limits.answer_bytes:,} bytes of answer"
        ),
    ]
    return "\n".join(lines)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _cut(usage: Usage) -> str:
    """What became of long texts, and the tokens read."""
    lines = [f"\n{_count(usage.texts, 'text')}, {_count(usage.tokens, 'token')}."]
    if usage.windowed:
        lines.append(f" Over the token limit, averaged over windows: positions {usage.windowed}.")
    if usage.truncated:
        lines.append(f" Cut at the token limit: positions {usage.truncated}.")
    return "".join(lines)
