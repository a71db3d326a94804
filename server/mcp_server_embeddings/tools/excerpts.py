"""Choose the excerpt shown for a hit: the sentences of its passage nearest the query, never a heading alone."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.sentences import STATEMENT_END, joined, passages
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores

Run = tuple[int, int]
"""A range of characters in a text: start, and end (exclusive)."""

_MAX_SENTENCES = 2_000
"""Maximum sentences of all texts together. If there are more, neighbours are joined up to the length of a passage, so
that encoding them costs about as much as encoding the texts."""

_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]")
_WORD = re.compile(r"\w+")
_LINE = re.compile(r"[^\r\n]+")
_LETTER = re.compile(r"[^\W_]")

_TITLE = 160
"""Maximum characters of a title."""

ScoreSentences = Callable[[Sequence[str]], Scores]
"""Scores sentences, shape ``(n,)``, higher is closer."""


def by_meaning(embedder: Embedder, query: Vectors) -> ScoreSentences:
    """Return a scorer by cosine with a query vector of shape ``(1, d)``."""

    def score(sentences: Sequence[str]) -> Scores:
        found: Scores = scores(embedder.embed(sentences, role="document").vectors, query, "cosine")[:, 0]
        return found

    return score


def by_words(query: str) -> ScoreSentences:
    """Return a scorer by the number of distinct words of a query that a sentence contains."""
    words = frozenset(_WORD.findall(query.casefold()))
    return lambda sentences: np.array(
        [float(sum(word in sentence.casefold() for word in words)) for sentence in sentences]
    )


def best_sentences(score: ScoreSentences, texts: Sequence[str], headings: Sequence[str], most: int) -> list[Run]:
    """Return the best sentences of each text as one run of characters; a text within ``most`` characters is kept whole.

    A run starts as the best sentence and grows by the better of its two neighbours while it has at most ``most``
    characters. Headings at its start and separator lines at both ends are removed. A title never stands alone, unless
    the text has nothing else.

    Args:
        score: Scores all sentences in one call.
        texts: Passages.
        headings: The heading path of each passage.
        most: Maximum characters of a run; a longer sentence stays whole.
    """
    places = [
        [_without_headings(text, (0, len(text)), heading) or (0, len(text))]
        if len(text) <= most
        else _sentences(text, heading)
        for text, heading in zip(texts, headings, strict=True)
    ]
    if sum(map(len, places)) > _MAX_SENTENCES:
        places = [joined(found) for found in places]
    scored = [
        text[start:end] for text, found in zip(texts, places, strict=True) if len(found) > 1 for start, end in found
    ]
    values = score(scored) if scored else np.empty(0)
    runs: list[Run] = []
    for text, found in zip(texts, places, strict=True):
        own = len(found) if len(found) > 1 else 0
        runs.append(_run(text, found, values[:own], most) if own else found[0])
        values = values[own:]
    return runs


def only_headings(text: str, heading: str) -> bool:
    """Tell whether a passage consists of headings and separator lines only."""
    return _without_headings(text, (0, len(text)), heading) is None


def _sentences(text: str, heading: str) -> list[Run]:
    found = passages(text)
    kept = [run for place in found if (run := _without_headings(text, place, heading))]
    return kept or found


def _without_headings(text: str, place: Run, heading: str) -> Run | None:
    """Trim headings and separators at the start of a run, and separators at its end; return None if nothing is left."""
    names = {_plain(part) for part in heading.split(" > ")} if heading else set()
    start, end = place
    lines = [(found.start() + start, found.end() + start) for found in _LINE.finditer(text[start:end])]
    while lines and _is_heading(text[slice(*lines[0])], names):
        lines.pop(0)
    while lines and not _LETTER.search(text[slice(*lines[-1])]):
        lines.pop()
    if not lines:
        return None
    first, last = lines[0][0], lines[-1][1]
    visible = text[first:last]
    return first + len(visible) - len(visible.lstrip()), last - len(visible) + len(visible.rstrip())


def _is_heading(line: str, names: set[str]) -> bool:
    return not _LETTER.search(line) or bool(_HEADING.match(line)) or _plain(line) in names


def _plain(words: str) -> str:
    return " ".join(_WORD.findall(words.casefold()))


def _run(text: str, places: Sequence[Run], values: Scores, most: int) -> Run:
    first = last = int(np.argmax(values))
    while True:
        before = (first - 1, last) if first else None
        after = (first, last + 1) if last + 1 < len(places) else None
        fitting = [run for run in (before, after) if run is not None and places[run[1]][1] - places[run[0]][0] <= most]
        if not fitting:
            break
        first, last = max(fitting, key=lambda run: values[run[0] if run[0] < first else run[1]])
    if first == last and _is_title(text[slice(*places[first])]):
        first, last = (first, last + 1) if last + 1 < len(places) else (max(first - 1, 0), last)
    return places[first][0], places[last][1]


def _is_title(sentence: str) -> bool:
    return len(sentence) <= _TITLE and not STATEMENT_END.search(sentence)
