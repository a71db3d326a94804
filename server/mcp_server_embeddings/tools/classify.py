"""Which label fits a text."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.corpus import corpus_of
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import OBJECTS, StoredTexts, Strings, Texts, Top, validated_as
from mcp_server_embeddings.tools.results import ClassifyResult, Item, LabelCount, Usage
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_texts, snippet, well_formed
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.labelling import Classes, class_means, probabilities
from mcp_server_embeddings.vectors.scores import Scores, scores

MAX_LABEL = 200
"""Characters of a label: a phrase or a sentence. Answers repeat labels."""

_FEWEST_FOR_PROBE = 4
"""Examples of every label from which on a linear probe is ahead of the nearest mean."""

_LEAST_MARGIN = 0.03
"""Of a cosine over the next, as a share of the distance from ``weak`` to ``same``, below which two labels are
as good as one another. With the rule of ``classify`` this answers 83 % of BANKING77 by label names, 68 % of it
rightly, where answering all is right in 62 %."""

_LEAST_PROBABILITY_MARGIN = 0.15
"""Likewise of a probability. With 8 examples a label this answers 88 % of BANKING77, 89 % of it rightly, where
answering all is right in 83 %."""

_COUNTS_SHARE = 0.3
"""Of the answer, at most, for how often each label was given."""

_DECIMALS = 4

Method = Literal["labels", "means", "probe"]


class Example(BaseModel):
    """A text whose label is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    label: str


@tool(
    title="Label texts",
    description=(
        "Gives each text the label that fits its meaning. Use it to sort texts into kinds you name, from the labels "
        "alone or from examples, which are more reliable. Not to find unknown kinds: use cluster. Returns for each "
        "text label (null where it abstains), score, margin, runner_up, and counts. Check small margins yourself."
    ),
    purpose="sort into kinds you can name",
)
def classify(
    embedder: Embedder,
    texts: Annotated[Texts | None, Field(description="texts to label")] = None,
    *,
    labels: Annotated[
        Strings,
        Field(
            description="2 or more words, phrases or sentences that name a subject", json_schema_extra={"minItems": 2}
        ),
    ],
    examples: Annotated[
        Sequence[Example] | None,
        validated_as(list[Example] | None),
        *OBJECTS,
        Field(description="labelled texts, for every label; 4 or more each work best"),
    ] = None,
    collection: StoredTexts = None,
    abstain: Annotated[bool, Field(description="give no label where none fits or two fit alike")] = True,
    top: Top = None,
) -> ClassifyResult:
    """Give every text the label that fits best.

    Without examples a text gets the label whose own text is nearest, underscores read as spaces (``labels``).
    With examples, the label with the nearest mean of its examples and its own text (``means``), or, from 4
    examples of every label on, the likeliest by a linear probe and the nearest example (``probe``; see
    ``vectors.labelling.probabilities``).

    With ``abstain`` a text gets no label in two cases. Its score is within chance: with half its lead over the
    next label added, below what an unrelated text reaches with the nearest of so many labels once in twenty
    (``Calibration.chance``; the lead counts because short labels score low). Or its margin is too small to mean
    anything: under 3 % of the distance between the edges of ``weak`` and ``same``, with the probe under 0.15.

    Args:
        embedder: The engine.
        texts: What to label; with labels and examples at most 2,000 texts and 2,000,000 characters.
        labels: Two or more, each of up to 200 characters, a phrase or a sentence, all different.
        examples: Texts with their labels, one or more for every label.
        collection: In place of ``texts``: its chunks, at most 2,000.
        abstain: Whether a text may get no label.
        top: How many items to list, 1 to 2,000; None for as many as fit a small answer.

    Returns:
        Items in the order of the texts. ``score`` is the cosine to the best label, or to its mean with
        examples; ``margin`` the lead over the next label, in cosines, or with the probe in probabilities;
        ``runner_up`` the best label not given: the second, or where none was given the first. Positions in
        ``usage`` run over texts, labels, examples.

    Raises:
        InputError: There are too few labels or two alike, an example has a label that is not in the list, a
            label has no example, a text is blank, or see ``corpus_of``.
        OperatorError: The model cannot be used.
    """
    room = AnswerBudget(top)
    corpus = corpus_of(texts, collection)
    labels = _checked_labels(labels)
    examples = _checked_examples(examples, labels)
    known = [example.text for example in examples]
    check_size([*corpus.sent, *labels, *known])
    shown_texts = [[_spoken(label) for label in labels], known]
    parts = [corpus.embed(embedder), *(embedder.embed(part) for part in shown_texts if part)]
    shown = np.concatenate([part.vectors for part in parts[1:]])
    classes = np.array([*range(len(labels)), *(labels.index(example.label) for example in examples)])
    method = _method(classes, len(labels), examples)
    calibration = embedder.calibration()
    cosines = scores(parts[0].vectors, class_means(shown, classes, len(labels)), "cosine")
    likely = cosines if method != "probe" else probabilities(shown, classes, parts[0].vectors)
    items = _items(cosines, likely, labels, calibration, _limits(method, len(labels), calibration) if abstain else None)
    counts = [LabelCount(label=label, texts=n) for label, n in Counter(item.label for item in items).most_common()]
    tallies = [Entry(count.model_dump_json(), "") for count in counts]
    tallied = room.take(tallies, _COUNTS_SHARE) if top is None else len(counts)
    listed = room.take([corpus.entry(item.model_dump_json(), [item.index]) for item in items])
    return ClassifyResult(
        model=embedder.identity().short,
        usage=Usage.of(*parts),
        more=len(items) - listed,
        method=method,
        counts=counts[:tallied],
        items=items[:listed],
        recalled=corpus.recalled(item.index for item in items[:listed]),
    )


