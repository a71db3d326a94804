"""Which files are read, and that nothing else can be."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from files import found, names, skipped, tree
from mcp_server_embeddings.errors import CallCancelledError, InputError
from mcp_server_embeddings.reading.allowed import AllowedFolder
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.globs import Glob
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.selecting import Reader
from rounds import Record

posix = pytest.mark.skipif(os.name != "posix", reason="what only POSIX has")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The allowed folder; its neighbour ``outside`` holds a secret."""
    tree(tmp_path / "outside", {"secret.txt": "SECRET"})
    return tree(tmp_path / "allowed", {"a.txt": "a", "docs/b.md": "b", "docs/deep/c.md": "c"}).resolve()


def refused(root: Path, *paths: str) -> str:
    with pytest.raises(InputError) as caught:
        Reader([root]).select(paths)
    return str(caught.value)


# which paths are allowed


def test_without_an_allowed_folder_the_user_is_asked_for_one(root: Path) -> None:
    with pytest.raises(InputError, match="--allow-dir FOLDER"):
        Reader([]).select([str(root)])


def test_a_path_outside_is_refused_whether_it_exists_or_not(root: Path) -> None:
    there, missing = str(root.parent / "outside" / "secret.txt"), str(root.parent / "outside" / "missing")
    assert refused(root, there).replace(there, "") == refused(root, missing).replace(missing, "")
    assert str(root) in refused(root, there)
    assert "--allow-dir" in refused(root, there)


@pytest.mark.parametrize(
    "path",
    ["../outside/secret.txt", "docs/../../outside", "missing/../../outside/secret.txt", "..", "../allowed2", "../**/*"],
)
def test_dots_do_not_lead_out(root: Path, path: str) -> None:
    tree(root.parent / "allowed2", {"x.txt": "x"})
    assert "outside the folders" in refused(root, path)
    assert "outside the folders" in refused(root, str(root / path))
    assert "outside the folders" in refused(root, f"{root.as_uri()}/{path.replace('.', '%2E')}")


def test_dots_after_a_wildcard_are_refused(root: Path) -> None:
    assert "'..' after a wildcard" in refused(root, "*/../../outside/*")


def test_dots_that_stay_inside_are_fine(root: Path) -> None:
    assert names(root, "docs/../a.txt") == ["a.txt"]


@pytest.mark.parametrize("path", ["", " ", "a\0.txt", "a\ud800.txt", "file:///a%00.txt"])
def test_a_malformed_path_is_refused(root: Path, path: str) -> None:
    assert "invalid path" in refused(root, path)


def test_no_paths_are_refused(root: Path) -> None:
    assert "empty list" in refused(root)


@pytest.mark.parametrize("path", ["missing.txt", "docs/missing", "a.txt/below", "x" * 300, "nowhere/*.md"])
def test_a_path_that_does_not_exist_says_so(root: Path, path: str) -> None:
    assert "does not exist" in refused(root, path)
    assert "does not exist" in refused(root, str(root / path))


@posix
def test_a_given_link_is_followed_first_and_must_lead_inside(root: Path) -> None:
    (root / "in").symlink_to(root / "docs")
    (root / "out").symlink_to(root.parent / "outside")
    (root / "nowhere").symlink_to(root / "missing")
    (root / "loop").symlink_to(root / "loop")
    (root.parent / "outside" / "back").symlink_to(root / "docs")
    assert names(root, "in/b.md") == ["docs/b.md"]
    assert names(root, "in/*.md") == ["docs/b.md"]
    assert names(root, str(root.parent / "outside" / "back" / "b.md")) == ["docs/b.md"]
    assert "outside" in refused(root, "out")
    assert "outside" in refused(root, "out/*.txt")
    assert "outside" in refused(root, "out/secret.txt")
    assert "does not exist" in refused(root, "nowhere")
    assert "does not exist" in refused(root, "loop")


