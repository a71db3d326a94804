"""``view``: pages that a person looks at, in a real browser."""

import json
import re
import stat
import sys
from pathlib import Path

import pytest

from browser import Seen, Shown, show
from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.pages import document
from scripts import command_without

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"

OLD = """id,requirement
R1,The server must answer within two seconds.
R2,Users can reset their password by e-mail.
R3,The export may contain personal data.
R4,Administrators can delete any account.
"""
NEW = """id,requirement
N1,The server has to respond within five seconds.
N2,A user can reset the password via email.
N3,The export must not contain personal data.
N4,The service logs every failed sign-in.
"""

LOOKED_AT = ("map", "align", "deduplicate", "similarity")

HOSTILE = {
    "</script><script>alert(1)</script>": "</script><img src=x onerror=alert(1)> <b>bold</b> <a href='http://e.test'>x</a>",
    "bidi": "pay \u202e00.1$ now",
    "quote": "\"'`${1} <!-- --> ]]> \u2028 \x07 \ud83d\ude00",
}


def view(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Path:
    """The file that the command wrote."""
    assert main(["view", *arguments, "--json", "--data-dir", str(folder / "data")]) == 0
    said = json.loads(capsys.readouterr().out)
    path = Path(said["path"])
    assert said["bytes"] == path.stat().st_size
    assert said["opened"] is False
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> dict[str, Path]:
    """A page of each kind."""
    del embedder
    folder = tmp_path_factory.mktemp("pages")
    (folder / "hostile.jsonl").write_text(
        "".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in HOSTILE.items()), encoding="utf-8"
    )
    for name, table in (("old", OLD), ("new", NEW)):
        (folder / f"{name}.csv").write_text(table, encoding="utf-8")
    sides = [f"{folder / 'old.csv'}#requirement", f"{folder / 'new.csv'}#requirement"]
    sources = {
        "align": ["align", *sides],
        "similarity": ["similarity", *sides],
        "deduplicate": ["deduplicate", f"{EXAMPLES / 'tickets.csv'}#message"],
        "map": [f"{EXAMPLES / 'tickets.csv'}#message"],
        "hostile": [f"{folder / 'hostile.jsonl'}#text", "--clusters", "1"],
        "two": [f"{EXAMPLES / 'tickets.csv'}#message", "--ids", "T101", "--ids", "T102"],
    }
    for name, arguments in sources.items():
        command = ["view", *arguments, "--output", str(folder / f"{name}.html"), "--data-dir", str(folder / "data")]
        assert main([*command, "--no-open"]) == 0
    for name, page in (("many", many(2_500)), ("sparse", sparse(100_000))):
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in (*sources, "many", "sparse")}


