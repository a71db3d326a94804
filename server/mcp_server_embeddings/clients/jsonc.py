"""Edit JSON with comments and trailing commas by minimal changes to its text.

Existing libraries lose comments (json5), need Node.js (jsonc-edit), or are not maintained (json-five).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

_BLANK = re.compile(r"[ \t\r\n]*")
_MAX_DEPTH = 200


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class _Member:
    """A name and its value in an object.

    Attributes:
        name: The name as parsed.
        start: The position where the name begins.
        node: The value.
        comma: The position of the comma after the value; -1 if there is none.
    """

    name: str
    start: int
    node: "_Node"
    comma: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and its position in the text."""

    start: int
    end: int
    value: object
    members: list[_Member] = field(default_factory=list)


def read(text: str, *, comments: bool = True) -> object:
    """Return the value of a document; an empty object if it is blank.

    Args:
        text: The document.
        comments: Allow comments and trailing commas.

    Raises:
        ValueError: The document is malformed; the message begins with the line.
    """
    if not text.strip():
        return {}
    try:
        return _DECODER.decode(text)  # sixty times as fast, and most files have no comments
    except ValueError:
        return _parse(text, comments).value


def put(text: str, keys: Sequence[str], value: object, *, comments: bool = True) -> str:
    """Return the text with a value set at a path of keys, creating missing objects.

    Raises:
        ValueError: The text is malformed, or something on the path is not an object; the message begins with the line.
    """
    text = text if text.strip() else "{}\n"
    root = node = _parse(text, comments)
    unit = _indentation(text, root) or "  "
    for depth, key in enumerate(keys):
        member = _find_member(text, node, key)
        if member is None:
            for outer in reversed(keys[depth + 1 :]):
                value = {outer: value}
            return _append_member(text, node, key, value, unit)
        node = member.node
    return text[: node.start] + _format(value, unit, _line_indentation(text, node.start), text) + text[node.end :]


def remove(text: str, keys: Sequence[str], *, comments: bool = True) -> str:
    """Return the text without the member at a path of keys, which must exist.

    Raises:
        ValueError: The text is malformed; the message begins with the line.
    """
    parent = _parse(text, comments)
    for key in keys[:-1]:
        parent = _require_member(text, parent, key).node
    member = _require_member(text, parent, keys[-1])
    index = parent.members.index(member)
    start, end = _deletion_range(text, member)
    if member.comma < 0 and index:
        before = parent.members[index - 1].comma
        return text[:before] + text[before + 1 : start] + text[end:]
    return text[:start] + text[end:]


def _deletion_range(text: str, member: _Member) -> tuple[int, int]:
    """Return the range to delete for a member: whole lines if nothing else is on them, else with blanks on one side."""
    start, end = member.start, max(member.node.end, member.comma + 1)
    before, after = len(text[:start].rstrip(" \t")), end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    if text[:before].endswith("\n") and text[after : after + 1] in ("\r", "\n"):
        return before, text.index("\n", after) + 1
    return (start, after) if member.comma >= 0 else (before, end)


def _find_member(text: str, node: _Node, key: str) -> _Member | None:
    if not isinstance(node.value, dict):
        raise ValueError(  # noqa: TRY004 - an error in the file, not of the caller
            f"line {_line_number(text, node.start)}: an object is expected, to hold {key!r}"
        )
    found = [member for member in node.members if member.name == key]
    if len(found) > 1:
        raise ValueError(f"line {_line_number(text, found[1].start)}: {key!r} is there a second time")
    return found[0] if found else None


def _require_member(text: str, node: _Node, key: str) -> _Member:
    member = _find_member(text, node, key)
    if member is None:
        raise ValueError(f"there is no {key!r}")
    return member


