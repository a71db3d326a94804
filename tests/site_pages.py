"""Build the site of the documentation; ``make site`` does so in ``.site/``.

The README is the home page. Linked files outside docs/ are copied, so that the site needs no URL of a repository, and
the sources can use links that also work in the repository.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIGURATION = "zensical.toml"
FILES = Path("files")
"""The folder of the site for linked files outside docs/."""

ELSEWHERE = {
    ROOT / "README.md": "index.md",
    ROOT / "CHANGELOG.md": "changes.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
}
"""Pages outside docs/, with their file names on the site."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def pages() -> dict[Path, Path]:
    """Return every page with its path on the site."""
    in_docs = {page: page.relative_to(DOCS) for page in sorted(DOCS.rglob("*.md"))}
    return {**in_docs, **{page: Path(name) for page, name in ELSEWHERE.items()}}


def stage(folder: Path) -> Path:
    """Write the sources of the site into a folder; return the path of its configuration."""
    sources = folder / "docs"
    shutil.copytree(DOCS, sources, dirs_exist_ok=True)
    places = pages()
    for page in places:
        _write(page, places, sources)
    return Path(shutil.copy(ROOT / CONFIGURATION, folder))


def _write(page: Path, places: dict[Path, Path], sources: Path) -> None:
    """Write a page with its links changed for the site, and copy the files that it links to."""
    place = places[page]
    to_root = Path(*[".."] * (len(place.parts) - 1))

    def replace_link(link: re.Match[str]) -> str:
        image, text, target, section = link[1], link[2], (page.parent / link[3]).resolve(), link[4] or ""
        if target.is_dir():
            return text
        destination = places.get(target)
        if destination is None:
            destination = (
                target.relative_to(DOCS)
                if target.is_relative_to(DOCS)
                else FILES / target.relative_to(ROOT).as_posix().lstrip(".")
            )
            (sources / destination).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, sources / destination)
        return f"{image}[{text}]({(to_root / destination).as_posix()}{section})"

    copy = sources / place
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(_LINK.sub(replace_link, page.read_text(encoding="utf-8")), encoding="utf-8")


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site in the subfolder ``site`` of a folder, with warnings as errors."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--config-file", str(stage(folder))],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


if __name__ == "__main__":
    folder = ROOT / ".site"
    shutil.rmtree(folder, ignore_errors=True)
    finished = build(folder)
    sys.stdout.write(finished.stdout + finished.stderr)
    sys.exit(finished.returncode)
