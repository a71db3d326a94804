"""What the vectors of two texts that are close in meaning cannot see: numbers, negations, replaced words.

The cosine of a pair hardly moves when ``30 days`` becomes ``60 days`` or a "not" is added, because the vector of a
text is a mean over its words (Ettinger 2020, "What BERT is not", TACL 8, doi:10.1162/tacl_a_00298, for negation;
Wallace et al. 2019, "Do NLP models know numbers?", arXiv:1909.07940). So the words are compared as well, in two
stages: the texts alone (``textual_differences``), then the words that are left over by their vectors
(``differences``), as BERTScore matches tokens (Zhang et al. 2020, arXiv:1904.09675).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.languages import Language, language_of, tables
from mcp_server_embeddings.tools.quantities import NUMBER, quantities, unmatched
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Scores, unit_rows

_TOKEN = re.compile(rf"{NUMBER}|[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]++|°[CF]?|[%‰€$£¥₽]")
_NOT = re.compile(r"n['’]t\b|(?<=\bcan)not\b", re.IGNORECASE)
_STEMS = {"ca": "can", "wo": "will", "sha": "shall"}
"""What is left of can't, won't and shan't."""

_LISTED = 8
"""Entries of each list, so that an answer stays readable."""

_COMPARED = 200
"""Words without a literal counterpart for which one is looked for; texts that differ in more have little in common."""

_PREFIX = 3
"""Letters that two forms of one word share at least."""

