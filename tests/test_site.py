"""The documentation builds as a site, every page is in its navigation, and every link on it leads somewhere."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from lxml import html  # type: ignore[import-untyped]

from site_pages import CONFIGURATION, ROOT, build, pages

pytestmark = pytest.mark.slow

CONTROL = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    finished = build(folder)
    shown = CONTROL.sub("", finished.stdout + finished.stderr)
    assert finished.returncode == 0, shown
    assert "warning" not in shown.lower()
    return folder / "site"


def in_navigation() -> list[str]:
    """The pages of the navigation."""
    text = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["nav"]
    return re.findall(r'= "([\w/-]+\.md)"', text)


def test_every_page_is_in_the_navigation_once_and_built(site: Path) -> None:
    listed = in_navigation()
    assert sorted(listed) == sorted(place.as_posix() for place in pages().values())
    for page in listed:
        assert (site / page).with_suffix(".html").is_file(), page


def test_every_link_of_the_site_leads_to_a_file_and_a_section_that_are_there(site: Path) -> None:
    trees = {path: html.parse(path) for path in site.rglob("*.html") if path.name != "404.html"}
    sections = {path: set(tree.xpath("//@id")) for path, tree in trees.items()}
    for path, tree in trees.items():
        for link in tree.xpath("//article//a/@href | //article//img/@src | //nav//a/@href"):
            if not re.match(r"[a-z]+:", link):
                target, _, section = unquote(link).partition("#")
                found = (path.parent / target).resolve() if target else path
                assert found.is_file(), f"{path.name}: {link}"
                assert not section or found not in sections or section in sections[found], f"{path.name}: {link}"


def test_no_page_of_the_site_loads_anything_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = html.parse(path).xpath("//script/@src | //link[@rel='stylesheet']/@href | //img/@src | //iframe/@src")
        assert not [link for link in loaded if re.match(r"(https?:)?//", link)], path.name
