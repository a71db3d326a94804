"""Find differences between two similar texts that their vectors do not show: numbers, negations, replaced words.

The cosine of a pair barely changes when ``30 days`` becomes ``60 days`` or a "not" is added, because the vector of a
text is a mean over its words (Ettinger 2020, "What BERT is not", doi:10.1162/tacl_a_00298, for negation; Naik et al.
2018, "Stress Test Evaluation for Natural Language Inference", arXiv:1806.00692, for numbers and antonyms). So the
words are compared as well, in two stages: first the texts alone (``textual_differences``), then the remaining words
by their vectors (``differences``), as BERTScore matches tokens (Zhang et al. 2020, arXiv:1904.09675).

Measured with all-MiniLM-L6-v2 by ``benchmarks/differences.py`` on the 110 pairs of the reporting half, which were
written after all rules and constants here were fixed: changes of number, negation and verb flagged 95.5 % (number 14 of
14, negation 13 of 14, verb 15 of 16), object 9 of 10; rewordings 17.9 % (synonyms 7 of 16, abbreviations 2 of 12,
politeness 1 of 8, voice and word order none). Synonyms whose vectors are far apart under the model, such as most in
languages it does not support, count as different words. Exchanged roles are not detected: "A pays B" has the same words
as "B pays A".
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.languages import Language, languages_of, tables
from mcp_server_embeddings.tools.contrasts import (
    contrasts,
    format_changes,
    negating_words,
    negation_changes,
    prefix_contrasts,
    shortened,
)
from mcp_server_embeddings.tools.quantities import NUMBER, quantities, unmatched
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Scores, unit_rows

_TOKEN = re.compile(rf"{NUMBER}|[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]++|°[CF]?|[%‰€$£¥₽]")
_NOT = re.compile(r"n['’]t\b|(?<=\bcan)not\b", re.IGNORECASE)
_STEMS = {"ca": "can", "wo": "will", "sha": "shall"}
"""Stems that remain of can't, won't and shan't."""

_MAX_LISTED = 8
"""Maximum entries of each list, to keep answers readable."""

_MAX_COMPARED = 100
"""Maximum words per side that have no literal counterpart; texts that differ in more have little in common."""

_MIN_PREFIX = 3
"""Minimum number of leading letters that two forms of one word share."""

_WORDS_ALONE = 0.4
"""``changed`` of a pair with different words, before their vectors are compared."""

CHANGED = 0.5
"""Minimum ``changed`` of a pair that is worth a look."""

_COST, _NEAR, _COUNT, _BIAS = 1.8, 2.5, 1.0, 0.1
"""Weights of the logistic regression for cost per word, similarity of the words, log2 of their number; and its bias.

Fitted on 212 pairs of the tuning half and 89 pairs of the STSBenchmark development split that people rated 4.75 or more
of 5; rounded.
"""

_ONE_SIDED = 2.0
"""Bias against words that only one text has, without replacement: they often state what the other text implies."""

_MAX_COST_PER_WORD = 2.0
"""Maximum cost per word; a higher cost is not more informative."""

_MIN_RANGE = 1e-6
"""Minimum distance from unrelated to equal, for models that do not distinguish any texts."""

_MAX_LENGTH = 30
"""Maximum number of words up to which each different word lowers the cosine of a text proportionally."""


@dataclass(frozen=True, slots=True)
class Differences:
    """The changes from a left text to a right one.

    Attributes:
        removed: Words of the left text without a counterpart in the right one, in lower case.
        added: Words of the right text without a counterpart in the left one, in lower case.
        numbers: Numbers, quantities, times and dates, as ``30 days → 60 days``; ``∅`` for a side without one.
        negation: Negations and opposites, as ``∅ → not``, ``must → may``, ``before → after``.
        changed: Likelihood that the meaning changed, 0 to 1: 1 for a number or a negation, otherwise estimated from
            the words. From ``CHANGED`` a pair is worth a look.
    """

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    negation: tuple[str, ...] = ()
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class _Text:
    """A text split into words, numbers and symbols: as written (``tokens``) and in lower case (``words``)."""

    tokens: list[str]
    words: list[str]


@dataclass(frozen=True, slots=True)
class _Compared:
    """Differences with lists of any length, and the inputs of the second stage.

    Attributes:
        differences: The differences between the texts alone.
        names: Capitalised words other than the first, in lower case.
        length: Number of words of the longer text.
    """

    differences: Differences
    names: frozenset[str]
    length: int


def textual_differences(left: str, right: str) -> Differences:
    """Compare two texts by their words alone, in time linear in their length.

    Args:
        left: A text.
        right: A text close to it in meaning.

    Returns:
        The differences, at most eight entries per list. ``removed`` and ``added`` still contain synonyms, so words
        alone raise ``changed`` to at most 0.4; see ``differences``.

    Example:
        >>> found = textual_differences("Pay within 30 days.", "Do not pay within 60 days.")
        >>> found.numbers, found.negation, found.changed
        (('30 days → 60 days',), ('∅ → not',), 1.0)
    """
    return _truncated(_compare(left, right).differences)