@posix
def test_an_allowed_folder_that_is_a_link_stands_for_its_target(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    selection = Reader([link]).select([str(link / "docs"), str(root / "a.txt")])
    assert found(selection, root) == ["a.txt", "docs/b.md", "docs/deep/c.md"]


def test_home_is_expanded_and_that_of_others_is_not(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mcp_server_embeddings.reading.selecting import Reader\n"
        "for path in ('~/docs/b.md', '~/docs/*.md', '~'):\n"
        "    print(*[Path(e.path).name for e in Reader([Path(sys.argv[1])]).select([path]).entries])"
    )
    home = {**os.environ, "HOME": str(root), "USERPROFILE": str(root)}
    ran = subprocess.run([sys.executable, "-c", script, root], env=home, capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n") == ["b.md", "b.md", "a.txt b.md c.md", ""]
    assert refused(root, "~root/x").replace("root", "nobody2") == refused(root, "~nobody2/x").replace("root", "nobody2")


def test_a_relative_path_is_tried_in_each_allowed_folder(root: Path, tmp_path: Path) -> None:
    other = tree(tmp_path / "other", {"a.txt": "", "only.txt": "", "sub/x.rst": ""})
    reader = Reader([root, other])
    assert [entry.path for entry in reader.select(["a.txt"]).entries] == [str(root / "a.txt")]
    assert [entry.path for entry in reader.select(["only.txt"]).entries] == [str(other / "only.txt")]
    assert [entry.path for entry in reader.select(["**/*.rst"]).entries] == [str(other / "sub" / "x.rst")]


# links, special files, races


@posix
def test_links_inside_a_folder_are_skipped_and_loops_end(root: Path) -> None:
    (root / "out").symlink_to(root.parent / "outside")
    (root / "docs" / "loop").symlink_to(root)
    (root / "file").symlink_to(root.parent / "outside" / "secret.txt")
    reasons = skipped(Reader([root]).select([str(root)]), root)
    assert sorted(reasons) == ["docs/loop", "file", "out"]
    assert all("symbolic link; give its target" in reason for reason in reasons.values())


@posix
def test_fifos_sockets_and_devices_are_never_opened() -> None:
    # Not in tmp_path: the path of a socket has about a hundred characters.
    with tempfile.TemporaryDirectory() as made, socket.socket(socket.AF_UNIX) as listening:
        root = Path(made).resolve()
        os.mkfifo(root / "fifo")
        listening.bind(str(root / "socket"))
        reader = Reader([root])
        assert skipped(reader.select([made]), root) == {
            "fifo": "not a regular file (FIFO)",
            "socket": "not a regular file (socket)",
        }
        assert skipped(reader.select(["fifo"]), root) == {"fifo": "not a regular file (FIFO)"}
    assert "device" in skipped(Reader([Path("/dev")]).select(["/dev/null"]), Path("/dev"))["null"]


@pytest.mark.fault
@posix
def test_a_fifo_put_in_a_files_place_is_not_waited_for(root: Path) -> None:
    file = first(root, "a.txt")
    (root / "a.txt").unlink()
    os.mkfifo(root / "a.txt")
    with pytest.raises(UnreadableError, match="FIFO"):
        file.read()


def first(root: Path, path: str, limits: ReadingLimits | None = None) -> FoundFile:
    entry = next(Reader([root], limits=limits or ReadingLimits()).select([path]).entries)
    assert isinstance(entry, FoundFile)
    return entry


@pytest.mark.fault
@posix
@pytest.mark.parametrize("swapped", ["docs", "docs/deep", "docs/deep/c.md"])
def test_a_link_put_in_the_way_after_listing_is_not_followed(root: Path, swapped: str) -> None:
    tree(root.parent / "outside", {"deep/c.md": "SECRET", "c.md": "SECRET"})
    file = first(root, "docs/deep/c.md")
    assert file.read() == b"c"
    (root / swapped).rename(root.parent / "aside")
    target = root.parent / "outside" / {"docs": "", "docs/deep": "deep", "docs/deep/c.md": "c.md"}[swapped]
    (root / swapped).symlink_to(target)
    assert (root / "docs/deep/c.md").read_text() == "SECRET"
    with pytest.raises(UnreadableError, match="changed while it was read"):
        file.read()


@pytest.mark.fault
@posix
def test_a_folder_swapped_for_a_link_during_the_walk_is_skipped(root: Path) -> None:
    entries = Reader([root]).select([str(root)]).entries
    assert next(entries).path == str(root / "a.txt")
    (root / "docs").rename(root.parent / "aside")
    (root / "docs").symlink_to(root.parent / "outside")
    assert [(Path(e.path).name, isinstance(e, Skipped)) for e in entries] == [("docs", True)]


SWAP = """
import os, sys

docs, link, aside = sys.argv[1:]
while True:
    os.rename(docs, aside)
    os.rename(link, docs)
    os.rename(docs, link)
    os.rename(aside, docs)
"""


@pytest.mark.slow
@posix
@pytest.mark.parametrize("times", [5, pytest.param(30, marks=pytest.mark.harden)])
def test_a_folder_that_is_swapped_all_the_time_never_yields_what_is_outside(
    root: Path, times: int, record_property: Record
) -> None:
    tree(root.parent / "outside", {"b.md": "SECRET", "deep/c.md": "SECRET"})
    (root / ".link").symlink_to(root.parent / "outside")
    # In a process of its own: a thread would swap only when the interpreter's lock changes hands.
    swapping = [sys.executable, "-c", SWAP, *(str(root / name) for name in ("docs", ".link", ".aside"))]
    read, hit = 0, 0
    with subprocess.Popen(swapping) as swapper:
        try:
            for _ in range(20_000):
                for entry in Reader([root]).select([str(root)]).entries:
                    if isinstance(entry, Skipped):
                        hit += 1
                        continue
                    try:
                        content = entry.read()
                    except UnreadableError:
                        hit += 1
                        continue
                    assert content in {b"a", b"b", b"c"}
                    read += content != b"a"
                if read >= times and hit >= times:
                    break
        finally:
            swapper.kill()
    record_property("faults", hit)
    assert read > 0
    assert hit > 0


def test_where_there_are_no_descriptors_a_link_in_the_way_is_found_too(root: Path) -> None:
    folder = AllowedFolder(str(root))
    assert [entry.name for entry in folder.listing(("docs",))] == ["b.md", "deep"]
    assert folder.read(("docs", "b.md"), 10, lambda: None) == b"b"
    (root / "docs").rename(root.parent / "aside")
    with suppress(OSError):  # Windows may forbid links
        (root / "docs").symlink_to(root.parent / "outside")
    with pytest.raises(UnreadableError, match="changed while it was read"):
        folder.read(("docs", "secret.txt"), 10, lambda: None)
    with pytest.raises(OSError):  # noqa: PT011 - which one differs by system
        folder.listing(("docs",))


@posix
def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    entries = Reader([root]).select([str(root)]).entries
    entry = next(entries)
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert isinstance(entry, FoundFile)
    entry.read()
    (root / "a.txt").unlink()
    for _ in range(5):
        with pytest.raises(UnreadableError, match="it was removed"):
            entry.read()
    assert len(list(Path("/dev/fd").iterdir())) == before


# limits


def test_a_file_of_a_gigabyte_is_skipped_by_its_size(root: Path) -> None:
    with (root / "big.txt").open("wb") as big:
        big.truncate(1_000_000_000)
    assert skipped(Reader([root]).select(["big.txt"]), root) == {
        "big.txt": "1,000,000,000 bytes; at most 20,000,000: split the file"
    }


@pytest.mark.fault
def test_a_file_that_grew_after_listing_is_not_read(root: Path) -> None:
    file = first(root, "a.txt")
    with (root / "a.txt").open("wb") as big:
        big.truncate(1_000_000_000)
    with pytest.raises(UnreadableError, match="1,000,000,000 bytes; at most 20,000,000"):
        file.read()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="files that are longer than they say")
def test_a_file_longer_than_it_says_is_read_to_the_limit() -> None:
    file = first(Path("/proc/self"), "/proc/self/status", ReadingLimits(file_bytes=100))
    assert file.size == 0
    with pytest.raises(UnreadableError, match="over 100 bytes"):
        file.read()


def test_packed_formats_may_be_larger(root: Path) -> None:
    tree(root, {"x.PDF": "12345678", "x.txt": "12345678"})
    limits = ReadingLimits(file_bytes=5, packed_bytes=10)
    assert sorted(skipped(Reader([root], limits=limits).select(["x.*"]), root)) == ["x.txt"]


def test_folders_too_deep_are_skipped(root: Path) -> None:
    deep = "/".join(["d"] * 65)
    tree(root, {f"{deep}/x.txt": "", f"{deep[:-2]}/y.txt": ""})
    selection = Reader([root]).select(["d", "a.txt"])
    reasons = skipped(selection, root)
    assert reasons == {}
    reasons = skipped(Reader([root]).select([str(root)]), root)
    assert list(reasons) == [deep]
    assert "64 folders deep" in reasons[deep]


def test_after_the_limit_of_files_the_rest_is_named_as_not_read(root: Path) -> None:
    selection = Reader([root], limits=ReadingLimits(files=2)).select([str(root)])
    assert [type(entry) for entry in selection.entries] == [FoundFile, FoundFile, Skipped]
    assert not selection.complete
    assert not selection.covers(str(root / "docs/deep/c.md"))


def test_a_caller_who_gives_up_stops_the_walk(root: Path) -> None:
    def give_up() -> None:
        raise CallCancelledError("gone")

    with pytest.raises(CallCancelledError):
        list(Reader([root], cancelled=give_up).select([str(root)]).entries)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, to whom nothing is forbidden."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_what_may_not_be_read_is_skipped_with_the_reason() -> None:
    root = Path(tempfile.mkdtemp()).resolve()
    try:
        tree(root, {"closed/x.txt": "x", "closed.txt": "x", "open.txt": "x"})
        root.chmod(0o755)
        (root / "closed").chmod(0)
        (root / "closed.txt").chmod(0)
        with as_nobody():
            selection = Reader([root]).select([str(root)])
            entries = {Path(entry.path).name: entry for entry in selection.entries}
            closed, file = entries["closed"], entries["closed.txt"]
            assert isinstance(closed, Skipped)
            assert closed.reason == "permission denied"
            assert isinstance(file, FoundFile)
            with pytest.raises(UnreadableError, match="permission denied"):
                file.read()
            assert not selection.covers(str(root / "closed" / "x.txt"))
            assert not selection.gone(str(root / "closed" / "x.txt"))
            assert "permission denied" in refused(root, "closed/x.txt")
    finally:
        (root / "closed").chmod(0o755)
        shutil.rmtree(root)


@posix
def test_a_name_that_is_no_utf8_is_skipped(root: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")).touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert skipped(Reader([root]).select([str(root)]), root) == {
        "caf\ufffd.txt": "its name is not valid UTF-8; rename it"
    }


# what is passed over


def test_hidden_files_are_passed_over_unless_named(root: Path) -> None:
    tree(root, {".env": "", ".git/config": "", ".github/ci.yml": "", "docs/.hidden/x": ""})
    selection = Reader([root]).select([str(root)])
    assert found(selection, root) == ["a.txt", "docs/b.md", "docs/deep/c.md"]
    assert selection.ignored == 4
    assert names(root, ".env") == [".env"]
    assert names(root, ".github") == [".github/ci.yml"]
    assert names(root, ".github/*.yml") == [".github/ci.yml"]
    assert names(root, "*/.hid*/x") == ["docs/.hidden/x"]
    assert "passed over" in refused(root, "**/x*")


def test_gitignore_is_followed_with_nested_files_and_exceptions(root: Path) -> None:
    tree(
        root,
        {
            ".gitignore": "*.log\nbuild/\n!keep.log\n/only-top.txt\ndocs/*.tmp\r\n# *.md\n[z-a]\n!\n",
            "x.log": "", "keep.log": "", "build/x.txt": "", "only-top.txt": "", "docs/only-top.txt": "",
            "docs/x.tmp": "", "docs/deep/x.tmp": "", "docs/.gitignore": "!x.log\nc.md\n", "docs/x.log": "",
            "docs/deep/build": "a file, not a folder",
        },
    )  # fmt: skip
    selection = Reader([root]).select([str(root)])
    assert found(selection, root) == [
        *("a.txt", "docs/b.md", "docs/deep/build", "docs/deep/x.tmp", "docs/only-top.txt", "docs/x.log", "keep.log"),
    ]
    assert selection.ignored == 7


def test_a_file_or_folder_that_is_named_is_read_even_if_ignored(root: Path) -> None:
    tree(root, {".gitignore": "build/\n*.log\n", "build/x.txt": "", "build/deep/y.txt": "", "x.log": ""})
    assert names(root, "x.log", "build/x.txt") == ["build/x.txt", "x.log"]
    assert names(root, "build") == ["build/deep/y.txt", "build/x.txt"]
    assert names(root, "build/deep/*") == ["build/deep/y.txt"]
    assert "passed over" in refused(root, "*.log")


def test_rules_of_parents_hold_up_to_the_repository_and_not_above(root: Path) -> None:
    tree(root, {".gitignore": "*.md\n", "docs/.gitignore": "c.*\n"})
    assert names(root, "docs") == []
    tree(root, {"docs/.git/config": ""})
    assert names(root, "docs") == ["docs/b.md"]
    assert names(root, "docs/deep") == []
    assert names(root) == ["a.txt", "docs/b.md"]


def test_rules_above_the_allowed_folder_are_not_read(root: Path) -> None:
    tree(root.parent, {".gitignore": "*.txt\n", ".git/config": ""})
    assert "a.txt" in names(root)


@posix
def test_a_gitignore_that_is_a_link_is_not_followed(root: Path) -> None:
    tree(root.parent / "outside", {"rules": "*.txt\n"})
    (root / ".gitignore").symlink_to(root.parent / "outside" / "rules")
    assert "a.txt" in names(root)


def test_rules_of_many_stars_take_no_time(root: Path) -> None:
    tree(root, {".gitignore": "*a" * 30 + "b\n" + "**/a/" * 30 + "b\n*.txt\n", "/".join(["a"] * 50) + "a" * 200: ""})
    assert names(root)[1:] == ["docs/b.md", "docs/deep/c.md"]


def test_rules_too_large_to_apply_are_named(root: Path) -> None:
    tree(root, {".gitignore": "*.txt\n" * 40_000})
    assert (
        "its rules are not applied: 240,000 bytes"
        in skipped(Reader([root]).select(["docs/..", "a.txt"]), root)[".gitignore"]
    )


def test_signs_in_rules_may_be_escaped(root: Path) -> None:
    tree(root, {".gitignore": "\\#a\n\\!b\nx\\*\n[^d]z\nend\\ \n\\\n"})
    tree(root, dict.fromkeys(["#a", "!b", "x*", "xx", "az", "dz", "end ", "end"], ""))
    assert names(root) == ["a.txt", "docs/b.md", "docs/deep/c.md", "dz", "end", "xx"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="compared with git")
@given(
    rules=st.lists(
        st.from_regex(r"!?/?(\*\*/)?([abc*?]|\[[!^]?ab\]|\\a){1,3}(/[abc*]{1,2})?(/\*\*)?/? ?", fullmatch=True),
        min_size=1,
        max_size=5,
    ),
    nested=st.lists(st.sampled_from(["a", "!a", "*", "!*", "/b", "!b/", "a/b", "!a/*"]), max_size=3),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_ignored_is_what_git_ignores(rules: list[str], nested: list[str]) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        spots = [f"{x}/{y}/{z}" for x in "abc" for y in "abd" for z in "abc"] + ["d", "ab", "aa/b", "aa/aa"]
        tree(root, dict.fromkeys(spots, "x") | {".gitignore": "\n".join(rules), "a/.gitignore": "\n".join(nested)})
        subprocess.run(["git", "init", "-q", made], check=True)
        command = ["git", "-C", made, "ls-files", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
        assert names(root) == sorted(name for name in listed if name and ".gitignore" not in name)


# patterns


def test_patterns_match_within_names_and_across_folders(root: Path) -> None:
    tree(root, {"docs/b.txt": "", "docs/deep/d.txt": "", "x1.py": "", "x2.py": "", "xa.py": ""})
    assert names(root, "docs/*.md") == ["docs/b.md"]
    assert names(root, "**/*.md") == ["docs/b.md", "docs/deep/c.md"]
    assert names(root, "docs/**") == ["docs/b.md", "docs/b.txt", "docs/deep/c.md", "docs/deep/d.txt"]
    assert names(root, str(root / "do*" / "**" / "d*")) == ["docs/deep/d.txt"]
    assert names(root, "x[0-9].py", "x?.py") == ["x1.py", "x2.py", "xa.py"]
    assert names(root, "./*/b.*") == ["docs/b.md", "docs/b.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(root: Path) -> None:
    tree(root, {"x[1].txt": "", "x1.txt": ""})
    assert names(root, "x[1].txt") == ["x[1].txt"]
    (root / "x[1].txt").unlink()
    assert names(root, "x[1].txt") == ["x1.txt"]


def test_a_pattern_that_matches_nothing_is_refused(root: Path) -> None:
    assert "matches no file" in refused(root, "*.rst")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not Glob(("*a" * 40 + "b",)).matches(("a" * 250,))
    assert not Glob(("**", "a") * 30 + ("b",)).matches(("a",) * 300)


# the selection


def test_what_is_reached_twice_is_read_once_and_in_order(root: Path) -> None:
    paths = ["docs/deep", str(root), "docs/b.md", "docs/*.md", "a.txt"]
    listed = names(root, *paths)
    assert sorted(listed) == ["a.txt", "docs/b.md", "docs/deep/c.md"]
    assert len(listed) == 3
    assert listed == names(root, *reversed(paths))


def test_a_selection_tells_what_it_covers_and_what_is_gone(root: Path) -> None:
    tree(root, {".env": "x", "other/z.md": ""})
    selection = Reader([root]).select(["docs", "*.txt", "other/z.md"])
    assert set(selection.roots) == {str(root / "docs"), str(root), str(root / "other/z.md")}
    list(selection.entries)
    covered = ["docs/b.md", "docs/missing.md", "docs/.hidden", "a.txt", "missing.txt", "other/z.md"]
    assert [selection.covers(str(root / name)) for name in covered] == [True] * 6
    others = ["docs2/x", "a.md", "other/y.md", "sub/a.txt", "docs"]
    assert [selection.covers(str(root / name)) for name in others] == [False] * 5
    assert not selection.covers(str(root.parent / "outside" / "a.txt"))
    assert [selection.gone(str(root / name)) for name in covered] == [False, True, True, False, True, False]
    assert not selection.gone(str(root / "sub" / "a.txt"))


def test_a_found_file_is_read_and_parsed(root: Path) -> None:
    tree(root, {"rows.csv": "id,note\n1,hello\n"})
    (entry,) = Reader([root]).select(["rows.csv"]).entries
    assert isinstance(entry, FoundFile)
    content = entry.read()
    assert entry.size == len(content)
    status = (root / "rows.csv").stat()
    assert entry.changed_ns == max(status.st_mtime_ns, status.st_ctime_ns)
    assert [document.text for document in entry.documents(content)] == ["id: 1\nnote: hello"]
