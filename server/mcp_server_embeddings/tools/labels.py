"""Check the labels of ``classify``."""

from collections.abc import Mapping, Sequence

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.example_arguments import Example
from mcp_server_embeddings.tools.texts import CONTROL, snippet

MAX_LABEL = 200
"""Maximum characters of a label, which is a phrase: answers repeat it."""

_MAX_DESCRIPTION = 2_000
"""Maximum characters of the sentence that describes a label."""

ABSTAINED = "(abstained)"
"""Key in ``counts`` for the number of items without a label, for answers in which their ids do not fit."""


def as_words(label: str) -> str:
    """Return a label in natural language: ``card arrival`` for ``card_arrival``."""
    return label.replace("_", " ").strip() or label


def checked_labels(
    labels: Sequence[str] | Mapping[str, str] | None, examples: Sequence[Example]
) -> tuple[list[str], list[str]]:
    """Return the names of the labels and their descriptions.

    Raises:
        InputError: There are fewer than two, or one is invalid.
    """
    named = dict.fromkeys((example.label for example in examples), "") if labels is None else labels
    names = list(named)
    descriptions = list(named.values()) if isinstance(named, Mapping) else [""] * len(names)
    if len(names) < 2:
        problem = f"labels has 1 label, {snippet(names[0])!r}" if names else "neither labels nor examples name a label"
        raise InputError(f"{problem}; give 2 or more, or use search to find what is about one subject")
    for at, (name, description) in enumerate(zip(names, descriptions, strict=True)):
        if not name.strip() or CONTROL.search(name):
            raise InputError(f"labels[{at}] is {name[:40]!r}; give a name with visible characters and no control ones")
        if len(name) > MAX_LABEL or len(description) > _MAX_DESCRIPTION:
            raise InputError(
                f"labels[{at}] has {max(len(name), len(description)):,} characters; at most {MAX_LABEL} for a name and "
                f"{_MAX_DESCRIPTION:,} for its sentence: longer texts of a kind go into examples"
            )
    _check_distinct(names)
    return names, descriptions


def _check_distinct(names: Sequence[str]) -> None:
    """Reject labels that read alike: they have the same vector, so neither would ever lead.

    Raises:
        InputError: Two labels read alike.
    """
    seen = {ABSTAINED: "the count of items without a label"}
    for name in names:
        key = " ".join(as_words(name).casefold().split())
        if key in seen:
            reason = "is there twice" if seen[key] == name else f"reads like {snippet(seen[key])!r}"
            raise InputError(f"labels has {snippet(name)!r}, which {reason}; give each label once")
        seen[key] = name
