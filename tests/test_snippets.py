"""Every command and snippet of the documents runs, and prints what the page shows."""

from pathlib import Path

import pytest

from site_pages import DOCS, ELSEWHERE, ROOT
from snippets import PageRun, numbers, prepared, without_numbers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_commands")]

PAGES = sorted([*DOCS.rglob("*.md"), *ELSEWHERE])

MAX_UNRUN = 25
"""Blocks that cannot run here; each says why in its page. A new one needs a reason as good."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_snippets_of_a_page_run_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    run = PageRun(page, tmp_path)
    with prepared(tmp_path):
        now = run.written()
    text = page.read_text(encoding="utf-8")
    assert without_numbers(now) == without_numbers(text)
    assert numbers(now) == pytest.approx(numbers(text), rel=0.02, abs=0.02)
    assert all(reason.partition(": ")[2].strip() for reason in run.unrun)


def test_few_blocks_are_not_run_and_each_has_a_reason() -> None:
    marks = [
        line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines() if "<!-- not run:" in line
    ]
    assert all(len(mark) > len("<!-- not run:  -->") + 10 for mark in marks)
    assert len(marks) <= MAX_UNRUN
