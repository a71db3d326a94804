"""A hit says the most with the fewest words, whatever the format: sentences word for word, and where they stand."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import docx
import pytest

from files import pdf, tree
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.read import read
from mcp_server_embeddings.tools.results import Hit
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.sources import Sources

ANSWER = "The boiler was replaced by a heat pump in March."
TALK = "The committee talked about the roof, the windows and the costs of each for a whole evening. "
ROOF = "Twelve tiles came down in the storm."
QUERY = "what replaced the boiler"

TEXT = f"Heating\n\n{TALK * 4}\n\n{ANSWER} {TALK}\n\nRoof\n\n{TALK * 4}{ROOF}\n"
MARKDOWN = f"# House\n\n## Heating\n\n{TALK * 4}\n\n{ANSWER} {TALK}\n\n## Roof\n\n{TALK * 4}{ROOF}\n"
TABLE = "# Prices\n\n| part | price |\n|------|------:|\n" + "".join(
    f"| part number {number} of the boiler | {number} euros |\n" for number in range(30)
)
HTML = (
    f"<title>House</title><h1>House</h1><h2>Heating</h2><p>{TALK * 4}</p><p>{ANSWER} {TALK}</p>"
    f"<h2>Roof</h2><p>{TALK * 4}{ROOF}</p><table><tr><th>part<th>price<tr><td>tile<td>3</table>"
)
ROWS = f"title,note\nRoof,{ROOF}\nHeating,{ANSWER}\n"
LINES = f'{{"title": "Roof", "text": "{ROOF}"}}\n{{"title": "Heating", "text": "{ANSWER}"}}\n'
CODE = f'''"""Keeps a house."""

import os


class House:
    """A house and its parts. {TALK * 3}"""

    def roof(self):
        """Mend the roof. {ROOF} {TALK * 2}"""
        return os

    def heating(self):
        """Heat the rooms. {TALK * 2} {ANSWER}"""
        return self
'''

EXPECTED = {
    "house.txt": ("", "lines", 0),
    "house.md": ("House > Heating", "lines", 0),
    "house.html": ("House > Heating", "", 0),
    "house.pdf": ("", "page", 2),
    "house.docx": ("House > Heating", "", 0),
    "house.csv:2": ("", "", 0),
    "house.jsonl:2": ("", "", 0),
    "house.py": ("house > House > heating", "lines", 0),
}
"""By the id of the hit: its heading, and whether it has lines or a page."""


def word() -> bytes:
    document = docx.Document()
    document.add_heading("House", 1)
    for heading, text in (("Heating", f"{TALK * 4}{ANSWER} {TALK}"), ("Roof", f"{TALK * 4}{ROOF}")):
        document.add_heading(heading, 2)
        document.add_paragraph(text)
    packed = io.BytesIO()
    document.save(packed)
    return packed.getvalue()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"txt": TEXT, "md": MARKDOWN, "html": HTML, "csv": ROWS, "jsonl": LINES, "py": CODE}
    root = tree(tmp_path_factory.mktemp("house").resolve(), {f"house.{suffix}": text for suffix, text in files.items()})
    (root / "house.pdf").write_bytes(pdf(f"Roof. {TALK * 2}{ROOF}", f"Heating. {TALK * 2}{ANSWER} {TALK}"))
    (root / "house.docx").write_bytes(word())
    return tree(root, {"prices.md": TABLE})


@pytest.fixture(scope="module")
def sources(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    store = open_store(Settings(data_dir=tmp_path_factory.mktemp("store")))
    yield Sources(store, Reader([house]))
    store.close()


@pytest.fixture(scope="module")
def hits(embedder: Embedder, sources: Sources) -> dict[str, Hit]:
    return {str(hit.id): hit for hit in search(embedder, QUERY, source=".", sources=sources, top=12).hits}


@pytest.mark.parametrize("key", EXPECTED)
def test_a_hit_of_every_format_has_the_sentence_its_heading_and_its_place(hits: dict[str, Hit], key: str) -> None:
    hit, (heading, place, page) = hits[key], EXPECTED[key]
    assert ANSWER in hit.text
    assert len(hit.text) <= 320
    assert (hit.heading, hit.page or 0) == (heading, page)
    assert (hit.lines is not None) == (place == "lines")


@pytest.mark.parametrize("key", EXPECTED)
def test_the_words_of_a_hit_are_those_of_its_source(
    embedder: Embedder, sources: Sources, house: Path, hits: dict[str, Hit], key: str
) -> None:
    hit = hits[key]
    (item,) = read(embedder, ".", [key], sources=sources).items
    assert hit.text in item.text
    if hit.lines is not None:
        first, last = hit.lines
        lines = (house / key).read_text(encoding="utf-8").split("\n")[first - 1 : last]
        assert hit.text in "\n".join(lines)
        assert lines[0].strip()
        assert lines[-1].strip()
    if hit.page is not None:
        (page,) = read(embedder, ".", [f"{key}:{hit.page}"], sources=sources).items
        assert hit.text in page.text


@pytest.mark.parametrize("query", ["Heating", "House", "Roof", "Prices", "part price", "heating def", "Keeps a house"])
def test_no_hit_is_a_bare_heading_title_or_rule(embedder: Embedder, sources: Sources, query: str) -> None:
    for mode in ("hybrid", "semantic", "keyword"):
        for hit in search(embedder, query, source=".", sources=sources, top=12, mode=mode).hits:
            assert len(re.findall(r"\w+", hit.text)) >= 3, (mode, hit)
            assert hit.text.strip("# \n") not in ("House", "Heating", "Roof", "Prices", "House\nHeating")
            assert not re.fullmatch(r"[|:\-\s]*", hit.text.split("\n")[0])
            assert not hit.text.startswith("#")
