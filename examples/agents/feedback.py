"""The task of both example agents: the feedback, the prompt, a script in place of a model, and the report."""

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Answer = Mapping[str, Any]
"""The structured content of a tool's answer; the answer's text is the same content as JSON."""

FEEDBACK = [
    "Search is wonderfully fast now, I love it!",
    "The app crashes every time I open a large PDF.",
    "It would be nice if search also looked inside tags.",
    "My notes no longer sync between phone and laptop.",
    "Do you sell gift vouchers?",
    "The app crashes whenever I open a large PDF file.",
    "Syncing to my new phone took seconds, fantastic work!",
    "Search finds nothing when a word has an accent.",
    "Could you add sync with a network drive?",
    "Notes no longer sync between my phone and my laptop.",
    "Reading a PDF next to my notes is a joy, thank you.",
    "Please let me highlight passages in PDF files.",
]

_KNOWN = {
    "bug report": [
        "The app freezes when I save.",
        "The export button does nothing.",
        "I get an error message at every start.",
        "Since the update my pictures are gone.",
    ],
    "feature request": [
        "Please add a dark mode.",
        "I wish I could share a folder.",
        "Could you support keyboard shortcuts?",
        "It would be great to have a calendar.",
    ],
    "praise": [
        "The best app I have ever used.",
        "Thank you, I love the new design!",
        "Great work, keep it up.",
        "Everything is so easy and quick, wonderful.",
    ],
}
KINDS = list(_KNOWN)
# With names alone, more of these short texts get no label or a wrong one. Four examples per label are more reliable.
EXAMPLES = [{"text": text, "label": kind} for kind, texts in _KNOWN.items() for text in texts]

TASK = f"""Report on this customer feedback. First find the repeats and drop them; then group the rest by theme; then
label what belongs to a theme as one of {json.dumps(KINDS)}, by these examples: {json.dumps(EXAMPLES)}.
Quote the feedback word for word and say which pieces no theme or label fits.

Feedback: {json.dumps(FEEDBACK)}"""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool and its arguments."""

    tool: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Report:
    """The result: repeats by position, with the position that is kept; themes by exemplar; labels by text."""

    repeats: Mapping[int, int]
    themes: Mapping[str, Sequence[str]]
    labels: Mapping[str, str | None]

    def __str__(self) -> str:
        lines = [f"{len(FEEDBACK)} pieces of feedback, {len(self.repeats)} of them repeats:"]
        lines += [f'  "{FEEDBACK[again]}" repeats "{FEEDBACK[kept]}"' for again, kept in sorted(self.repeats.items())]
        for exemplar, texts in self.themes.items():
            lines += ["", f'Theme "{exemplar}"']
            lines += [f'  {self.labels[text] or "unsure"}: "{text}"' for text in texts]
        apart = [text for text in without(self.repeats) if text not in self.labels]
        return "\n".join([*lines, "", "No theme", *(f'  "{text}"' for text in apart)])


def without(repeats: Mapping[int, int]) -> list[str]:
    """Return the feedback without its repeats."""
    return [text for position, text in enumerate(FEEDBACK) if position not in repeats]


def analyst() -> Generator[Call, Answer, Report]:
    """Yield each tool call, receive its answer, and return the report. The ids of sent texts are their positions."""
    answer = yield Call("deduplicate", {"texts": FEEDBACK})
    repeats = {again: kept for kept, *others in answer.get("groups", []) for again in others}

    kept = without(repeats)
    answer = yield Call("cluster", {"texts": kept, "members": len(kept)})
    clusters = [[kept[member["id"]] for member in cluster["members"]] for cluster in answer["clusters"]]
    themes = {texts[0]: texts for texts in clusters}

    themed = [text for texts in clusters for text in texts]
    answer = yield Call("classify", {"texts": themed, "labels": KINDS, "examples": EXAMPLES})
    labels = dict.fromkeys(themed) | {themed[key]: label for label, keys in answer["labels"].items() for key in keys}

    return Report(repeats, themes, labels)


def follow(answers: Iterable[Answer]) -> Call | Report:
    """Return the next call of the script after these answers, or its report.

    The script restarts each time, because a model also receives the whole conversation at every turn.
    """
    script = analyst()
    try:
        call = next(script)
        for answer in answers:
            call = script.send(answer)
    except StopIteration as end:
        report: Report = end.value
        return report
    return call
