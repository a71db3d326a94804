"""The pytest plugin, as it is installed: what its page shows, what its failures say, what it costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit import Audit
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.assertions import AssertNotSimilar, AssertRanked, AssertSimilar
from mcp_server_embeddings.vectors.calibration import Band
from wire import PATIENCE, client_environment

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "test-answers.md").read_text(encoding="utf-8")


def run_pytest(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A run of its own, with the plugins that are installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments],
        cwd=folder,
        env=client_environment(XDG_DATA_HOME=str(folder), **environment),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.slow
def test_the_examples_of_the_page_run_as_it_says_without_network_or_traces(tmp_path: Path, audit: Audit) -> None:
    for name, code in re.findall(r"<!-- file (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(code, encoding="utf-8")
    finished = run_pytest(tmp_path, "-q", "test_answers.py", "test_policy.py", **audit.environment)
    assert "1 failed, 3 passed" in finished.stdout, finished.stdout + finished.stderr
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    number = r"\d+\.\d+"  # other processors round differently
    assert re.sub(number, "#", shown) in re.sub(number, "#", finished.stdout)
    assert audit.events("network") == audit.events("socket") == audit.events("child") == []
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".sqlite"]


def test_a_run_that_asks_for_no_fixture_imports_nothing_of_the_engine(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    ours = {name for name in sys.modules if name.startswith('mcp_server_embeddings')}\n"
        "    assert ours == {'mcp_server_embeddings', 'mcp_server_embeddings.pytest_plugin'}\n"
        "    assert not {'numpy', 'pydantic', 'openvino', 'torch'} & sys.modules.keys()\n",
        encoding="utf-8",
    )
    finished = run_pytest(tmp_path, "-q")
    assert "1 passed" in finished.stdout, finished.stdout


@pytest.mark.parametrize(
    ("left", "right", "band"),
    [
        ("Payment is late.", "The invoice is overdue.", "related"),
        ("Payment is late.", "Bread is baked at dawn.", "related"),
        ("Logs must be encrypted.", "Logs must not be encrypted.", "same"),
        ("Apple", "Orange", "weak"),
    ],
)
def test_similar_and_not_similar_are_opposites(embedder: Embedder, left: str, right: str, band: Band) -> None:
    failed = []
    for assertion in (AssertSimilar(embedder), AssertNotSimilar(embedder)):
        try:
            assertion(left, right, band=band)
        except AssertionError as error:
            failed.append(str(error))
    (message,) = failed
    assert re.search(r"^  score  [\d.-]+ \(percentile [\d.]+\), band \w+; bands begin at weak ", message, re.MULTILINE)
    assert repr(left) in message
    assert repr(right) in message


def test_facts_are_numbers_and_negations(embedder: Embedder) -> None:
    similar = AssertSimilar(embedder)
    similar("Logs must be encrypted.", "Logs must not be encrypted.")
    with pytest.raises(AssertionError, match=r"wanted: the same facts\n(.*\n)+  differs in negation: ∅ → not$"):
        similar("Logs must be encrypted.", "Logs must not be encrypted.", facts=True)
    similar("The invoice is overdue by 3 days.", "The bill is three days overdue.", facts=True)


def test_a_ranking_is_decided_by_band(embedder: Embedder) -> None:
    ranked = AssertRanked(embedder)
    query, bread, bees = "how is bread baked in 2 hours", "Bread is baked in the oven for 3 hours.", "Bees make honey."
    ranked(query, [bread, bees])
    ranked(query, [bread, "Bread is kneaded, baked and sliced.", bees, "The moon pulls the sea."])
    with pytest.raises(AssertionError, match="text 1 is in a closer band than one before it") as caught:
        ranked(query, [bees, bread])
    assert re.search(
        r"^  1 +0\.\d{4} \w+ +'Bread .*\n +differs in numbers: 2 hours → 3 hours$", str(caught.value), re.MULTILINE
    )
    with pytest.raises(AssertionError, match="all are related, so none comes first"):
        ranked("Apple", ["Orange", "Lightning"])


@pytest.mark.parametrize("band", ["near", "Close", ""])
def test_an_unknown_band_is_refused_with_the_known_ones(embedder: Embedder, band: Band) -> None:
    for assertion in (AssertSimilar(embedder), AssertNotSimilar(embedder)):
        with pytest.raises(InputError, match=f"band is '{band}'; give one of unrelated, weak, related, close, same"):
            assertion("a", "b", band=band)


def test_what_cannot_be_asserted_is_refused(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="no text is below it; give 'weak' or a closer one"):
        AssertNotSimilar(embedder)("a", "b", band="unrelated")
    for texts in (["only one"], "a string", []):
        with pytest.raises(InputError, match="give a list of 2 texts or more, the best first"):
            AssertRanked(embedder)("a", texts)
    with pytest.raises(InputError, match=r"blank|empty"):
        AssertSimilar(embedder)("a", " ")
