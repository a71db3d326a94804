"""``save_as`` and ``tag``: the full result of a tool, in a file or as metadata of a collection."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls import Arguments, call, error, structured
from corpus import TEXTS, THEMES
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.reading.tables import Table, read_table

SUFFIXES = ["csv", "jsonl", "parquet"]
LABELS = ["late delivery", "battery and charging", "garden plants", "classical music"]
CALLS: dict[str, tuple[Arguments, list[str]]] = {
    "classify": ({"labels": LABELS}, ["label", "runner_up", "margin"]),
    "cluster": ({}, ["cluster"]),
    "deduplicate": ({}, ["keep", "duplicate_of"]),
}
"""Of each tool with one row an item, its arguments and the columns it adds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """May be read; has the themes as a table, in an order of its own, with one blank text and one copy."""
    folder = tmp_path_factory.mktemp("tables")
    with (folder / "tickets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "message", "label", "zip"])
        for at, text in enumerate([*TEXTS, TEXTS[0]]):
            writer.writerow([f"T{100 - at}", text, "old", f"0{at:04}"])
        writer.writerow(["", " ", "old", "00000"])
    with (folder / "numbered.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "ID"])
        writer.writerows((text, 500 + at) for at, text in enumerate(TEXTS))
    (folder / "notes").mkdir()
    for at, text in enumerate(TEXTS[:8]):
        (folder / "notes" / f"n{at}.md").write_text(f"# Note {at}\n\n{text}\n")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data_dir, output_dir = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("output")
    with Engine(Settings(data_dir=data_dir, allow_dir=(folder,), output_dir=output_dir)) as engine:
        yield engine


def saved(server: Engine, tool: str, arguments: Arguments, name: str) -> tuple[dict[str, Any], Table]:
    """The answer of a call and the file it wrote."""
    answer = structured(call(server, tool, {**arguments, "save_as": name}))
    path = Path(answer["file"]["path"])
    assert path.parent == server.settings.output_dir
    table = read_table(path.name, path.read_bytes())
    assert (table.rows, list(table.columns)) == (answer["file"]["rows"], answer["file"]["columns"])
    return answer, table


def columns(table: Table) -> dict[str, list[Any]]:
    return {name: table.typed(name) for name in table.columns}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tool", CALLS)
def test_a_file_has_a_row_for_each_row_of_the_table_with_its_own_columns(
    server: Engine, tool: str, suffix: str
) -> None:
    arguments, new = CALLS[tool]
    source = {"source": "tickets.csv#message", "id_field": "ticket"}
    answer, table = saved(server, tool, {**arguments, **source}, f"{tool}.{suffix}")
    new = ["label (new)" if name == "label" else name for name in new]
    assert list(table.columns) == ["id", "ticket", "message", "label", "zip", *new]
    assert table.column("id") == table.column("ticket") == [f"T{100 - at}" for at in range(21)]
    assert table.column("message") == [*TEXTS, TEXTS[0]]
    assert table.column("label") == ["old"] * 21
    assert table.column("zip") == [f"0{at:04}" for at in range(21)]
    cells = columns(table)
    if tool == "classify":
        labels: dict[str, list[str]] = answer["labels"]
        given = {key: label for label, keys in labels.items() for key in keys}
        assert cells["label (new)"] == [given.get(key) for key in cells["id"]]
        checked = {entry["id"]: entry for entry in answer["check"]}
        assert cells["margin"] == [checked[key]["margin"] for key in cells["id"]]
        assert cells["runner_up"] == [checked[key]["runner_up"] for key in cells["id"]]
    elif tool == "cluster":
        for entry in answer["clusters"]:
            assert cells["cluster"].count(entry["id"]) == entry["size"]
            assert {cells["cluster"][cells["id"].index(member["id"])] for member in entry["members"]} == {entry["id"]}
        assert cells["cluster"].count(None) == answer["outliers"]
    else:
        assert cells["keep"] == [True] * 20 + [False]
        assert cells["duplicate_of"] == [None] * 20 + ["T100"]


def test_the_part_of_each_row_is_written(server: Engine) -> None:
    arguments = {"source": "tickets.csv#message", "id_field": "ticket", "clusters": 2, "levels": 2}
    answer, table = saved(server, "cluster", arguments, "parts.csv")
    parts = {part["id"]: part for entry in answer["clusters"] for part in entry.get("parts", [])}
    cells = dict(zip(table.column("id"), table.column("part"), strict=True))
    assert parts
    for key, part in parts.items():
        assert list(cells.values()).count(key) == part["size"]
        assert all(cells[member["id"]] == key for member in part["members"])


def test_the_rows_are_those_that_were_chosen(server: Engine) -> None:
    source = {"source": "tickets.csv#message", "id_field": "ticket", "ids": ["T98", "T96", "T97"]}
    _, table = saved(server, "cluster", {**source, "clusters": 1}, "three.jsonl")
    assert table.column("id") == ["T98", "T97", "T96"]
    assert table.column("message") == TEXTS[2:5]


def test_an_id_column_comes_first_and_once(server: Engine) -> None:
    _, table = saved(server, "cluster", {"source": "numbered.csv#text"}, "numbered.csv")
    assert list(table.columns) == ["id", "text", "cluster"]
    assert columns(table)["id"] == [500 + at for at in range(20)]


def test_an_id_column_that_does_not_give_the_ids_is_kept(server: Engine) -> None:
    _, table = saved(server, "cluster", {"source": "numbered.csv#text", "id_field": "row"}, "rows.csv")
    assert list(table.columns) == ["id", "text", "ID (own)", "cluster"]
    assert columns(table)["id"] == list(range(1, 21))
    assert columns(table)["ID (own)"] == [500 + at for at in range(20)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_that_were_sent_are_written_with_their_ids(server: Engine, suffix: str) -> None:
    texts = {"a": "Move the meeting.", "b": 'Please move the\nmeeting, "Anna"; thanks', "c": "Roses, 日本 🙂"}
    _, table = saved(server, "cluster", {"texts": texts, "clusters": 1}, f"sent.{suffix}")
    assert {name: table.column(name) for name in ("id", "text")} == {"id": list(texts), "text": list(texts.values())}
    assert columns(table)["cluster"] == [0, 0, None]


def test_documents_are_written_with_their_paths_below_the_folder(server: Engine) -> None:
    answer, table = saved(server, "classify", {"source": "notes", "labels": LABELS}, "notes.csv")
    assert table.column("id") == [f"n{at}.md" for at in range(8)]
    assert answer["folder"].endswith("notes/")
    assert table.column("text")[0] == f"# Note 0 {TEXTS[0]}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_comparison_has_a_row_for_each_pair_and_each_left_over_with_both_sides_columns(
    server: Engine, suffix: str
) -> None:
    sides = {"left_source": "tickets.csv#message", "right": {"x": TEXTS[3], "y": "Prime numbers are infinite."}}
    answer, table = saved(server, "align", {**sides, "id_field": "ticket"}, f"joined.{suffix}")
    assert list(table.columns) == [
        *("id", "left", "right", "match", "score"),
        *("left_ticket", "left_message", "left_label", "left_zip", "right_text"),
    ]
    cells = columns(table)
    assert cells["match"] == ["same"] + ["left only"] * 20 + ["right only"]
    assert (cells["left"][0], cells["right"][0], cells["score"][0]) == ("T97", "x", 1.0)
    assert (cells["left_message"][0], cells["right_text"][0], cells["left_zip"][0]) == (
        TEXTS[3],
        TEXTS[3],
        "00003",
    )
    assert (cells["left"][-1], cells["left_message"][-1], cells["right"][-1]) == (None, None, "y")
    assert answer["counts"] == {"changed": 0, "same": 1, "left_only": 20, "right_only": 1}


@pytest.mark.parametrize("tool", [*CALLS, "align"])
def test_a_file_is_never_overwritten_and_a_wrong_name_refused_first(server: Engine, tool: str) -> None:
    texts: Arguments = {"left": ["a b c"], "right": ["d e f"]} if tool == "align" else {"texts": ["a b c", "d e f"]}
    arguments = {**texts, **(CALLS[tool][0] if tool in CALLS else {}), "save_as": f"once-{tool}.csv"}
    path = Path(structured(call(server, tool, arguments))["file"]["path"])
    assert structured(call(server, tool, arguments))["file"]["path"] == str(path)  # the same again is the same file
    before = b"mine"
    path.write_bytes(before)
    again = structured(call(server, tool, {**arguments, "save_as": path.name}))
    assert Path(again["file"]["path"]).name == f"once-{tool}-2.csv"
    assert f"once-{tool}.csv existed and was kept; the result is in once-{tool}-2.csv" in again["notes"]
    assert path.read_bytes() == before
    for name in ("../out.csv", "out.txt", "/tmp/out.csv", "out", ""):
        assert "save_as" in error(call(server, tool, {**arguments, "save_as": name}))


def test_without_an_output_folder_files_go_into_the_data_folder(data_dir: Path, engine: Engine) -> None:
    assert engine.settings.output_dir is None
    answer = structured(call(engine, "cluster", {"texts": TEXTS, "save_as": "themes.jsonl"}))
    path = Path(answer["file"]["path"])
    assert path == data_dir / "output" / "themes.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == list(range(20))
    assert list(rows[0]) == ["id", "text", "cluster"]


def added(server: Engine, name: str) -> None:
    """A collection of the themes with the place of each in its theme."""
    metadata = [{"place": at % 5, "tags": ["x", "y"]} for at in range(20)]
    texts = {f"t{at}": text for at, text in enumerate(TEXTS)}
    answer = structured(call(server, "collection_add", {"collection": name, "texts": texts, "metadata": metadata}))
    assert answer["size"] == 20


def found(server: Engine, source: str, where: Arguments) -> set[str]:
    """The ids of the items that fit, by way of a file."""
    name = f"found-{source}-{len(list(Path(str(server.settings.output_dir)).iterdir()))}.jsonl"
    _, table = saved(server, "cluster", {"source": source, "where": where, "clusters": 1}, name)
    return {str(key) for key in table.column("id")}


@pytest.mark.slow
def test_labels_stored_by_tag_are_selected_by_where(server: Engine) -> None:
    added(server, "themes")
    answer = structured(call(server, "classify", {"source": "themes", "labels": LABELS, "tag": "kind"}))
    assert any("tagged with 'kind'" in note for note in answer["notes"])
    for label, keys in answer["labels"].items():
        assert found(server, "themes", {"kind": label}) == set(keys)
        assert found(server, "themes", {"kind": label, "place": {"gte": 0}}) == set(keys)


def test_a_second_tag_leaves_nothing_of_the_first(server: Engine) -> None:
    added(server, "again")
    first = {"source": "again", "labels": LABELS, "abstain": False, "tag": "kind"}
    assert sum(structured(call(server, "classify", first))["counts"].values()) == 20
    second = {**first, "labels": ["politics", *LABELS[:2]], "abstain": True}
    answer = structured(call(server, "classify", second))
    assert set(answer["abstained"]) >= {f"t{at}" for at in range(16, 20)}
    assert found(server, "again", {"kind": LABELS[0]}) == set(answer["labels"][LABELS[0]])
    refused = error(call(server, "cluster", {"source": "again", "where": {"kind": LABELS[3]}}))
    assert "nothing fits where" in refused


def test_clusters_stored_by_tag_are_selected_by_their_number(server: Engine) -> None:
    added(server, "groups")
    answer = structured(call(server, "cluster", {"source": "groups", "clusters": 4, "members": 20, "tag": "theme"}))
    for entry in answer["clusters"]:
        ids = {member["id"] for member in entry["members"]}
        assert found(server, "groups", {"theme": entry["id"]}) == ids
    inside = structured(call(server, "cluster", {"source": "groups", "where": {"theme": 0}, "clusters": 2}))
    assert sum(entry["size"] for entry in inside["clusters"]) == len(next(iter(THEMES.values())))


def test_a_collection_is_saved_with_its_metadata(server: Engine) -> None:
    added(server, "kept")
    structured(call(server, "cluster", {"source": "kept", "tag": "theme"}))
    _, table = saved(server, "cluster", {"source": "kept"}, "kept.jsonl")
    assert set(table.columns) == {"id", "text", "place", "tags", "theme", "cluster"}
    assert table.columns[:2] == ("id", "text")
    assert table.column("place") == [at % 5 for at in range(20)]
    assert table.column("tags") == ['["x", "y"]'] * 20
    assert table.column("theme") == table.column("cluster")


@pytest.mark.parametrize("tool", ["classify", "cluster"])
@pytest.mark.parametrize("source", [{"texts": TEXTS}, {"source": "tickets.csv#message"}, {"source": "notes"}])
def test_only_the_items_of_a_collection_can_be_tagged(server: Engine, tool: str, source: Arguments) -> None:
    refused = error(call(server, tool, {**CALLS[tool][0], **source, "tag": "kind"}))
    assert "collection_add" in refused
    assert "save_as" in refused


def test_a_tag_needs_a_name(server: Engine) -> None:
    added(server, "named")
    for name in ("", " ", "path", "x" * 101):
        assert "invalid tag" in error(call(server, "cluster", {"source": "named", "tag": name}))