def differences(
    embedder: Embedder, pairs: Sequence[tuple[str, str]], *, cosines: Sequence[float] | None = None
) -> list[Differences]:
    """Compare pairs of texts by their words, and the remaining words by their vectors.

    A word has a counterpart if its cosine to a word of the other side reaches the band ``close``. A logistic regression
    judges the words that still differ by three features: their similarity to the other side, their number, and how
    much each lowers the cosine of the texts. A synonym barely lowers that cosine; a different word of the same kind
    does.

    Args:
        embedder: The engine; encodes every distinct word once, in one call.
        pairs: Left and right texts that are close in meaning.
        cosines: The cosine of each pair, -1 to 1; if None, the texts are encoded as well.

    Returns:
        The differences of each pair, at most eight entries per list.

    Raises:
        OperatorError: The model cannot be used.
        CallCancelledError: The caller cancelled.

    Example:
        >>> [found] = differences(embedder, [("The buyer signs the form.", "The buyer burns the form.")])
        >>> found.removed, found.added, found.changed >= CHANGED
        (('signs',), ('burns',), True)
    """
    compared = [_compare(left, right) for left, right in pairs]
    results = [pair.differences for pair in compared]
    with_words = [at for at, found in enumerate(results) if found.removed or found.added]
    if with_words:
        words = {word for at in with_words for word in (*results[at].removed, *results[at].added)}
        texts = {text for at in with_words for text in pairs[at] if text.strip()} if cosines is None else set()
        encoded = sorted(words | texts)
        vectors = unit_rows(embedder.embed(encoded).vectors).astype(np.float64)
        row = {text: at for at, text in enumerate(encoded)}
        scale = _Scale.of(embedder.calibration())
        for at in with_words:
            cosine = _cosine(vectors, [row.get(text) for text in pairs[at]]) if cosines is None else cosines[at]
            removed, added = ([row[word] for word in side] for side in (results[at].removed, results[at].added))
            results[at] = _judge(compared[at], vectors[removed] @ vectors[added].T, cosine, scale)
    return [_truncated(result) for result in results]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps cosines of a model to a scale from unrelated (0) to equal (1), so that constants apply to every model."""

    unrelated: float
    close: float

    @classmethod
    def of(cls, calibration: Calibration) -> "_Scale":
        return cls(float(np.median(calibration.unrelated)), calibration.edges[2])

    def share(self, cosine: float) -> float:
        return float(np.clip((cosine - self.unrelated) / max(1 - self.unrelated, _MIN_RANGE), -1, 1))


def _cosine(vectors: Scores, rows: Sequence[int | None]) -> float:
    """Return the cosine of two rows; 0 if a text is blank and has no row."""
    left, right = rows
    return 0.0 if left is None or right is None else float(vectors[left] @ vectors[right])


def _judge(compared: _Compared, nearness: Scores, cosine: float, scale: _Scale) -> Differences:
    """Drop words with a counterpart and judge the rest.

    Args:
        compared: A pair.
        nearness: Cosines of its removed words (rows) with its added words (columns).
        cosine: The cosine of the whole texts.
        scale: The scale of the model.
    """
    found = compared.differences
    removed, added = found.removed, found.added
    cost = min(compared.length, _MAX_LENGTH) * (1 - scale.share(cosine))
    if removed and added:
        if not compared.names.isdisjoint(removed) and not compared.names.isdisjoint(added):
            names = np.outer([word in compared.names for word in removed], [word in compared.names for word in added])
            nearness = np.where(names, scale.unrelated, nearness)
        best: tuple[list[float], list[float]] = nearness.max(axis=1).tolist(), nearness.max(axis=0).tolist()
        words = len(removed) + len(added)
        similarity = scale.share((sum(best[0]) + sum(best[1])) / words)
        cost_per_word = min(cost / max(len(removed), len(added)), _MAX_COST_PER_WORD)
        logit = _COST * cost_per_word - _NEAR * similarity - _COUNT * math.log2(words / 2) + _BIAS
        removed = tuple([word for word, cosine in zip(removed, best[0], strict=True) if cosine < scale.close])
        added = tuple([word for word, cosine in zip(added, best[1], strict=True) if cosine < scale.close])
    else:
        logit = _COST * min(cost / (len(removed) + len(added)), _MAX_COST_PER_WORD) - _ONE_SIDED
    likelihood = 1 / (1 + math.exp(-logit)) if removed or added else 0.0
    return replace(found, removed=removed, added=added, changed=max(found.changed, round(likelihood, 2)))


def _compare(left: str, right: str) -> _Compared:
    """Compare two texts by their words, with lists of any length."""
    if left == right:
        return _Compared(Differences(), frozenset(), 0)
    left_text, right_text = _tokenize(left), _tokenize(right)
    left_language, right_language = languages_of(left_text.words, right_text.words)
    left_numbers, left_used = quantities(left_text.tokens, left_text.words, left_language)
    right_numbers, right_used = quantities(right_text.tokens, right_text.words, right_language)
    lefts = [word for at, word in enumerate(left_text.words) if at not in left_used]
    rights = [word for at, word in enumerate(right_text.words) if at not in right_used]
    opposites, counterparts = contrasts(lefts, rights, left_language)
    counterparts |= _acronyms(left_text, right_text.words) | _acronyms(right_text, left_text.words)
    removed = _without_counterpart(lefts, right_text.words, left_language, counterparts)
    added = _without_counterpart(rights, left_text.words, right_language, counterparts)
    known = {pair[:2] for pair in opposites}
    opposites += [pair for pair in prefix_contrasts(removed, added) if pair[:2] not in known]
    words = {word for pair in opposites for word in pair[:2]}
    removed, added = ([shortened(word) for word in side if word not in words] for side in (removed, added))
    numbers = format_changes(*([number.shown for number in side] for side in unmatched(left_numbers, right_numbers)))
    denials = negating_words(left, lefts, left_language), negating_words(right, rights, right_language)
    negation = negation_changes(*denials, opposites)
    likelihood = 1.0 if numbers or negation else _WORDS_ALONE if removed or added else 0.0
    names = frozenset[str]()
    if not left_language.nouns_capitalised:
        names = _capitalised(left_text.tokens) | _capitalised(right_text.tokens)
    length = max(len(left_text.words), len(right_text.words))
    return _Compared(Differences(tuple(removed), tuple(added), numbers, negation, likelihood), names, length)


def _capitalised(tokens: Sequence[str]) -> frozenset[str]:
    return frozenset([token.lower() for token in tokens[1:] if token[0].isupper()])


def _tokenize(text: str) -> _Text:
    """Split a text into words, numbers and symbols; ``don't`` becomes ``do`` and ``not``."""
    lower = text.lower()
    contracted = "n't" in lower or "n’t" in lower or "cannot" in lower
    tokens: list[str] = _TOKEN.findall(_NOT.sub(" not", text) if contracted else text)
    words = [token.lower() for token in tokens]
    if contracted:
        words = [
            _STEMS.get(word, word) if following == "not" else word
            for word, following in zip_longest(words, words[1:], fillvalue="")
        ]
    return _Text(tokens, words)


