"""The text of an answer of ``align``."""

from collections.abc import Callable, Sequence

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpts, left_out, score, usage_line
from mcp_server_embeddings.tools.results import AlignResult


def text(result: AlignResult, sent: Sent) -> str:
    """One line a match, then what only one list has."""
    counts = result.counts
    lefts, rights = excerpts(result.recalled, sent["left"]), excerpts(result.recalled, sent["right"])
    lines = [
        (
            f"{count(counts.matches, 'match', 'matches')} at threshold {result.threshold:.4g}, most changed first "
            f"({result.model}):"
        )
    ]
    lines += [f"left{lefts(pair.left)} ~ right{rights(pair.right)}: {score(pair)}" for pair in result.matches]
    lines += left_out(counts.matches - len(result.matches), "matches")
    lines += _one_side("left", result.left_only, counts.left_only, lefts)
    lines += _one_side("right", result.right_only, counts.right_only, rights)
    return "\n".join([*lines, usage_line(result.usage)])


def _one_side(side: str, listed: Sequence[int], total: int, name: Callable[[int], str]) -> list[str]:
    lines = [f"Only {side}, {count(total, 'text')}{':' if listed else '.'}"]
    lines += [f"{side}{name(position)}" for position in listed]
    return lines + left_out(total - len(listed), f"only {side}")
