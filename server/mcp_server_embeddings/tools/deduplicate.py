"""Which texts say the same."""

from typing import Annotated, Literal

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.corpus import Corpus, corpus_of
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import THRESHOLD, StoredTexts, Texts, Top
from mcp_server_embeddings.tools.results import DeduplicateResult, Duplicate, DuplicateGroup, Usage
from mcp_server_embeddings.tools.texts import check_size
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.duplicates import complete_groups, suggested_threshold
from mcp_server_embeddings.vectors.scores import Scores, scores

Keep = Literal["longest", "first"]

_DECIMALS = 4


@tool(
    title="Find repeats",
    description=(
        "Finds texts that say the same, reworded or copied. Use it to clean a list or to merge findings. Not for "
        "texts that merely share a subject: use cluster; not between two lists: use align. Returns groups with the "
        "position to keep and its duplicates, how many texts are unique, and the threshold; check the lowest scores "
        "and call again with another threshold if they are not the same."
    ),
    purpose="find repeats",
)
def deduplicate(
    embedder: Embedder,
    texts: Annotated[Texts | None, Field(description="texts to compare")] = None,
    *,
    collection: StoredTexts = None,
    threshold: Annotated[
        float | None,
        THRESHOLD,
        Field(description="lowest cosine of duplicates; absent: suggested from these texts"),
    ] = None,
    keep: Annotated[Keep, Field(description="which text of a group to keep")] = "longest",
    top: Top = None,
) -> DeduplicateResult:
    """Find the texts that say the same.

    Identical texts are duplicates without being encoded twice. Others are grouped so that every two of a group
    reach the threshold (``complete_groups``): a text that is like two unlike ones is grouped with one of them.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts with 2,000,000 characters in all.
        collection: In place of ``texts``: its chunks, 2 to 2,000.
        threshold: The lowest cosine of duplicates, 0 to 1; None for the suggested one.
        keep: Which text of a group stays: the longest, or the first; ties by position.
        top: How many groups, and duplicates of each, to list, 1 to 2,000; None for as many as fit a small answer.

    Returns:
        Groups, largest first. ``suggested_threshold`` lies in the widest gap between the scores of these texts
        from the edge of ``close`` to that of ``same`` (``suggested_threshold`` in ``vectors.duplicates``).

    Raises:
        InputError: There is one text, the threshold is out of range, a text is blank, or see ``corpus_of``.
        OperatorError: The model cannot be used.
    """
    room = AnswerBudget(top)
    corpus = corpus_of(texts, collection)
    check_size(corpus.sent)
    if len(corpus.texts) < 2:
        raise InputError(f"{corpus.name} has 1 text, which has no duplicate; give 2 or more")
    copies: dict[str, list[int]] = {}
    for position, text in enumerate(corpus.texts):
        copies.setdefault(text, []).append(position)
    different = list(copies)
    embedded = corpus.embed(embedder)
    vectors = embedded.vectors[[positions[0] for positions in copies.values()]]
    cosines = scores(vectors, vectors, "cosine")
    calibration = embedder.calibration()
    _, _, close, same = calibration.edges
    suggested = round(suggested_threshold(cosines, close, same), _DECIMALS)
    chosen = suggested if threshold is None else threshold
    alike = complete_groups(cosines, chosen)
    grouped = {row for rows in alike for row in rows}
    alike += [[row] for row, text in enumerate(different) if row not in grouped and len(copies[text]) > 1]
    places = list(copies.values())
    found = [_group(rows, places, different, cosines, keep, calibration) for rows in alike]
    found.sort(key=lambda group: (-group.size, group.keep))
    longest = max((group.size for group in found), default=0)
    listed, members = room.take_members(lambda members: [_entry(group, members, corpus) for group in found], longest)
    groups = [_shortened(group, members) for group in found[:listed]]
    return DeduplicateResult(
        model=embedder.identity().short,
        usage=Usage.of(embedded),
        more=len(found) - listed,
        groups=groups,
        unique=len(corpus.texts) - sum(group.size - 1 for group in found),
        threshold=chosen,
        suggested_threshold=suggested,
        recalled=corpus.recalled(position for group in groups for position in _named(group)),
    )


def _group(
    rows: list[int],
    places: list[list[int]],
    different: list[str],
    cosines: Scores,
    keep: Keep,
    calibration: Calibration,
) -> DuplicateGroup:
    """One group of rows of different texts, as positions of all their copies."""
    kept = max(rows, key=lambda row: (len(different[row]) if keep == "longest" else 0, -places[row][0]))
    pairs = [(position, 1.0 if row == kept else float(cosines[kept, row])) for row in rows for position in places[row]]
    duplicates = []
    for position, cosine in sorted(pairs, key=lambda pair: (-pair[1], pair[0])):
        if position == places[kept][0]:
            continue
        score, percentile, band = calibration.interpret(cosine)
        duplicates.append(Duplicate(index=position, score=score, percentile=percentile, band=band))
    return DuplicateGroup(keep=places[kept][0], size=len(duplicates) + 1, duplicates=duplicates)


def _shortened(group: DuplicateGroup, members: int) -> DuplicateGroup:
    return group.model_copy(update={"duplicates": group.duplicates[:members]})


def _named(group: DuplicateGroup) -> list[int]:
    return [group.keep, *(duplicate.index for duplicate in group.duplicates)]


def _entry(group: DuplicateGroup, members: int, corpus: Corpus) -> Entry:
    short = _shortened(group, members)
    return corpus.entry(short.model_dump_json(), _named(short))
