"""Hostile files are refused in time and in little memory, and say why."""

import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from files import pdf, tree, word_with
from mcp_server_embeddings.reading import FoundFile, Parsing, Reader, ReadingLimits, UnreadableError, read_documents

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

# Each of these takes a minute or much more without its limit, and up to 12 s (the deadline) with it.
_IN_TIME = 60

# Which limit a file of headings meets first depends on the speed of the processor.
_HEADINGS = "more than 100,000 headings|takes longer than 10 s"

_SCRIPT = """
import json, sys
from pathlib import Path
from mcp_server_embeddings.reading import UnreadableError, read_documents

path = Path(sys.argv[1])
try:
    outcome = str(len(read_documents(path.name, path.read_bytes())[0].sections))
except UnreadableError as error:
    outcome = error.reason
# Not ru_maxrss, which begins with what the parent had when it forked.
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([outcome, int(peak.split()[1]) // 1_000]))
"""


def outcome(path: Path, content: bytes) -> tuple[str, int]:
    """What becomes of a file, and the megabytes that the process needed for it: sections, or the reason against."""
    path.write_bytes(content)
    command = [sys.executable, "-c", _SCRIPT, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_IN_TIME, check=True)
    said, megabytes = json.loads(ran.stdout)
    return said, megabytes


def styles_chained(count: int) -> bytes:
    """A DOCX of paragraph styles, each based on the next, the last on a heading."""
    chain = "".join(
        f'<w:style w:type="paragraph" w:styleId="s{n}"><w:name w:val="s{n}"/><w:basedOn w:val="s{n + 1}"/></w:style>'
        for n in range(count)
    )
    last = f'<w:style w:type="paragraph" w:styleId="s{count}"><w:name w:val="heading 1"/></w:style>'
    return f'<w:styles xmlns:w="{_W}">{chain}{last}</w:styles>'.encode()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("name", "made", "said", "megabytes"),
    [
        ("comments.html", lambda: b"<p>x" + b"<!-- " * 3_800_000, "1", 400),
        ("ends.html", lambda: b"<b>" * 140_000 + b"</i>" * 4_000_000 + b"x", "takes longer than 10 s", 400),
        ("cells.csv", lambda: b"a,b\n" + b"," * 10_000_000 + b"x", "a row of 10,000,001 columns; at most 10,000", 400),
        ("names.csv", lambda: b"a," * 9_000_000 + b"\nx", "a row of 9,000,001 columns; at most 10,000", 400),
        ("deep.html", lambda: b"<i>" * 6_000_000 + b"x", "inside one another", 400),
        ("items.md", lambda: b"* a\n" * 150_000, "1", 200),
        ("headings.md", lambda: b"# a\n" * 1_200_000, _HEADINGS, 600),
        ("heading.md", lambda: b"# " + b"*a_[" * 1_000_000, "1", 200),
        ("underlined.md", lambda: b"a\n---\n" * 800_000, _HEADINGS, 600),
    ],
)
def test_a_hostile_file_is_refused_or_read_in_time(
    tmp_path: Path, name: str, made: Callable[[], bytes], said: str, megabytes: int
) -> None:
    became, needed = outcome(tmp_path / name, made())
    assert re.search(said, became)
    assert needed < megabytes


def test_a_docx_of_a_long_chain_of_styles_is_read_in_time(tmp_path: Path) -> None:
    assert outcome(tmp_path / "a.docx", word_with("word/styles.xml", styles_chained(60_000)))[0] == "1"


def test_a_style_is_a_heading_through_others_and_circles_end() -> None:
    based = {"Heading1": "b", "b": "c", "d": "Heading2", "Heading2": "e", "e": "Heading2"}
    styles = "".join(
        f'<w:style w:styleId="{style}"><w:name w:val="{style}"/><w:basedOn w:val="{on}"/></w:style>'
        for style, on in based.items()
    )
    heading = '<w:style w:styleId="c"><w:name w:val="heading 2"/></w:style>'
    content = word_with("word/styles.xml", f'<w:styles xmlns:w="{_W}">{styles}{heading}</w:styles>'.encode())
    (document,) = read_documents("a.docx", content)
    assert [section.heading for section in document.sections] == ["", "Install"]


@pytest.mark.parametrize("row", [b"\2 ", b"\4 "])
def test_a_pdf_stream_that_unpacks_too_far_is_not_decoded(row: bytes) -> None:
    packed = zlib.compress(row * 6_000_000)
    stream = b"<< /Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 1 >> /Length %d >>\nstream\n%s\nendstream"
    with pytest.raises(UnreadableError, match=r"page 1 \(LimitReachedError\)"):
        read_documents("a.pdf", pdf("x", extra={5: stream % (len(packed), packed)}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", b"* a\n" * 400_000),
        ("a.html", b"<p>a" * 1_000_000),
        ("a.csv", b"a,b\n" * 90_000),
        ("a.jsonl", b'{"text": "a"}\n' * 90_000),
        (
            "a.docx",
            word_with(
                "word/document.xml",
                b"<w:document xmlns:w='%s'><w:body>%s</w:body></w:document>"
                % (_W.encode(), b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 50_000),
            ),
        ),
    ],
)
def test_the_time_of_one_file_is_limited_in_every_format(name: str, content: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"longer than 0.05 s; split the file"):
        read_documents(name, content, Parsing(limits=ReadingLimits(seconds=0.05)))


def test_a_file_that_takes_too_long_does_not_keep_others_from_being_read(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a.md": "a", "b.md": "* a\n" * 400_000, "c.md": "c"})
    read, refused = [], []
    for entry in Reader([root], limits=ReadingLimits(seconds=0.5)).select([str(root)]).entries:
        assert isinstance(entry, FoundFile)
        try:
            entry.documents(entry.read())
            read.append(Path(entry.path).name)
        except UnreadableError as error:
            refused.append((Path(entry.path).name, error.reason))
    assert read == ["a.md", "c.md"]
    assert refused == [("b.md", "its text takes longer than 0.5 s; split the file or save it as text")]
