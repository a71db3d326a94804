"""What two lists have in common, and what only one of them has."""

from collections.abc import Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.listing import Entry, Room, positions
from mcp_server_embeddings.tools.results import Aligned, AlignedCounts, Pair, Usage
from mcp_server_embeddings.tools.texts import check_size, check_threshold, checked_texts, snippet
from mcp_server_embeddings.vectors.matching import one_to_one
from mcp_server_embeddings.vectors.similarity import scores

_ONE_SIDE_SHARE = 0.25
"""Of the answer, at most, for what only one of the lists has; the matches have the rest."""

_DECIMALS = 4


def align(
    embedder: Embedder,
    left: Sequence[str],
    right: Sequence[str],
    *,
    threshold: float | None = None,
    top: int | None = None,
) -> Aligned:
    """Match two lists one to one by meaning: a diff that sees through rewording.

    Of all matchings the one is found whose pairs exceed the threshold by most in sum (``one_to_one``), so a text
    may be matched with its second best where that serves the whole.

    Args:
        embedder: The engine.
        left: One or more texts.
        right: One or more; both lists together at most 2,000 texts and 2,000,000 characters.
        threshold: The lowest cosine of a match, 0 to 1; None for the edge of ``related``, which 19 of 20
            rewordings reach.
        top: How many entries of each of the three lists, 1 to 2,000; None for as many as fit a small answer.

    Returns:
        Matches, lowest score first: what changed most. Positions in ``usage`` run over ``left`` and then
        ``right``.

    Raises:
        InputError: A list is empty, there are too many texts, a text is blank, or the threshold is out of range.
        OperatorError: The model cannot be used.
    """
    room = Room(embedder, top)
    check_threshold(threshold)
    left, right = checked_texts("left", left), checked_texts("right", right)
    check_size([*left, *right])
    embedded = embedder.embed([*left, *right])
    calibration = embedder.calibration()
    chosen = round(calibration.edges[1], _DECIMALS) if threshold is None else threshold
    cosines = scores(embedded.vectors[: len(left)], embedded.vectors[len(left) :], "cosine")
    pairs = sorted(one_to_one(cosines, chosen), key=lambda pair: (float(cosines[pair]), pair))
    matches = []
    for row, column in pairs:
        score, percentile, band = calibration.judged(float(cosines[row, column]))
        matches.append(Pair(left=row, right=column, score=score, percentile=percentile, band=band))
    left_only = sorted(set(range(len(left))) - {row for row, _ in pairs})
    right_only = sorted(set(range(len(right))) - {column for _, column in pairs})
    on_left = room.take(positions(left_only, left, "left"), _ONE_SIDE_SHARE)
    on_right = room.take(positions(right_only, right, "right"), _ONE_SIDE_SHARE)
    both = [(pair, f"{snippet(left[pair.left])} {snippet(right[pair.right])}") for pair in matches]
    listed = room.take([Entry(pair.model_dump_json(), recalled) for pair, recalled in both])
    return Aligned(
        model=embedder.identity().short,
        usage=Usage.of(embedded),
        matches=matches[:listed],
        left_only=left_only[:on_left],
        right_only=right_only[:on_right],
        counts=AlignedCounts(matches=len(matches), left_only=len(left_only), right_only=len(right_only)),
        threshold=chosen,
    )