def _spoken(label: str) -> str:
    """``card_arrival`` as a person would say it."""
    return label.replace("_", " ").strip() or label


def _method(classes: Classes, labels: int, examples: Sequence[Example]) -> Method:
    if not examples:
        return "labels"
    fewest = int(np.bincount(classes, minlength=labels).min()) - 1  # the label's own text is none of them
    return "probe" if fewest >= _FEWEST_FOR_PROBE else "means"


def _limits(method: Method, labels: int, calibration: Calibration) -> tuple[float, float]:
    """What a score with half its lead must reach, and the smallest margin with which a label is given."""
    weak, _, _, same = calibration.edges
    margin = _LEAST_PROBABILITY_MARGIN if method == "probe" else _LEAST_MARGIN * (same - weak)
    return calibration.chance(labels), margin


def _items(
    cosines: Scores,
    likely: Scores,
    labels: Annotated[
        Strings,
        Field(
            description="2 or more words, phrases or sentences that name a subject", json_schema_extra={"minItems": 2}
        ),
    ],
    calibration: Calibration,
    limits: tuple[float, float] | None,
) -> list[Item]:
    items = []
    for index, row in enumerate(likely):
        first, second = (int(label) for label in np.argsort(-row, kind="stable")[:2])
        cosine, margin = float(cosines[index, first]), float(row[first] - row[second])
        lead = cosine - float(np.delete(cosines[index], first).max())
        given = limits is None or (cosine + lead / 2 >= limits[0] and margin >= limits[1])
        score, percentile, band = calibration.interpret(cosine)
        items.append(
            Item(
                index=index,
                label=labels[first] if given else None,
                score=score,
                percentile=percentile,
                band=band,
                margin=round(margin, _DECIMALS) + 0.0,
                runner_up=labels[second if given else first],
            )
        )
    return items


def _checked_labels(labels: Sequence[str]) -> list[str]:
    labels = checked_texts("labels", labels)
    if len(labels) < 2:
        raise InputError(f"labels has 1 label, {snippet(labels[0])!r}; give 2 or more, or use rank to sort by one")
    long = [i for i, label in enumerate(labels) if len(label) > MAX_LABEL]
    if long:
        raise InputError(
            f"labels[{long[0]}] has {len(labels[long[0]]):,} characters; at most {MAX_LABEL}: a label is a phrase or "
            "a sentence, longer texts of a kind go into examples"
        )
    strange = [i for i, label in enumerate(labels) if CONTROL.search(label)]
    if strange:
        raise InputError(f"labels[{strange[0]}] has control characters: {labels[strange[0]][:20]!r}; leave them out")
    _check_different(labels)
    return labels


def _check_different(labels: Sequence[str]) -> None:
    """Labels that read alike have one vector, and a text would get neither."""
    read: dict[str, str] = {}
    for label in labels:
        key = " ".join(_spoken(label).casefold().split())
        if key in read:
            alike = "is there twice" if read[key] == label else f"reads like {snippet(read[key])!r}"
            raise InputError(f"labels has {snippet(label)!r}, which {alike}; give each label once")
        read[key] = label


def _checked_examples(examples: Sequence[Example] | None, labels: Sequence[str]) -> list[Example]:
    if not examples:
        return []
    texts = checked_texts("examples", [example.text for example in examples])
    examples = [
        Example(text=text, label=well_formed(example.label)) for text, example in zip(texts, examples, strict=True)
    ]
    wanted = set(labels)
    given = {example.label for example in examples}
    for position, example in enumerate(examples):
        if example.label not in wanted:
            raise InputError(
                f"examples[{position}] has the label {snippet(example.label)!r}, which is not in labels; add it there, "
                "or correct it"
            )
    bare = [label for label in labels if label not in given]
    if bare:
        raise InputError(
            f"{len(bare)} of {len(labels)} labels have no example, the first is {snippet(bare[0])!r}; give every label "
            "one or more, or leave examples out"
        )
    return examples