def _append_member(text: str, node: _Node, key: str, value: object, unit: str) -> str:
    """Return the text with a member appended to an object."""
    closing, last = node.end - 1, node.members[-1] if node.members else None
    if last is not None and "\n" not in text[node.start : closing]:
        new = f", {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        return text[: last.node.end] + new + text[last.node.end :]
    outer = _line_indentation(text, node.start)
    inner = _indentation(text, node) or outer + unit
    newline = _newline(text)
    content = len(text[:closing].rstrip())  # a comment may follow the last member
    head = text[:content]
    if last is not None and last.comma < 0:
        head = text[: last.node.end] + "," + text[last.node.end : content]
    member = f"{newline}{inner}{json.dumps(key)}: {_format(value, unit, inner, text)}"
    comma = "," if last is not None and last.comma >= 0 else ""
    rest = text[content:closing] if "\n" in text[content:closing] else newline + outer
    return head + member + comma + rest + text[closing:]


def _format(value: object, unit: str, outer: str, text: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", _newline(text) + outer)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indentation(text: str, node: _Node) -> str:
    """Return the indentation of an object's members; empty if the first is on the line of the opening brace."""
    if not node.members or "\n" not in text[node.start : node.members[0].start]:
        return ""
    return _line_indentation(text, node.members[0].start)


def _line_indentation(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line_number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _parse(text: str, comments: bool) -> _Node:
    parser = _Parser(text, comments)
    node = parser.value(0)
    parser.skip()
    if parser.position < len(text):
        parser.fail("something follows the end")
    return node


class _Parser:
    """A recursive-descent parser that records positions.

    Args:
        text: The document.
        comments: Allow comments and trailing commas.
    """

    def __init__(self, text: str, comments: bool) -> None:
        self.text = text
        self.comments = comments
        self.position = 0

    def fail(self, problem: str) -> NoReturn:
        """Raise ``ValueError`` with the current line."""
        raise ValueError(f"line {_line_number(self.text, self.position)}: {problem}")

    def skip(self) -> str:
        """Skip whitespace and comments; return the next character, empty at the end of the text."""
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = blank.end() if blank else self.position
            rest = self.text[self.position : self.position + 2]
            if rest not in ("//", "/*"):
                return rest[:1]
            self._skip_comment("\n" if rest == "//" else "*/")

    def value(self, depth: int) -> _Node:
        """Parse the next value."""
        first = self.skip()
        if depth > _MAX_DEPTH:
            self.fail(f"nested more than {_MAX_DEPTH} levels deep")
        start = self.position
        if first == "{":
            members = list(self._members(depth))
            return _Node(start, self.position, {member.name: member.node.value for member in members}, members)
        value = [node.value for node in self._items(depth)] if first == "[" else self._scalar()
        return _Node(start, self.position, value)

    def _members(self, depth: int) -> Iterator[_Member]:
        self.position += 1
        while self.skip() != "}":
            start = self.position
            if self.text[start : start + 1] != '"':
                self.fail('a name in "quotes" or } is expected')
            name = str(self._scalar())
            if self.skip() != ":":
                self.fail(f"a colon is expected after {name!r:.40}")
            self.position += 1
            node = self.value(depth + 1)
            yield _Member(name, start, node, self._skip_separator("}"))
        self.position += 1

    def _items(self, depth: int) -> Iterator[_Node]:
        self.position += 1
        while self.skip() != "]":
            yield self.value(depth + 1)
            self._skip_separator("]")
        self.position += 1

    def _skip_separator(self, closing: str) -> int:
        """Skip a comma and return its position; -1 if the closing bracket follows instead."""
        found, comma = self.skip(), self.position
        if found == closing:
            return -1
        if found != ",":
            self.fail(f"a comma or {closing} is expected")
        self.position += 1
        if self.skip() == closing and not self.comments:
            self.fail("a comma before the end, which this client does not read")
        return comma

    def _scalar(self) -> object:
        try:
            value, self.position = _DECODER.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            self.position = error.pos
            self.fail(f"a value is expected ({error.msg})")
        except ValueError as error:  # such as NaN, or a number of 5,000 digits
            self.fail(str(error))
        return value

    def _skip_comment(self, end: str) -> None:
        if not self.comments:
            self.fail("a comment, which this client does not read")
        found = self.text.find(end, self.position + 2)
        if found < 0 and end == "*/":
            self.fail("a comment without its end")
        self.position = len(self.text) if found < 0 else found + len(end)
