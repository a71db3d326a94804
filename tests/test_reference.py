"""The reference pages say what the code says, and the examples in them run."""

import doctest
import inspect
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import mcp_server_embeddings
from mcp_server_embeddings import Reader, Settings, Sources, collection_add, open_store
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from reference import REFERENCE

# In this order: what is read is removed last.
EXAMPLES = sorted(mcp_server_embeddings.__all__, key=lambda name: name == "collection_remove")
DATA = Path(__file__).parents[1] / "examples" / "data"


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_a_page_of_the_reference_is_what_the_code_says(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == REFERENCE[page]()


def test_every_tool_and_function_has_a_docstring_for_the_reference() -> None:
    for name in mcp_server_embeddings.__all__:
        assert inspect.getdoc(getattr(mcp_server_embeddings, name)), name


@pytest.fixture(scope="module")
def known(embedder: Embedder, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the examples name, in a folder that has their files."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "docs").mkdir()
    for name in ("a.md", "b.md"):
        (folder / "docs" / name).write_text("# A page", encoding="utf-8")
    shutil.copy(DATA / "tickets.csv", folder)
    settings = Settings(data_dir=folder / "stored")
    names = {one: getattr(mcp_server_embeddings, one) for one in mcp_server_embeddings.__all__}
    with closing(open_store(settings)) as store:
        sources = Sources(store, Reader([folder]))
        collection_add(embedder, store, "notes", {"monday.md": "Call the plumber."})
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            given = {"embedder": embedder, "engine": engine, "store": store, "sources": sources, "settings": settings}
            yield {**names, **given, "Path": Path, "np": np}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_python_api_run(
    name: str, known: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    runner = doctest.DocTestRunner()
    for found in doctest.DocTestFinder().find(known[name], name, module=False, globs=known):
        runner.run(found)
    assert capsys.readouterr().out == ""
    assert runner.summarize(verbose=False).failed == 0
