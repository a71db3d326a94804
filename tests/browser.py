"""Show pages in Chromium. One browser shows all pages of a test module; ``clients/pages.mjs`` drives it."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from test_clients import CLIENTS, run_node

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Shown:
    """A page to show, and the steps to take there: each is the name of a step in ``pages.mjs`` and its values."""

    path: str
    steps: list[list[object]]
    theme: str = "light"
    size: tuple[int, int] = (1280, 800)
    framed: bool = False


@dataclass(frozen=True)
class Seen:
    """Observations of a page: a result for each step, every request, every error."""

    results: list[Any]
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def show(pages: dict[str, Shown], folder: Path) -> dict[str, Seen]:
    """Show pages in one browser, one after the other; return the observations of each."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert browser is not None, "the tests of pages need Chromium: make browser"
    plan = folder / "plan.json"
    plan.write_text(json.dumps({name: vars(page) for name, page in pages.items()}), encoding="utf-8")
    finished = run_node(str(CLIENTS / "pages.mjs"), browser, str(plan))
    assert finished.returncode == 0, finished.stderr
    return {name: Seen(**observed) for name, observed in json.loads(finished.stdout).items()}