_ENGLISH_ENDINGS = (
    ("ies", "y"), ("ied", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("es", ""), ("s", "")
)  # fmt: skip
"""Endings, and what they are replaced by."""

_OBLIGATION = 0
"""The group of opposites of each language that grades obligation: "must not" and "may not" forbid alike."""

_POLARITY = -1
"""In place of a group, for words that differ by a prefix that denies."""

_IMPLYING = frozenset({"fail", "fails", "failed", "stop", "stops", "stopped", "free"})
"""English words that deny what follows (Karttunen 1971, "Implicative verbs")."""

_ABSENT = "∅"

_WORDS_ALONE = 0.4
"""``changed`` of a pair with other words, before their vectors are known."""

CHANGED = 0.5
"""``changed`` of a pair that is worth a look."""

_COST, _NEAR, _COUNT, _BIAS = 1.8, 2.5, 1.0, 0.1
"""Weights of the logistic regression over cost per word, nearness of the words, log2 of their number."""

_ONE_SIDED = 2.0
"""Bias against words that one text has in addition: they often say what the other implies."""

_MOST_COST = 2.0
_LONG = 30
"""Words up to which the cosine of a text falls by a share per word."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What changed from the left text to the right one; empty lists where nothing did.

    Attributes:
        removed: Words of the left text without a counterpart in the right one, in lower case.
        added: Words of the right text without a counterpart in the left one.
        numbers: Numbers, quantities, times and dates, as ``30 days → 60 days``; ``∅`` where a side has none.
        negation: Negations and opposites, as ``∅ → not``, ``must → may``, ``before → after``.
        changed: How likely the meaning changed, 0 to 1: 1 for a number or a negation, else judged by the words.
            From ``CHANGED`` a pair is worth a look.
    """

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    negation: tuple[str, ...] = ()
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class _Text:
    """A text cut into words, numbers and symbols: as written, and in lower case."""

    tokens: list[str]
    words: list[str]


@dataclass(frozen=True, slots=True)
class _Compared:
    """Differences without the limit of a list, and what the second stage needs.

    Attributes:
        found: The differences of the texts alone.
        names: Words written with a capital inside a sentence.
        length: Words of the longer text.
    """

    found: Differences
    names: frozenset[str]
    length: int


def textual_differences(left: str, right: str) -> Differences:
    """Compare two texts by their words alone, in time linear in their length.

    Args:
        left: A text.
        right: A text close to it in meaning.

    Returns:
        At most eight entries a list. Synonyms are still among ``removed`` and ``added``, so words alone raise
        ``changed`` to no more than 0.4; see ``differences``.

    Example:
        >>> found = textual_differences("Pay within 30 days.", "Do not pay within 60 days.")
        >>> found.numbers, found.negation, found.changed
        (('30 days → 60 days',), ('∅ → not',), 1.0)
    """
    return _listed(_compare(left, right).found)


def differences(
    embedder: Embedder, pairs: Sequence[tuple[str, str]], *, cosines: Sequence[float] | None = None
) -> list[Differences]:
    """Compare pairs of texts by their words, and what is left over by its vectors.

    A word has a counterpart where its vector is as near to one of the other side's as the band ``close`` begins.
    What still differs is judged by three things (a logistic regression, fitted on the tuning half of
    ``tests/data/differences.jsonl``): how near the words come, how many there are, and how much of the cosine of the
    texts each costs. A synonym hardly moves the cosine, another word of the same kind does.

    Args:
        embedder: The engine; encodes every distinct word once, in one call.
        pairs: Texts that are close in meaning, left and right.
        cosines: The cosine of each pair, -1 to 1, where it is known; else the texts are encoded as well.

    Returns:
        The differences of each pair, at most eight entries a list.

    Raises:
        OperatorError: The model cannot be used.
        CallCancelledError: The caller cancelled.

    Example:
        >>> [found] = differences(embedder, [("The buyer signs the form.", "The buyer burns the form.")])
        >>> found.removed, found.added, found.changed >= CHANGED
        (('signs',), ('burns',), True)
    """
    compared = [_compare(left, right) for left, right in pairs]
    open_pairs = [at for at, pair in enumerate(compared) if pair.found.removed or pair.found.added]
    words = {word for at in open_pairs for word in (*compared[at].found.removed, *compared[at].found.added)}
    texts = {text for at in open_pairs for text in pairs[at]} if cosines is None else set()
    results = [pair.found for pair in compared]
    if open_pairs:
        encoded = sorted(words | texts)
        vectors = unit_rows(embedder.embed(encoded).vectors)
        row = {text: at for at, text in enumerate(encoded)}
        scale = _Scale.of(embedder.calibration())
        for at in open_pairs:
            left, right = pairs[at]
            cosine = float(vectors[row[left]] @ vectors[row[right]]) if cosines is None else cosines[at]
            sides = [
                vectors[[row[word] for word in side]] for side in (compared[at].found.removed, compared[at].found.added)
            ]
            results[at] = _judged(compared[at], (sides[0] @ sides[1].T).astype(np.float64), cosine, scale)
    return [_listed(found) for found in results]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Cosines of one model as shares of the way from unrelated (0) to equal (1), so that constants carry over."""

    unrelated: float
    close: float

    @classmethod
    def of(cls, calibration: Calibration) -> "_Scale":
        return cls(float(np.median(calibration.unrelated)), calibration.edges[2])

    def share(self, cosine: float) -> float:
        return (cosine - self.unrelated) / (1 - self.unrelated)


def _judged(compared: _Compared, nearness: Scores, cosine: float, scale: _Scale) -> Differences:
    """Leave out words with a counterpart and judge the rest.

    Args:
        compared: A pair.
        nearness: Cosines of its removed words (rows) with its added ones (columns).
        cosine: Of the whole texts.
        scale: Of the model.
    """
    found = compared.found
    removed, added = found.removed, found.added
    cost = min(compared.length, _LONG) * (1 - scale.share(cosine))
    if removed and added:
        names = np.outer([word in compared.names for word in removed], [word in compared.names for word in added])
        nearness = np.where(names, scale.unrelated, nearness)
        best = [nearness.max(axis=1), nearness.max(axis=0)]
        near = scale.share(float(np.mean(np.concatenate(best))))
        each = min(cost / max(len(removed), len(added)), _MOST_COST)
        count = np.log2((len(removed) + len(added)) / 2)
        logit = _COST * each - _NEAR * near - _COUNT * count + _BIAS
        removed, added = (
            tuple(word for word, cosine in zip(side, cosines, strict=True) if cosine < scale.close)
            for side, cosines in zip((removed, added), best, strict=True)
        )
    else:
        logit = _COST * min(cost / (len(removed) + len(added)), _MOST_COST) - _ONE_SIDED
    likely = float(1 / (1 + np.exp(-logit))) if removed or added else 0.0
    return replace(found, removed=removed, added=added, changed=max(found.changed, round(likely, 2)))


def _compare(left: str, right: str) -> _Compared:
    """Compare all words, without the limit of a list."""
    one, other = _read(left), _read(right)
    languages = language_of(one.words, other.words), language_of(other.words, one.words)
    numbers, used = quantities(one.tokens, one.words, languages[0])
    other_numbers, other_used = quantities(other.tokens, other.words, languages[1])
    lefts = [word for at, word in enumerate(one.words) if at not in used]
    rights = [word for at, word in enumerate(other.words) if at not in other_used]
    contrasts, settled = _contrasts(lefts, rights, languages[0])
    settled |= _acronyms(one, other.words) | _acronyms(other, one.words)
    removed = _without_counterpart(lefts, other.words, languages[0], settled)
    added = _without_counterpart(rights, one.words, languages[1], settled)
    for pair in _prefixed(removed, added):
        if pair not in {known[1:] for known in contrasts}:
            contrasts.append((_POLARITY, *pair))
    words = {word for _, *pair in contrasts for word in pair}
    removed, added = ([word for word in side if word not in words] for side in (removed, added))
    changed = _arrows(*([quantity.shown for quantity in side] for side in unmatched(numbers, other_numbers)))
    negation = _negation(_denials(left, lefts, languages[0]), _denials(right, rights, languages[1]), contrasts)
    likely = 1.0 if changed or negation else _WORDS_ALONE if removed or added else 0.0
    return _Compared(
        Differences(tuple(removed), tuple(added), changed, negation, likely),
        frozenset[str]() if languages[0].nouns_capitalised else _names(one.tokens) | _names(other.tokens),
        max(len(one.words), len(other.words)),
    )


def _names(tokens: Sequence[str]) -> frozenset[str]:
    return frozenset(token.lower() for token in tokens[1:] if token[0].isupper())


def _read(text: str) -> _Text:
    """Cut a text into words, numbers and symbols; ``don't`` is ``do`` and ``not``."""
    tokens: list[str] = _TOKEN.findall(_NOT.sub(" not", text))
    words = [token.lower() for token in tokens]
    for at, (word, following) in enumerate(pairwise(words)):
        if following == "not" and word in _STEMS:
            words[at] = _STEMS[word]
    return _Text(tokens, words)


def _denials(text: str, words: Sequence[str], language: Language) -> list[str]:
    """Return the words that deny, in order."""
    if language.cues is not None:
        return [cue for cue in language.cues.findall(text) if cue]
    denying = [
        word for word, following in zip_longest(words, words[1:], fillvalue="") if _denies(word, following, language)
    ]
    return denying or [word for word in words if word in language.concord]


def _denies(word: str, following: str, language: Language) -> bool:
    """Whether a word denies: ``not`` but for ``not only``, and ``failed to``, ``stopped working``, ``free of``."""
    if word not in _IMPLYING:
        return word in language.negation and following != "only"
    if word == "free":
        return following in ("of", "from")
    return following.endswith("ing") if word.startswith("stop") else following == "to"


def _negation(left: Sequence[str], right: Sequence[str], contrasts: Sequence[tuple[int, str, str]]) -> tuple[str, ...]:
    """Weigh negations against opposites: ``not allowed`` and ``forbidden`` say the same."""
    surplus = abs(len(left) - len(right))
    if left and right and not surplus:
        contrasts = [contrast for contrast in contrasts if contrast[0] != _OBLIGATION]
    graded = [contrast for contrast in contrasts if contrast[0] == _OBLIGATION]
    opposed = [contrast for contrast in contrasts if contrast[0] != _OBLIGATION]
    cancelled = min(surplus, len(opposed))
    surplus -= cancelled
    lefts, rights = [*(Counter(left) - Counter(right)).elements()], [*(Counter(right) - Counter(left)).elements()]
    longer, shorter = sorted((lefts, rights), key=len, reverse=True)
    shown = longer[len(shorter) :][:surplus]
    denials = _arrows(shown, []) if longer is lefts else _arrows([], shown)
    return (*denials, *(f"{one} → {other}" for _, one, other in [*graded, *opposed[cancelled:]]))


def _contrasts(
    lefts: Sequence[str], rights: Sequence[str], language: Language
) -> tuple[list[tuple[int, str, str]], frozenset[str]]:
    """Find opposites among the words of one side only.

    Returns:
        The contrasts as group, left and right word; and the words that have a synonym on the other side.
    """
    sides = [_classes(words, others, language) for words, others in ((lefts, rights), (rights, lefts))]
    shared = sides[0].keys() & sides[1].keys()
    settled = frozenset(word for side in sides for key in shared for word in side[key])
    contrasts: dict[tuple[str, str], int] = {}
    for (group, which), words in sides[0].items():
        for (other_group, other), other_words in sides[1].items():
            if group == other_group and which != other:
                for one, another in zip(words, other_words, strict=False):
                    if not {one, another} & settled:
                        contrasts.setdefault((one, another), group)
    return [(group, *pair) for pair, group in contrasts.items()], settled


def _classes(words: Sequence[str], others: Sequence[str], language: Language) -> dict[tuple[int, int], list[str]]:
    """Group the words that only one side has by their classes of opposites."""
    found: dict[tuple[int, int], list[str]] = {}
    for word in dict.fromkeys([*words, *_having_to(words)]).keys() - set(others) - set(_having_to(others)):
        for key in _opposites_of(word, language):
            found.setdefault(key, []).append(word)
    return {key: sorted(members) for key, members in sorted(found.items())}


def _having_to(words: Sequence[str]) -> list[str]:
    if "to" not in words:
        return []
    return [f"{word}_to" for word, following in pairwise(words) if following == "to" and word in ("have", "has", "had")]


def _opposites_of(word: str, language: Language) -> set[tuple[int, int]]:
    return {key for base in _bases(word, language) for key in language.opposites.get(base, ())}


def _bases(word: str, language: Language) -> list[str]:
    """Return what a word may be a form of, itself included; endings are the English ones."""
    bases = [word]
    if word in language.irregular:
        bases.append(language.irregular[word])
    for ending, bare in _ENGLISH_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _PREFIX:
            base = word.removesuffix(ending) + bare
            bases.append(base)
            if base[-1] == base[-2]:
                bases.append(base[:-1])
    return bases


def _without_counterpart(
    words: Sequence[str], others: Sequence[str], language: Language, settled: frozenset[str]
) -> list[str]:
    """Return the distinct content words without the same word, a form of it or a listed synonym on the other side."""
    known = {*others, *settled, *(language.irregular[other] for other in others if other in language.irregular)}
    forms: dict[str, list[str]] = {}
    for other in known:
        members = forms.setdefault(other[:_PREFIX], [])
        if len(members) < _COMPARED:
            members.append(other)
    left_over: dict[str, int] = {}
    last = ""
    for at, word in enumerate(words):
        if len(left_over) == _COMPARED:
            break
        if word in known or language.irregular.get(word) in known or not _has_content(word, language):
            continue
        if any(_same_word(word, other) for other in forms.get(word[:_PREFIX], ())):
            continue
        if _is_cjk(word) and left_over.get(last) == at - 1:
            del left_over[last]
            last += word
        else:
            last = word
        left_over[last] = at
    return list(left_over)


def _acronyms(text: _Text, others: Sequence[str]) -> set[str]:
    """Return the acronyms of a text and the words of the other one that they stand for."""
    shouted = {token.lower() for token in text.tokens if 2 <= len(token) <= _COMPARED and token.isupper()}
    settled: set[str] = set()
    if shouted:
        initials = "".join(word[0] for word in others)
        for acronym in [*shouted][:_LISTED]:
            start = initials.find(acronym)
            if start >= 0:
                settled |= {acronym, *others[start : start + len(acronym)]}
    return settled


def _is_cjk(word: str) -> bool:
    return "\u3040" <= word[0] <= "\u9fff"


def _has_content(word: str, language: Language) -> bool:
    if word in language.function or word in language.negation or word in language.concord:
        return False
    if _is_cjk(word):
        return word[0] >= "\u30a0" and not (language.cues is not None and language.cues.fullmatch(word))
    return len(word) > 1


def _same_word(one: str, other: str) -> bool:
    """Whether two words are forms of one: a common beginning, and nothing but endings after it."""
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if shared < max(_PREFIX, min(len(one), len(other)) * 0.6):
        return False
    endings, doubled = tables().endings, one[shared - 1]
    rests = [one[shared:], other[shared:]]
    return all(not rest or rest in endings or (rest[0] == doubled and rest[1:] in endings) for rest in rests)


def _prefixed(removed: Sequence[str], added: Sequence[str]) -> list[tuple[str, str]]:
    """Find words that differ by a prefix that denies: ``valid`` and ``invalid``."""
    pairs = []
    for words, others in ((removed, added), (added, removed)):
        known = set(others)
        for word in words:
            bare = next(
                (
                    word[len(prefix) :]
                    for prefix in tables().denying_prefixes
                    if word.startswith(prefix) and word[len(prefix) :] in known
                ),
                None,
            )
            if bare:
                pairs.append((word, bare) if words is removed else (bare, word))
    return pairs


def _arrows(left: Sequence[str], right: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{one} → {other}" for one, other in zip_longest(left, right, fillvalue=_ABSENT))


def _listed(found: Differences) -> Differences:
    return replace(
        found,
        removed=found.removed[:_LISTED],
        added=found.added[:_LISTED],
        numbers=found.numbers[:_LISTED],
        negation=found.negation[:_LISTED],
    )
