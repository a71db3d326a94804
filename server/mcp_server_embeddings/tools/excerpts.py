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

_MAX_TITLE = 160
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


def best_sentences(
    score: ScoreSentences, texts: Sequence[str], headings: Sequence[str], max_characters: int
) -> list[Run]:
    """Return the best sentences of each text as one run of characters; a text within ``max_characters`` is kept whole.

    A run starts as the best sentence and grows by the better of its two neighbours within ``max_characters``. Headings
    at its start and separator lines at both ends are removed. A title never stands alone, unless the text has nothing
    else.

    Args:
        score: Scores all sentences in one call.
        texts: Passages.
        headings: The heading path of each passage.
        max_characters: Maximum characters of a run; a longer sentence stays whole.
    """
    candidates = [
        [_trim_headings(text, (0, len(text)), heading) or (0, len(text))]
        if len(text) <= max_characters
        else _sentences(text, heading)
        for text, heading in zip(texts, headings, strict=True)
    ]
    if sum(map(len, candidates)) > _MAX_SENTENCES:
        candidates = [joined(sentences) for sentences in candidates]
    choices = [(text, sentences) for text, sentences in zip(texts, candidates, strict=True) if len(sentences) > 1]
    scored = [text[start:end] for text, sentences in choices for start, end in sentences]
    values = score(scored) if scored else np.empty(0)
    runs: list[Run] = []
    for text, sentences in zip(texts, candidates, strict=True):
        count = len(sentences) if len(sentences) > 1 else 0
        runs.append(_best_run(text, sentences, values[:count], max_characters) if count else sentences[0])
        values = values[count:]
    return runs


def only_headings(text: str, heading: str) -> bool:
    """Tell whether a passage consists of headings and separator lines only."""
    return _trim_headings(text, (0, len(text)), heading) is None


def _sentences(text: str, heading: str) -> list[Run]:
    sentences = passages(text)
    trimmed = [run for sentence in sentences if (run := _trim_headings(text, sentence, heading))]
    return trimmed or sentences


def _trim_headings(text: str, run: Run, heading: str) -> Run | None:
    """Trim headings and separators at the start of a run, and separators at its end; return None if nothing is left."""
    names = {_normalised(part) for part in heading.split(" > ")} if heading else set()
    start, end = run
    lines = [(line.start() + start, line.end() + start) for line in _LINE.finditer(text[start:end])]
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
    return not _LETTER.search(line) or bool(_HEADING.match(line)) or _normalised(line) in names


def _normalised(words: str) -> str:
    return " ".join(_WORD.findall(words.casefold()))


def _best_run(text: str, sentences: Sequence[Run], values: Scores, max_characters: int) -> Run:
    first = last = int(np.argmax(values))
    while True:
        before = (first - 1, last) if first else None
        after = (first, last + 1) if last + 1 < len(sentences) else None
        wider = [span for span in (before, after) if span is not None]
        fitting = [(at, to) for at, to in wider if sentences[to][1] - sentences[at][0] <= max_characters]
        if not fitting:
            break
        first, last = max(fitting, key=lambda span: values[span[0] if span[0] < first else span[1]])
    if first == last and _is_title(text[slice(*sentences[first])]):
        first, last = (first, last + 1) if last + 1 < len(sentences) else (max(first - 1, 0), last)
    return sentences[first][0], sentences[last][1]


def _is_title(sentence: str) -> bool:
    return len(sentence) <= _MAX_TITLE and not STATEMENT_END.search(sentence)
