"""Examples and queries that are read from tables instead of sent."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from corpus import TEXTS, THEMES
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.classify import classify
from mcp_server_embeddings.tools.example_arguments import coerce_examples
from mcp_server_embeddings.tools.results import ClassifyResult
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.sources import Sources

IDS = [f"R{number}" for number in range(len(TEXTS))]


def write_table(path: Path, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Path:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def sources(tmp_path: Path, embedder: Embedder) -> Iterator[Sources]:
    """A folder with messages, some of them labelled by hand in another file."""
    folder = tmp_path / "files"
    folder.mkdir()
    write_table(folder / "messages.csv", ("id", "message"), list(zip(IDS, TEXTS, strict=True)))
    known = [(text, theme) for theme, texts in THEMES.items() for text in texts[:4]]
    write_table(folder / "known.csv", ("words", "theme"), [*known, ("A text of six words, unlabelled", " ")])
    store = open_store(Settings(data_dir=tmp_path / "data"))
    yield Sources(store, Reader([folder]))
    store.close()


def classified(
    embedder: Embedder,
    sources: Sources,
    examples: object = None,
    labels: list[str] | None = None,
    save_as: str | None = None,
    output: Path | None = None,
) -> ClassifyResult:
    """The messages, every one with a label; the examples as a client sends them."""
    return classify(
        embedder,
        labels=labels,
        examples=None if examples is None else coerce_examples("examples", examples),
        abstain=examples is None,
        source="messages.csv#message",
        sources=sources,
        save_as=save_as,
        output_dir=output,
    )


def labels_of(found: ClassifyResult) -> dict[str | int, str | None]:
    """By id."""
    return {key: label for label, keys in found.labels.items() for key in keys} | dict.fromkeys(found.abstained)


def test_a_table_of_examples_says_the_same_as_the_examples_sent(embedder: Embedder, sources: Sources) -> None:
    by_table = classified(embedder, sources, {"source": "known.csv#words", "label_field": "theme"})
    by_hand = classified(embedder, sources, {theme: texts[:4] for theme, texts in THEMES.items()})
    assert by_table.method == "probe"
    assert (by_table.labels, by_table.check) == (by_hand.labels, by_hand.check)


def test_what_was_saved_is_corrected_by_ids_alone(embedder: Embedder, sources: Sources, tmp_path: Path) -> None:
    output = tmp_path / "output"
    saved = classified(embedder, sources, labels=list(THEMES), save_as="labelled.csv", output=output)
    before, wrong = labels_of(saved), IDS[3]
    other = next(theme for theme in THEMES if theme != before[wrong])
    kept = {key: label for key, label in before.items() if label is not None} | {wrong: other}
    assert saved.file is not None
    for named in ("labelled.csv#message", f"{saved.file.path}#message"):
        for corrected in ({"id": wrong, "label": other}, {other: [wrong]}):
            after = classified(embedder, sources, [named, corrected], output=output)
            assert labels_of(after).items() >= kept.items()
            assert not {entry.id for entry in after.check} & kept.keys()


def test_an_example_with_the_id_of_another_text_is_not_taken_for_it(embedder: Embedder, sources: Sources) -> None:
    first, *_, last = THEMES
    rows = [(IDS[0], THEMES[last][1], last), (IDS[-1], THEMES[first][1], first)]
    write_table(Path(sources.reader.folders[0]) / "same_ids.csv", ("id", "message", "label"), rows)
    found = classified(embedder, sources, "same_ids.csv#message")
    assert labels_of(found)[IDS[0]] == first


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ("known.csv#words", "has no column 'label'; its columns: 'words', 'theme'; name the column of the labels"),
        ({"source": "known.csv#words", "label_field": "topic"}, "has no column 'topic'"),
        ({"source": "known.csv#words", "label_field": 3}, "examples.label_field is 3 (int); allowed: the column"),
        ({"source": "known.csv#no", "label_field": "theme"}, "has no column 'no'"),
        ("unknown.csv#words", "'unknown.csv' does not exist in the folders that may be read"),
        ("blank.csv#words", "no row of 'blank.csv' has a text and a label in 'label'"),
        (
            ["My card is lost"],
            "examples[0] is 'My card is lost' (str); allowed: an object with label and text or id, {label: [",
        ),
        ([{"theme": "card", "words": "My card is lost"}], "examples[0] is {'theme': 'card', 'words':"),
        ([{"card": [[1]]}], "examples[0]['card'] has [1] (list); allowed: texts, or numbers"),
        (
            [{"source": "known.csv#words", "label_field": "theme"}, {"id": "X", "label": "none"}],
            "examples[1] has the id",
        ),
    ],
)
def test_a_table_that_is_none_is_refused(embedder: Embedder, sources: Sources, examples: object, message: str) -> None:
    write_table(Path(sources.reader.folders[0]) / "blank.csv", ("words", "label"), [("Some words that say it", "")])
    with pytest.raises(InputError) as error:
        classified(embedder, sources, examples, [*THEMES, "none"])
    assert message in str(error.value)


def test_queries_are_read_from_a_table(embedder: Embedder, sources: Sources) -> None:
    folder = Path(sources.reader.folders[0])
    asked = [texts[0] for texts in THEMES.values()]
    write_table(folder / "questions.csv", ("id", "question"), [(str(at), text) for at, text in enumerate(asked)])
    (folder / "questions.txt").write_text("\n".join(asked), encoding="utf-8")
    for named in ("questions.csv#question", "questions.csv", "questions.txt#lines", "questions.txt"):
        found = search(embedder, queries=[named], source="messages.csv#message", top=1, sources=sources)
        assert [one.query for one in found.results] == asked


def test_too_many_queries_in_a_table_are_refused(embedder: Embedder, sources: Sources) -> None:
    (Path(sources.reader.folders[0]) / "many.txt").write_text("a question\n" * 21, encoding="utf-8")
    with pytest.raises(InputError, match=r"many\.txt#lines has 21 elements; at most 20"):
        search(embedder, queries=["many.txt#lines"], source="messages.csv#message", sources=sources)