def _without_counterpart(
    words: Sequence[str], others: Sequence[str], language: Language, counterparts: set[str]
) -> list[str]:
    """Return the distinct content words that lack the same word, a form of it or a listed synonym on the other side."""
    known = dict.fromkeys([*others, *sorted(counterparts)])
    candidates = [(at, word) for at, word in enumerate(words) if word not in known and _has_content(word, language)]
    if not candidates:
        return []
    known |= dict.fromkeys([language.irregular[other] for other in known if other in language.irregular])
    forms: dict[str, list[str]] = {word[:_MIN_PREFIX]: [] for _, word in candidates}
    for other in known:
        members = forms.get(other[:_MIN_PREFIX])
        if members is not None and len(members) < _MAX_COMPARED:
            members.append(other)
    remaining: dict[str, int] = {}
    last = ""
    for at, word in candidates:
        if len(remaining) == _MAX_COMPARED:
            break
        if language.irregular.get(word) in known or any(_same_word(word, form) for form in forms[word[:_MIN_PREFIX]]):
            continue
        if _is_cjk(word) and remaining.get(last) == at - 1:
            del remaining[last]
            last += word
        else:
            last = word
        remaining[last] = at
    return list(remaining)


def _acronyms(text: _Text, others: Sequence[str]) -> set[str]:
    """Return the acronyms of a text that abbreviate consecutive words of the other text, and those words."""
    acronyms = sorted({token.lower() for token in text.tokens if token.isupper() and len(token) > 1})
    initials = "".join([word[0] for word in others]) if acronyms else ""
    counterparts: set[str] = set()
    for acronym in acronyms[:_MAX_LISTED]:
        start = initials.find(acronym)
        if start >= 0:
            counterparts |= {acronym, *others[start : start + len(acronym)]}
    return counterparts


def _is_cjk(word: str) -> bool:
    return "\u3040" <= word[0] <= "\u9fff"


def _has_content(word: str, language: Language) -> bool:
    if any(word in words for words in (language.function, language.light, language.negation, language.concord)):
        return False
    if _is_cjk(word):
        return word[0] >= "\u30a0" and not (language.cues is not None and language.cues.fullmatch(word))
    return len(word) > 1


def _same_word(one: str, other: str) -> bool:
    """Tell whether two words are forms of one word: a common prefix followed only by inflectional endings."""
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if shared < max(_MIN_PREFIX, min(len(one), len(other)) * 0.6):
        return False
    endings, doubled = tables().endings, one[shared - 1]
    rests = [one[shared:], other[shared:]]
    return all(not rest or rest in endings or (rest[0] == doubled and rest[1:] in endings) for rest in rests)


def _truncated(found: Differences) -> Differences:
    lists = (found.removed, found.added, found.numbers, found.negation)
    removed, added, numbers, negation = (entries[:_MAX_LISTED] for entries in lists)
    return Differences(removed, added, numbers, negation, found.changed)
