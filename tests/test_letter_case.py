"""Where letter case is ignored, as on macOS and Windows, one file has one path."""

from pathlib import Path

import pytest

from files import tree
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.allowed import AllowedFolder, Entry, Parts, allowed_folder, same_name
from mcp_server_embeddings.reading.resolving import resolved


class CaseIgnoringFolder(AllowedFolder):
    """A folder on a file system that keeps letter case and ignores it."""

    def entry(self, parts: Parts) -> Entry:
        return super().entry(self._stored(parts))

    def listing(self, parts: Parts) -> list[Entry]:
        return super().listing(self._stored(parts))

    def _stored(self, parts: Parts) -> Parts:
        stored: Parts = ()
        for name in parts:
            names = [entry.name for entry in super().listing(stored)]
            stored = (*stored, next((other for other in names if other.lower() == name.lower()), name))
        return stored


@pytest.mark.parametrize("given", ["docs/a.md", "Docs/A.md", "DOCS/a.MD"])
def test_a_file_has_the_path_that_its_folder_lists(tmp_path: Path, given: str) -> None:
    root = tree(tmp_path.resolve(), {"Docs/a.md": "x", "Docs/b.md": "y"})
    (found,) = resolved(given, [CaseIgnoringFolder(str(root))])
    assert found.path == str(root / "Docs" / "a.md")


@pytest.mark.parametrize("given", ["docs", "DOCS/*.md"])
def test_a_folder_has_the_path_that_its_parent_lists(tmp_path: Path, given: str) -> None:
    root = tree(tmp_path.resolve(), {"Docs/a.md": "x"})
    (found,) = resolved(given, [CaseIgnoringFolder(str(root))])
    assert found.path == str(root / "Docs")


def test_where_letter_case_counts_two_files_stay_two(tmp_path: Path) -> None:
    root = tree(tmp_path.resolve(), {"a.md": "x", "A.md": "y"})
    if len(list(root.iterdir())) < 2:
        pytest.skip("letter case is ignored here")
    folder = allowed_folder(str(root))
    assert [resolved(name, [folder])[0].path for name in ("a.md", "A.md")] == [str(root / "a.md"), str(root / "A.md")]
    tree(root, {"docs/c.md": "z"})
    with pytest.raises(InputError, match="does not exist"):
        resolved("Docs/c.md", [folder])


def test_the_allowed_folder_may_be_spelled_otherwise_if_it_is_the_same(tmp_path: Path) -> None:
    root = tree(tmp_path.resolve() / "root", {"a.md": "x"})
    folder = allowed_folder(str(root))
    spelled = root.parent / "ROOT"
    if not spelled.exists():
        assert folder.parts(str(spelled / "a.md")) is None
        spelled.symlink_to(root)  # as the same folder shows itself where letter case is ignored
    assert folder.parts(str(spelled / "a.md")) == ("a.md",)
    assert folder.parts(str(root.parent)) is None
    assert folder.parts(str(root.parent / "roots" / "a.md")) is None


@pytest.mark.parametrize(
    ("name", "names", "listed"),
    [
        ("A.md", ["a.md", "b.md"], "a.md"),
        ("A.md", ["a.md", "A.md"], "A.md"),
        ("caf\u00e9", ["CAFE\u0301"], "CAFE\u0301"),
        ("c.md", ["a.md"], "c.md"),
        ("STRASSE", ["straße"], "straße"),
    ],
)
def test_a_name_is_found_in_a_listing_as_it_is_there(name: str, names: list[str], listed: str) -> None:
    assert same_name(name, names) == listed
