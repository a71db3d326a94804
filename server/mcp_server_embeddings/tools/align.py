"""What two lists have in common, and what only one of them has."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.corpus import Corpus, corpus_of
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import THRESHOLD, StoredTexts, Texts, Top
from mcp_server_embeddings.tools.results import AlignedCounts, AlignResult, Pair, Usage
from mcp_server_embeddings.tools.texts import check_size
from mcp_server_embeddings.vectors.matching import one_to_one
from mcp_server_embeddings.vectors.scores import scores

_ONE_SIDE_SHARE = 0.25
"""Of the answer, at most, for what only one of the lists has; the matches have the rest."""

_DECIMALS = 4


@tool(
    title="Compare two lists",
    description=(
        "Matches two lists one to one by meaning: a diff that sees through rewording. Use it for two versions of "
        "requirements, minutes or questions: unchanged, changed, removed, added. Not for the best hits of a query: "
        "use rank. Returns matches by position with score, percentile and band, most changed first, and texts "
        "on one side only. Read low matches: a changed number or a 'not' hardly moves the score."
    ),
    purpose="compare two versions of a list",
)
def align(
    embedder: Embedder,
    left: Annotated[Texts | None, Field(description="texts, such as the old list")] = None,
    right: Annotated[Texts | None, Field(description="texts, such as the new list")] = None,
    *,
    collection: Annotated[StoredTexts, Field(description="a stored collection, instead of left or right")] = None,
    threshold: Annotated[
        float | None,
        THRESHOLD,
        Field(description="lowest cosine of a match; absent: where 'related' begins"),
    ] = None,
    top: Top = None,
) -> AlignResult:
    """Match two lists one to one by meaning: a diff that sees through rewording.

    Of all matchings the one is found whose pairs exceed the threshold by most in sum (``one_to_one``), so a text
    may be matched with its second best where that serves the whole.

    Args:
        embedder: The engine.
        left: One or more texts.
        right: One or more; both lists together at most 2,000 texts and 2,000,000 characters.
        collection: In place of one of the two: its chunks, at most 2,000.
        threshold: The lowest cosine of a match, 0 to 1; None for the edge of ``related``, which 19 of 20
            rewordings reach.
        top: How many entries of each of the three lists, 1 to 2,000; None for as many as fit a small answer.

    Returns:
        Matches, lowest score first: what changed most. Positions in ``usage`` run over ``left`` and then
        ``right``.

    Raises:
        InputError: Not two of the three are given, a list is empty, there are too many texts, a text is blank, or the
            threshold is out of range.
        OperatorError: The model cannot be used.
    """
    room = AnswerBudget(top)
    lefts, rights = _sides(left, right, collection)
    embedded = lefts.embed(embedder), rights.embed(embedder)
    calibration = embedder.calibration()
    chosen = round(calibration.edges[1], _DECIMALS) if threshold is None else threshold
    cosines = scores(embedded[0].vectors, embedded[1].vectors, "cosine")
    pairs = sorted(one_to_one(cosines, chosen), key=lambda pair: (float(cosines[pair]), pair))
    matches = []
    for row, column in pairs:
        score, percentile, band = calibration.interpret(float(cosines[row, column]))
        matches.append(Pair(left=row, right=column, score=score, percentile=percentile, band=band))
    left_only = sorted(set(range(len(lefts.texts))) - {row for row, _ in pairs})
    right_only = sorted(set(range(len(rights.texts))) - {column for _, column in pairs})
    on_left = left_only[: room.take(lefts.entries(left_only, "left"), _ONE_SIDE_SHARE)]
    on_right = right_only[: room.take(rights.entries(right_only, "right"), _ONE_SIDE_SHARE)]
    matched = matches[: room.take([_entry(pair, lefts, rights) for pair in matches])]
    return AlignResult(
        model=embedder.identity().short,
        usage=Usage.of(*embedded),
        matches=matched,
        left_only=on_left,
        right_only=on_right,
        counts=AlignedCounts(matches=len(matches), left_only=len(left_only), right_only=len(right_only)),
        threshold=chosen,
        recalled=[
            *lefts.recalled([*(pair.left for pair in matched), *on_left]),
            *rights.recalled([*(pair.right for pair in matched), *on_right]),
        ],
    )


def _sides(
    left: Sequence[str] | None, right: Sequence[str] | None, collection: Collection | None
) -> tuple[Corpus, Corpus]:
    """Both lists; the collection stands in for the one that did not come."""
    sent = {"left": left, "right": right, "collection": collection}
    came = [name for name, value in sent.items() if value is not None]
    if len(came) != 2:
        raise InputError(
            f"{' and '.join(came) or 'none'} of left, right and collection came; give exactly two: left and right, or "
            "one of them and a collection in place of the other"
        )
    lefts = corpus_of(left, collection if left is None else None, "left")
    rights = corpus_of(right, collection if right is None else None, "right")
    check_size([*lefts.sent, *rights.sent])
    return lefts, rights


def _entry(pair: Pair, lefts: Corpus, rights: Corpus) -> Entry:
    left, right = lefts.entry("", [pair.left]), rights.entry("", [pair.right])
    return Entry(pair.model_dump_json(), f"{left.recalled} {right.recalled}", left.repeated + right.repeated)
