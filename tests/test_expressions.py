"""No text, however hostile, takes a scan more than linear time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hostile
import mcp_server_embeddings
from mcp_server_embeddings.reading.isolated import read_documents

_SEARCHES = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}


@pytest.mark.slow
@pytest.mark.parametrize("every", ["6", pytest.param("1", marks=pytest.mark.harden)])
@pytest.mark.parametrize("chosen", ["expressions", "functions"])
def test_hostile_texts_take_linear_time(chosen: str, every: str) -> None:
    ran = subprocess.run([sys.executable, hostile.__file__, chosen, every], capture_output=True, text=True, check=False)
    last = ran.stdout.splitlines()[-1]
    assert (ran.returncode, last.split()[0]) == (0, "all"), f"superlinear: {last}"


def test_every_expression_is_compiled_where_the_check_above_finds_it() -> None:
    for path in Path(mcp_server_embeddings.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re":
                assert node.attr not in _SEARCHES, f"{path.name}:{node.lineno}: compile the expression in the module"
    names = {name.rpartition(".")[2] for name, _ in hostile.expressions()}
    assert {"_WORD", "_DECLARED", "_CONTRACTION", "_LINE_END"} <= names


def test_front_matter_that_is_never_closed_ends_in_time() -> None:
    # In a process of its own: the expression that was here doubled its time with each line and held the lock.
    script = (
        "from mcp_server_embeddings.reading.isolated import read_documents\n"
        "text = '---\\r\\n' + 'key: value\\r\\n' * 2_000 + '# Heading\\r\\n'\n"
        "print(len(read_documents('note.md', text.encode())[0].text) == len(text))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "True\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("fence", ["---", "--- \t"])
def test_front_matter_is_read_over_with_any_line_end(fence: str, end: str) -> None:
    text = end.join([fence, "title: x", "date: y", fence, "# A", "b", "---", "c"])
    (document,) = read_documents("note.md", text.encode())
    assert [section.heading for section in document.sections] == ["", "A", "A > b"]
    assert document.text == text


@pytest.mark.parametrize("begin", ["----", " ---", "x\n---", "---x"])
def test_what_only_resembles_front_matter_is_text(begin: str) -> None:
    (document,) = read_documents("note.md", f"{begin}\ntitle: x\n---\n".encode())
    assert document.sections[-1].heading.endswith("title: x")
