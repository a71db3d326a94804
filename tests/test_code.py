"""Source code is cut at functions and classes, under their names."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server_embeddings.reading.document import DEFAULT_PARSING, Section
from mcp_server_embeddings.reading.formats import code
from mcp_server_embeddings.reading.parsing import parse_documents

SOURCES = {
    "post.py": '''\
"""Parcels é 日 🙂."""
import os


# how many
@cached(
    1
)
def count() -> int:
    return 1


class Courier:
    name = 1

    async def deliver(self):
        def inner(): ...

if True:
    def late(): ...
''',
    "post.js": """\
import x from "y";
/** Says hello. */
export function hello() {}
export const arrow = async (a) => {
 a
};
var old = function () {};
class Courier { deliver() {} static of() {} }
let x = 1;
""",
    "post.ts": """\
@Injectable()
export class Courier {
  private a = 1;
  deliver(p: string) {}
}
interface Shape { a: 1 }
enum Color { Red }
namespace inner { export function deep() {} }
abstract class Base {}
""",
    "view.tsx": """\
export function View() { return <a>b</a> }
""",
    "post.rs": """\
use std::fmt;
/// A parcel.
#[derive(Debug)]
pub struct Parcel { id: u32 }
impl fmt::Display for Parcel {
    fn fmt(&self) {}
}
mod inner { pub fn deep() {} }
mod elsewhere;
trait T { fn must(&self); }
""",
    "post.go": """\
package post

// Courier delivers.
type Courier struct{ id int }

func (c *Courier) Deliver() {}
func main() {}
""",
    "Courier.java": """\
package a;
/** Delivers. */
public class Courier {
  Courier() {}
  @Override
  public String toString() { return "x"; }
  enum Kind { A }
}
interface I { void a(); }
record R(int a) {}
""",
    "post.c": """\
int count;
/* prints */
static char *name(int a) { return 0; }
struct point { int x; };
struct point p;
#ifdef X
int main(void) { return 0; }
#endif
""",
    "post.cpp": """\
namespace post {
// doc
template <typename T> class Box { public: T get() const { return v; } T v; };
int& ref() { static int a; return a; }
}
int post::Box::size() { return 1; }
""",
    "post.h": """\
class Courier { void deliver(); };
struct P { int a; };
""",
}

HEADINGS = {
    "post.py": ["", "count", "Courier", "Courier > deliver", "Courier > deliver > inner", "", "late"],
    "post.js": ["", "hello", "arrow", "old", "Courier", "Courier > deliver", "Courier > of", ""],
    "post.ts": ["Courier", "Courier > deliver", "Shape", "Color", "inner", "inner > deep", "Base"],
    "view.tsx": ["View"],
    "post.rs": ["", "Parcel", "Parcel", "Parcel > fmt", "inner", "inner > deep", "", "T"],
    "post.go": ["", "Courier", "Courier > Deliver", "main"],
    "Courier.java": ["", "Courier", "Courier > Courier", "Courier > toString", "Courier > Kind", "I", "I > a", "R"],
    "post.c": ["", "name", "point", "", "main", ""],
    "post.cpp": ["post", "post > Box", "post > Box > get", "post > Box", "post > ref", "post > Box > size"],
    "post.h": ["Courier", "P"],
}


def sections(name: str, text: str) -> tuple[Section, ...]:
    (document,) = parse_documents(name, text.encode(), DEFAULT_PARSING)
    assert document.text == text
    return document.sections


def assert_complete(text: str, found: tuple[Section, ...]) -> None:
    """Ascending, not overlapping, with every visible character."""
    at = 0
    for section in found:
        assert at <= section.start < section.end <= len(text)
        assert not text[at : section.start].strip()
        at = section.end
    assert not text[at:].strip()


@pytest.mark.parametrize("name", SOURCES)
def test_functions_and_classes_are_sections_under_their_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_SHORT_CHARACTERS", 1)
    text, headings = SOURCES[name], HEADINGS[name]
    found = sections(name, text)
    assert_complete(text, found)
    module = Path(name).stem
    assert [section.heading for section in found] == [" > ".join(filter(None, (module, one))) for one in headings]


def test_comments_and_decorators_stand_with_what_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_SHORT_CHARACTERS", 1)
    for name, begins in (("post.py", "# how many\n@cached("), ("post.rs", "/// A parcel."), ("post.js", "/** Says")):
        text = SOURCES[name]
        assert any(text[section.start : section.end].startswith(begins) for section in sections(name, text)), name


def test_a_short_class_is_one_section_and_a_long_one_is_cut_at_its_methods() -> None:
    short = "class A:\n    def one(self): ...\n    def two(self): ...\n"
    assert [section.heading for section in sections("m.py", short)] == ["m > A"]
    long = short + "    x = '" + "x" * 900 + "'\n"
    assert [section.heading for section in sections("m.py", long)] == ["m > A", "m > A > one", "m > A > two", "m > A"]


def test_a_mistake_in_a_file_costs_no_text() -> None:
    text = "def good():\n    return 1\n\ndef bad(:\n  return ((\n\nclass After:\n    pass\n\x0c }}} é\n"
    found = sections("m.py", text)
    assert_complete(text, found)
    assert found[0].heading == "m > good"


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(SOURCES)),
    start=st.integers(0, 300),
    end=st.integers(0, 300),
    noise=st.text(st.sampled_from("{}()[]<>'\"`\n\\/*#@:; é🙂"), max_size=6),
)
def test_any_text_is_read_whole(name: str, start: int, end: int, noise: str) -> None:
    source = SOURCES[name]
    text = source[:start] + noise + source[end:]
    if text.strip():
        assert_complete(text, sections(name, text))


@pytest.mark.parametrize("unit", ["[", "f(){", "template<>", "if a:\n ", "class A{", "export ", "a<b>", "x=>"])
def test_nesting_without_end_is_read_whole(unit: str) -> None:
    text = unit * (9_000 // len(unit))
    for name in ("m.py", "m.js", "m.ts", "m.cpp", "m.rs"):
        assert_complete(text, sections(name, text))


def test_without_the_extra_code_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SOURCES["post.py"]
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    assert sections("post.py", text) == (Section(0, len(text), ""),)


def test_a_file_of_a_megabyte_and_more_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_MAX_CHARACTERS", 10)
    assert [section.heading for section in sections("m.py", "def f():\n    return 1\n")] == [""]
