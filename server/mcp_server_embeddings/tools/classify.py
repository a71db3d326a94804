"""Assign each item the label that fits best."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, WithJsonSchema

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.answer_budget import AnswerBudget
from mcp_server_embeddings.tools.coercion import Id, coerce_labels
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.example_arguments import Example, ExampleTable, coerce_examples
from mcp_server_embeddings.tools.examples import ResolvedExamples, read_examples, resolve_examples
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.labels import ABSTAINED, as_words, checked_labels
from mcp_server_embeddings.tools.parameters import (
    MAX_TOP,
    STRINGS,
    IdField,
    Ids,
    Range,
    SaveAs,
    Source,
    Tag,
    Texts,
    WhereFilter,
    coerced,
)
from mcp_server_embeddings.tools.results import Check, ClassifyResult
from mcp_server_embeddings.tools.saving import check_save_as, save_items
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import check_size
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.labelling import Classes, Probe, class_means, labelled
from mcp_server_embeddings.vectors.scores import Scores, Vectors

_MIN_EXAMPLES_FOR_PROBE = 4
"""Minimum number of examples of every label at which a linear probe beats the nearest mean."""

_MIN_COSINE_LEAD = 0.03
"""Minimum lead in cosine over the next label, as a share of the distance from ``weak`` to ``same``; with less, the two
labels are equally good. With the rule of ``classify``, 83 % of BANKING77 gets a label by label names alone, and 68 % of
those labels are right; without abstaining, 62 % are."""

_MIN_MARGIN = 0.15
"""Minimum lead in probability. With 8 examples per label, 88 % of BANKING77 gets a label, and 89 % of those labels are
right; without abstaining, 83 % are."""

_CHECK_CHARACTERS = (240, 160, 120, 100, 80, 60, 45)
"""Maximum characters of a text in the check list: the first length at which the whole list fits is used."""

_IDS_SHARE = 0.5
"""Share of the answer for ids; the check list gets the rest."""

_DECIMALS = 4

Method = Literal["labels", "means", "probe"]


@dataclass(frozen=True, slots=True)
class _Labelled:
    """The result for each item: the best label, the second best, the published margin, and whether a label is given."""

    best: NDArray[np.int64]
    second: NDArray[np.int64]
    margins: Scores
    given: NDArray[np.bool_]


@tool(
    title="Label items",
    description=(
        "Sorts texts into kinds that you name: tickets, messages, rows. Use it with label names, a sentence each, or "
        "5 or more examples a label (best). Not for unknown kinds: use cluster. Returns counts, ids by label, "
        'and check: the least sure with texts; correct by examples [{"source": "saved.csv"}, {label: [ids]}].'
    ),
    purpose="sort into kinds you can name",
    effect="destroys",  # a tag replaces what an earlier one stored
)
def classify(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts")] = None,
    *,
    labels: Annotated[
        Sequence[str] | Mapping[str, str] | None,
        coerced(coerce_labels),
        STRINGS,
        Field(description="names, or {name: sentence}"),
    ] = None,
    examples: Annotated[
        Sequence[Example | ExampleTable] | None,
        coerced(coerce_examples),
        WithJsonSchema({"type": "array", "items": {"type": "object"}}),
        Field(description='{"text" or "id", "label"}, {label: [texts or ids]}, {"source": "a.csv#text"}'),
    ] = None,
    abstain: Annotated[bool, Field(description="no label where unsure")] = True,
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    top: Annotated[int, Range(1, MAX_TOP), Field(description="entries of check")] = 30,
    save_as: SaveAs = None,
    tag: Tag = None,
    sources: Sources | None = None,
    output_dir: Path | None = None,
) -> ClassifyResult:
    """Assign each item the label closest in meaning.

    Without examples, a text is compared with the label names and their descriptions. With fewer than 4 examples of some
    label, it is compared with the mean of each label's examples, name and description; with more, a linear probe
    decides (``Probe``).

    With ``abstain``, an item gets no label in two cases. Either its score is within chance: the cosine plus half its
    lead over the next label is below the cosine that an unrelated text reaches with the nearest of that many labels
    once in twenty (``Calibration.chance``; the lead counts because short labels score low). Or its margin is too small
    to be significant.

    Args:
        embedder: The engine.
        texts: Up to 2,000 texts, or a map from id to text.
        labels: Two or more distinct names of up to 200 characters, or a map from name to a sentence that describes the
            label. Optional if examples name the labels.
        examples: Texts or item ids with their labels, and tables of texts with labels. A table row with the id and text
            of an item labels that item. The last label of an item wins.
        abstain: Whether an item may get no label.
        source: Replaces ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata matches.
        top: Maximum number of doubtful items in ``check``, 1 to 1,000.
        save_as: File name for a table with one row per item, with ``label``, ``runner_up`` and ``margin``.
        tag: Metadata name under which the label of each item is stored in the collection.
        sources: Resolves ``source`` and example tables.
        output_dir: The folder for ``save_as``.

    Returns:
        ``margin`` has the same scale for every method, 0 to 1. With the probe it is the lead in probability, otherwise
        ``1 - 0.85 ** (lead / l)`` with the lead in cosine, where ``l`` is 3 % of the distance from ``weak`` to
        ``same``. A label is given from 0.15. ``runner_up`` is the best label that was not given.

    Raises:
        InputError: There are too few labels or two that read alike, an example has an unknown label or id, or
            ``select_items`` rejects the items.
        OperatorError: The model cannot be used, or a file cannot be written.

    Example:
        >>> classify(embedder, ["My card is lost"], labels=["card", "loan"]).labels
        {'card': [0]}
    """
    check_save_as(output_dir, save_as)
    items = select_items(embedder, sources, texts, Selection(source, id_field, ids, where))
    items.check_tag(tag)
    labelled_examples = read_examples(examples or [], sources, output_dir)
    names, descriptions = checked_labels(labels, [example for _, example in labelled_examples])
    resolved = resolve_examples(labelled_examples, names, items)
    check_size([*names, *filter(None, descriptions), *resolved.texts])
    vectors = items.embed(embedder)
    label_vectors, classes = _label_vectors(embedder, names, descriptions, resolved, vectors)
    method = _method(classes, len(names), bool(labelled_examples))
    result = _label(embedder, vectors, label_vectors, classes, len(names), method, abstain=abstain)
    _apply_known_labels(result, resolved)
    return _build_result(embedder, items, names, result, method, resolved, top, save_as, tag, sources, output_dir)


def _build_result(
    embedder: Embedder,
    items: Items,
    names: Sequence[str],
    result: _Labelled,
    method: Method,
    resolved: ResolvedExamples,
    top: int,
    save_as: str | None,
    tag: str | None,
    sources: Sources | None,
    output_dir: Path | None,
) -> ClassifyResult:
    assigned = [names[label] if given else None for label, given in zip(result.best, result.given, strict=True)]
    runners_up = [
        names[second if given else best]
        for best, second, given in zip(result.best, result.second, result.given, strict=True)
    ]
    margins = [round(float(margin), _DECIMALS) + 0.0 for margin in result.margins]
    columns = {"label": assigned, "runner_up": runners_up, "margin": margins}
    file = save_items(items, sources, output_dir, save_as, columns, tag)
    if tag is not None:
        items.tag(tag, assigned)
    counts = Counter(label for label in assigned if label is not None)
    by_label: dict[str, list[Id]] = {label: [] for label, _ in counts.most_common()}
    abstained: list[Id] = []
    for key, label in zip(items.ids, assigned, strict=True):
        (abstained if label is None else by_label[label]).append(key)
    budget = AnswerBudget()
    counted = counts.most_common()
    if abstained:
        counted.append((ABSTAINED, len(abstained)))
    listed = budget.take(counted)
    if listed < len(counted):
        items.notes.append(f"{len(counted) - listed:,} labels with few items do not fit into counts")
    all_ids = [*by_label, *abstained, *(key for ids in by_label.values() for key in ids)]
    # A file has the ids too, so the check list comes first then and gets longer texts.
    complete = file is None and budget.take_all(all_ids, share=_IDS_SHARE)
    if file is None and not complete:
        items.notes.append(
            f"the ids of {len(items):,} items do not fit an answer; counts has how many each label got, and save_as "
            "writes every item"
        )
    least_sure = [int(at) for at in np.argsort(result.margins, kind="stable") if at not in resolved.by_position][:top]
    check = _fitting_check(items, least_sure, assigned, runners_up, margins, budget)
    complete = complete or (file is not None and budget.take_all(all_ids))
    return ClassifyResult(
        model=embedder.identity().short,
        notes=items.notes,
        folder=items.folder,
        method=method,
        counts=dict(counted[:listed]),
        labels=by_label if complete else {},
        abstained=abstained if complete else [],
        check=check,
        file=file,
    )


def _fitting_check(
    items: Items,
    least_sure: Sequence[int],
    labels: Sequence[str | None],
    runners_up: Sequence[str],
    margins: Sequence[float],
    budget: AnswerBudget,
) -> list[Check]:
    """Return the check list with the longest texts that fit; if even the shortest do not, return its beginning."""
    check: list[Check] = []
    for characters in _CHECK_CHARACTERS:
        texts = items.snippets(least_sure, characters)
        check = [
            Check(id=items.ids[at], text=text, label=labels[at], runner_up=runners_up[at], margin=margins[at])
            for at, text in zip(least_sure, texts, strict=True)
        ]
        if budget.take_all(check):
            return check
    items.notes.append(f"not all {len(least_sure):,} entries of check fit; the least sure come first")
    return check[: budget.take(check)]


def _apply_known_labels(result: _Labelled, resolved: ResolvedExamples) -> None:
    """Set the labels of items that the caller labelled by examples."""
    for position, label in resolved.by_position.items():
        if result.best[position] != label:
            result.second[position] = result.best[position]
        result.best[position], result.given[position], result.margins[position] = label, True, 1.0


def _label_vectors(
    embedder: Embedder, names: Sequence[str], descriptions: Sequence[str], resolved: ResolvedExamples, vectors: Vectors
) -> tuple[Vectors, Classes]:
    """Return the vectors of all names, descriptions and examples, and the label of each row."""
    described = [(at, description) for at, description in enumerate(descriptions) if description.strip()]
    texts = [*map(as_words, names), *(description for _, description in described), *resolved.texts]
    label_vectors = [embedder.embed(texts).vectors]
    classes = [*range(len(names)), *(at for at, _ in described), *resolved.labels]
    if resolved.by_position:
        label_vectors.append(vectors[list(resolved.by_position)])
        classes += resolved.by_position.values()
    return np.concatenate(label_vectors), np.array(classes)


def _method(classes: Classes, labels: int, has_examples: bool) -> Method:
    if not has_examples:
        return "labels"
    fewest = int(np.bincount(classes, minlength=labels).min()) - 1  # the label's name is not an example
    return "probe" if fewest >= _MIN_EXAMPLES_FOR_PROBE else "means"


def _label(
    embedder: Embedder,
    vectors: Vectors,
    label_vectors: Vectors,
    classes: Classes,
    labels: int,
    method: Method,
    *,
    abstain: bool,
) -> _Labelled:
    """Label the items."""
    calibration, means = embedder.calibration(), class_means(label_vectors, classes, labels)
    probe = Probe(label_vectors, classes) if method == "probe" else None
    found = labelled(vectors, means, probe, Watch(embedder.call.raise_if_cancelled))
    if probe is None:
        weak, _, _, same = calibration.edges
        # Grows strictly with the lead, and equals the minimum margin at the minimum lead in cosine.
        margins = 1 - np.exp(math.log(1 - _MIN_MARGIN) * found.margins / (_MIN_COSINE_LEAD * (same - weak)))
        found = replace(found, margins=margins)
    given = found.sure(calibration.chance(labels), _MIN_MARGIN) if abstain else np.ones(len(vectors), np.bool_)
    return _Labelled(found.best, found.second, found.margins, given)