def many(number: int) -> str:
    """A map of more items than are drawn as SVG."""
    ids = list(range(number))
    clusters = [{"id": at, "size": number // 2, "terms": [f"half {at}"], "members": []} for at in range(2)]
    fields = {"cluster": {"values": ["0", "1"], "codes": [at % 2 for at in ids]}}
    places = {"x": [at * 37 % 10_000 for at in ids], "y": [at * 91 % 10_000 for at in ids]}
    items = {"label": "many", "ids": ids, "texts": [f"text {at}" for at in ids], "fields": fields, **places}
    return document("cluster", {"page": "cluster", "answer": {"clusters": clusters, "outliers": 0}, "items": items})


def sparse(number: int) -> str:
    """A heat map of a few pairs of many items."""
    ids = list(range(number))
    pairs = [{"left": at, "right": number - at - 1, "score": 0.9 - at / 10, "band": "same"} for at in range(3)]
    side = {"label": "many", "ids": ids, "texts": [f"text {at}" for at in ids]}
    answer = {"metric": "cosine", "pairs": pairs}
    return document("similarity", {"page": "similarity", "answer": answer, "left": side, "right": side})


@pytest.fixture(scope="module")
def seen(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """All pages, shown in one browser."""
    plan = {
        "searched": Shown(
            pages["map"].as_uri(),
            [
                ["fill", "#search", "PIN"],
                ["until", ".found", "3 of 16"],
                ["text", ".row .id"],
                ["press", "#search", "Tab"],
                ["press", ".list", "ArrowDown"],
                ["press", ".list", " "],
                ["attribute", ".list", "aria-activedescendant"],
                ["press", ".list", "Control+a"],
                ["text", ".chosen .number"],
                ["click", ".chosen button"],
                ["until", "#announcement", "copied"],
                ["evaluate", "navigator.clipboard.readText()"],
            ],
        ),
        "boxed": Shown(
            pages["map"].as_uri(),
            [
                ["click", ".tools button:nth-child(2)"],
                ["drag", 0.01, 0.15, 0.99, 0.99],
                ["until", ".chosen", "selected"],
                ["text", ".chosen .number"],
                ["text", ".groups .name"],
            ],
        ),
        "map": Shown(
            pages["map"].as_uri(),
            [
                ["text", ".label"],
                ["evaluate", _OVERLAPS],
                ["evaluate", "document.querySelector('#colour').options.length"],
            ],
        ),
        "hostile": Shown(
            pages["hostile"].as_uri(),
            [
                ["text", ".row .id"],
                ["text", ".row .text"],
                ["evaluate", "document.querySelectorAll('main img, main a, main b').length"],
            ],
        ),
        "many": Shown(
            pages["many"].as_uri(),
            [["evaluate", "document.querySelectorAll('.plot canvas').length"], ["text", ".plot .no-webgl"]],
        ),
        "two": Shown(pages["two"].as_uri(), [["evaluate", "document.querySelectorAll('.list [role=option]').length"]]),
        "align": Shown(
            pages["align"].as_uri(),
            [
                ["text", ".choices button"],
                ["text", ".card del"],
                ["text", ".card ins"],
                ["click", ".choices button:nth-child(4)"],
                ["text", ".item .id"],
            ],
        ),
        "deduplicate": Shown(
            pages["deduplicate"].as_uri(),
            [
                ["text", ".card .id"],
                ["click", ".choices button:nth-child(2)"],
                ["text", ".mark.keep"],
                ["click", ".top button"],
                ["until", "#announcement", "copied"],
                ["evaluate", "navigator.clipboard.readText()"],
            ],
        ),
        "similarity": Shown(
            pages["similarity"].as_uri(),
            [["evaluate", "document.querySelector('.plot').data[0].z"], ["text", ".card .score"]],
        ),
        "sparse": Shown(
            pages["sparse"].as_uri(),
            [["evaluate", "document.querySelector('.plot').data[0].z"], ["text", "#top p"]],
        ),
    }
    for name in LOOKED_AT:
        plan[name].steps.extend([["axe"], ["theme", "dark"], ["size", 390, 844], ["axe"]])
    return show(plan, tmp_path_factory.mktemp("shown"))


_OVERLAPS = """
(() => {
  const boxes = [...document.querySelectorAll(".label")].map((label) => label.getBoundingClientRect());
  return boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) => a.left < b.right && b.left < a.right
    && a.top < b.bottom && b.top < a.bottom)).length;
})()
"""


def test_a_page_is_a_private_file_that_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pages: dict[str, Path]
) -> None:
    written_pages = [path for name, path in pages.items() if name not in ("many", "sparse")]  # which the tests write
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in written_pages) or sys.platform == "win32"
    monkeypatch.chdir(tmp_path)
    sides = [f"{pages['map'].parent / name}.csv#requirement" for name in ("old", "new")]
    written = [view(tmp_path, capsys, "align", *sides, "--no-open").name for _ in range(2)]
    assert written == ["matches.html", "matches-2.html"]


def test_a_page_reaches_nothing_and_runs_nothing_but_its_own(pages: dict[str, Path], seen: dict[str, Seen]) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', pages["map"].read_text(encoding="utf-8"))
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    for name, shown in seen.items():
        assert shown.errors == [], name
        assert [url for url in shown.requests if not url.startswith(("file:", "data:", "blob:"))] == [], name


def test_texts_stay_texts_whatever_is_in_them(seen: dict[str, Seen], pages: dict[str, Path]) -> None:
    ids, texts, elements = seen["hostile"].results
    assert set(ids) == set(HOSTILE)
    assert elements == 0
    assert any("<img src=x onerror=alert(1)>" in text for text in texts)
    assert any("pay \u25cc00.1$ now" in text for text in texts), "a mark of direction is seen, and not obeyed"
    assert not any(text in pages["hostile"].read_text(encoding="utf-8") for text in HOSTILE.values())


def test_search_keyboard_and_copied_ids(seen: dict[str, Seen]) -> None:
    results = [result for result in seen["searched"].results if result is not None]
    found, active, number, copied = results
    assert sorted(found) == ["T103", "T108", "T113"]
    assert active == "item-1"
    assert number == ["3 selected"]
    assert sorted(copied.split("\n")) == sorted(found)


def test_a_box_selects_what_is_in_it(seen: dict[str, Seen]) -> None:
    number, groups = [result for result in seen["boxed"].results if result is not None]
    assert int(number[0].split()[0]) > 8
    assert "pin" in " ".join(groups)


def test_labels_do_not_cover_each_other(seen: dict[str, Seen]) -> None:
    labels, overlaps, columns = seen["map"].results[:-4]
    assert len(labels) >= 4
    assert overlaps == 0
    assert columns == 2, "cluster and channel"


def test_many_items_are_drawn_by_webgl_under_the_same_policy(seen: dict[str, Seen]) -> None:
    canvases, refusal = seen["many"].results
    assert canvases > 0
    assert refusal == []


def test_two_items_are_a_map(seen: dict[str, Seen]) -> None:
    assert seen["two"].results == [2]


@pytest.mark.parametrize("name", LOOKED_AT)
def test_axe_finds_no_violation_in_light_and_dark(seen: dict[str, Seen], name: str) -> None:
    light, _, _, dark = seen[name].results[-4:]
    assert (light, dark) == ([], [])


def test_matches_are_side_by_side_with_what_differs_marked(seen: dict[str, Seen]) -> None:
    kinds, removed, added, _, only_right = seen["align"].results[:-4]
    assert kinds == ["Changed2", "Same1", "Only left1", "Only right1"]
    assert removed == ["may", "two seconds"]
    assert added == ["must", "not", "five seconds"]
    assert only_right == ["N4"]


def test_doubtful_pairs_come_before_groups_of_duplicates(seen: dict[str, Seen]) -> None:
    doubtful, _, kept, _, _, copied = seen["deduplicate"].results[:-4]
    assert doubtful[:2] == ["left\nT103", "right\nT113"]
    assert kept == ["keep"] * 3
    assert len(copied.split("\n")) == 3


def test_the_heat_map_has_every_score(seen: dict[str, Seen]) -> None:
    cells, scores = seen["similarity"].results[:-4]
    assert [len(row) for row in cells] == [4] * 4
    assert scores[0].startswith(f"{max(map(max, cells)):.2f}")
    assert len(scores) == 16


def test_a_heat_map_of_very_many_items_has_those_of_its_pairs(seen: dict[str, Seen]) -> None:
    cells, detail = seen["sparse"].results
    assert cells == [[None, None, 0.9], [None, 0.8, None], [0.7, None, None]]
    assert detail == ["100,000 × 100,000 cosine scores · the 3 closest pairs of all"]


def test_a_colour_that_is_no_column_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tickets = f"{EXAMPLES / 'tickets.csv'}#message"
    assert main(["view", tickets, "--no-open", "--colour", "chanel", "--data-dir", str(tmp_path)]) == 2
    assert "did you mean 'channel'" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    ended = command_without("plotly", "view", "missing", "--no-open", "--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert "pip install 'mcp-server-embeddings[view]'" in ended.stderr
