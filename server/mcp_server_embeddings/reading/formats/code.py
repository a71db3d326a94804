"""Source code, split at functions and classes, whose names are the headings. Needs the extra ``code``."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, Section, whole_document

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Tree


def _node_types(names: str) -> frozenset[str]:
    """Return a set of node types, named as in the grammars."""
    return frozenset(names.split())


_LANGUAGES = (
    ((".py", ".pyi"), "tree_sitter_python", "language"),
    ((".js", ".mjs", ".cjs", ".jsx"), "tree_sitter_javascript", "language"),
    ((".ts", ".mts", ".cts"), "tree_sitter_typescript", "language_typescript"),
    ((".tsx",), "tree_sitter_typescript", "language_tsx"),
    ((".rs",), "tree_sitter_rust", "language"),
    ((".go",), "tree_sitter_go", "language"),
    ((".java",), "tree_sitter_java", "language"),
    ((".c",), "tree_sitter_c", "language"),
    ((".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), "tree_sitter_cpp", "language"),
)

_DEFINITIONS = _node_types(
    # Python; JavaScript, TypeScript and Java; Rust; Go; C and C++. A type means the same in every grammar that has it.
    "class_definition function_definition "
    "class_declaration abstract_class_declaration interface_declaration enum_declaration internal_module "
    "function_declaration generator_function_declaration method_definition variable_declarator "
    "record_declaration annotation_type_declaration method_declaration constructor_declaration "
    "function_item struct_item enum_item union_item trait_item impl_item mod_item macro_definition "
    "type_declaration "
    "struct_specifier class_specifier enum_specifier union_specifier namespace_definition"
)

_NEED_BODY = _node_types("struct_specifier class_specifier enum_specifier union_specifier mod_item")
"""Without a body these nodes name a type or a file and define nothing."""

_WRAPPERS = _node_types(
    "decorated_definition export_statement lexical_declaration variable_declaration expression_statement "
    "template_declaration"
)
"""Nodes that belong to the first definition in them, if there is one."""

_CONTAINERS = _node_types(
    "module program source_file translation_unit block class_body interface_body enum_body enum_body_declarations "
    "annotation_type_body statement_block declaration_list field_declaration_list linkage_specification "
    "if_statement else_clause elif_clause try_statement except_clause with_statement type_definition "
    "preproc_if preproc_ifdef preproc_else preproc_elif ERROR"
)
"""Nodes that are searched for definitions."""

_FUNCTIONS = _node_types("arrow_function function_expression generator_function class")
"""Values that make a JavaScript variable a definition."""

CODE_SUFFIXES = frozenset(suffix for suffixes, *_ in _LANGUAGES for suffix in suffixes)

_SHORT_CHARACTERS = 800
"""Maximum characters of a definition that is not split further: about one passage of code."""

_MAX_CHARACTERS = 1_000_000
"""A longer file is treated as plain text: it was probably generated."""

_STEPS_PER_BYTE = 0.02
"""Limit in hundreds of parser steps: code takes 0.005 to 0.011 per byte, hostile text many times that."""

_SECONDS = 3.0
"""A file that takes longer to parse is treated as plain text: a megabyte of code takes half a second."""

_DEPTH = 64
"""Levels of the tree that are searched."""

_BLOCK_BYTES = 65_536
"""Bytes passed to the parser at a time."""

_MAX_NAME = 100
"""Characters of a name in a heading."""

_WORD = re.compile(r"\w")

_LEADING_PREFIXES = ("//", "/*", "*", "#", "@")
"""Prefixes of lines that belong to the definition below them: comments, attributes, decorators."""


@dataclass(frozen=True, slots=True)
class _Definition:
    """A function, class or similar: its offsets, and its name, preceded by that of its owner."""

    start: int
    end: int
    names: tuple[str, ...]


def code_documents(path: str, content: bytes, parsing: Parsing) -> list[Document]:
    """Parse source code into one document, split at functions and classes; one section if it cannot be parsed.

    Raises:
        UnreadableError: It is binary, blank or too long, or has too many definitions.
    """
    text = decoded(content)
    parsing.check_characters(len(text))
    file = PurePath(path)
    definitions = _definitions(text, file.suffix.lower()) if len(text) <= _MAX_CHARACTERS else []
    parsing.check_sections(len(definitions))
    sections = _Splitter(text, definitions).sections(file.stem) if definitions else [Section(0, len(text), "")]
    return whole_document(text, tuple(sections) if text.strip() else ())


def _definitions(text: str, suffix: str) -> list[_Definition]:
    """Return definitions ordered by their start, outer before inner; none if the parser is not installed."""
    (module, function) = next(rest for suffixes, *rest in _LANGUAGES if suffix in suffixes)
    try:
        from tree_sitter import Language

        language = Language(getattr(import_module(module), function)())
    except ImportError:
        return []
    data = text.encode()
    tree = _parse(language, data)
    return _with_character_offsets(data, list(_find_definitions(data, tree.root_node))) if tree is not None else []


def _parse(language: "Language", data: bytes) -> "Tree | None":
    """Parse; return None if it takes too long."""
    from tree_sitter import Parser

    steps = iter(range(1_000 + int(_STEPS_PER_BYTE * len(data))))
    deadline = time.monotonic() + _SECONDS
    with suppress(ValueError):  # raised when the callback stops parsing
        return Parser(language).parse(
            lambda offset, _: data[offset : offset + _BLOCK_BYTES],
            progress_callback=lambda *_: next(steps, None) is None or time.monotonic() > deadline,
        )
    return None


def _find_definitions(data: bytes, node: "Node", depth: int = 0) -> Iterator[_Definition]:
    """Yield the definitions in a node."""
    for child in node.named_children if depth < _DEPTH else ():
        unwrapped = _unwrap(child, depth) if child.type in _WRAPPERS else child
        names = _names(data, unwrapped) if unwrapped.type in _DEFINITIONS else ()
        if names:
            yield _Definition(child.start_byte, child.end_byte, names)
            body = unwrapped.child_by_field_name("body")
            if body is not None:
                yield from _find_definitions(data, body, depth + 1)
        elif child.type in _CONTAINERS:
            yield from _find_definitions(data, child, depth + 1)


def _unwrap(node: "Node", depth: int) -> "Node":
    """Return the first definition in a wrapper, which may contain another wrapper; otherwise the node itself."""
    for child in node.named_children if depth < _DEPTH else ():
        inner = _unwrap(child, depth + 1) if child.type in _WRAPPERS else child
        if inner.type in _DEFINITIONS:
            return inner
    return node


def _names(data: bytes, node: "Node") -> tuple[str, ...]:
    """Return the name of a definition, preceded by that of its owner; empty if the node defines nothing."""
    body = node.child_by_field_name("body")
    if body is None and node.type in _NEED_BODY:
        return ()
    if node.type == "variable_declarator":
        value = node.child_by_field_name("value")
        if value is None or value.type not in _FUNCTIONS:
            return ()
    name = _name_node(node)
    receiver = node.child_by_field_name("receiver") if node.type == "method_declaration" else None
    owner = receiver.named_children[0].child_by_field_name("type") if receiver and receiver.named_children else None
    return tuple(text for part in (owner, name) if part is not None and (text := _text(data, part)))


def _name_node(node: "Node") -> "Node | None":
    if node.type == "type_declaration" and node.named_children:  # Go
        node = node.named_children[0]
    name = node.child_by_field_name("type" if node.type == "impl_item" else "name")
    for _ in range(_DEPTH):  # C: the name is inside the declarator of a function, of a pointer to it, and so on
        inner = (name or node).child_by_field_name("declarator")
        if inner is None and name is not None and name.type == "reference_declarator":
            inner = name.named_children[-1]
        if inner is None:
            break
        name = inner
    return name


def _text(data: bytes, node: "Node") -> str:
    text = data[node.start_byte : node.end_byte].decode("utf-8", "replace")
    return " ".join(text.replace("::", " > ").lstrip("*&").split())[:_MAX_NAME]


def _with_character_offsets(data: bytes, definitions: Sequence[_Definition]) -> list[_Definition]:
    """Convert byte offsets to character offsets."""
    if data.isascii():
        return list(definitions)
    characters, previous, count = {}, 0, 0
    for offset in sorted({offset for each in definitions for offset in (each.start, each.end)}):
        count += len(data[previous:offset].decode("utf-8", "replace"))
        characters[offset], previous = count, offset
    return [replace(each, start=characters[each.start], end=characters[each.end]) for each in definitions]


@dataclass(frozen=True, slots=True)
class _Enclosing:
    """A definition that contains the current position, or the whole file."""

    start: int
    end: int
    heading: str


class _Splitter:
    """Splits a text at definitions; a short definition is not split at the definitions inside it."""

    def __init__(self, text: str, definitions: Sequence[_Definition]) -> None:
        self._text = text
        self._definitions = definitions
        self._sections: list[Section] = []
        self._position = 0

    def sections(self, module: str) -> list[Section]:
        """Return sections that together contain every visible character."""
        whole_file = _Enclosing(0, len(self._text), module)
        stack = [whole_file]
        for definition in self._definitions:
            while definition.start >= stack[-1].end and len(stack) > 1:
                self._end_section(stack.pop())
            parent = stack[-1]
            is_short = parent is not whole_file and parent.end - parent.start <= _SHORT_CHARACTERS
            if is_short or definition.start < self._position or definition.end > parent.end:
                continue  # inside a short definition, or not properly nested because of a macro or a syntax error
            self._end_section(replace(parent, end=self._with_comments(definition.start)))
            stack.append(_Enclosing(self._position, definition.end, " > ".join((parent.heading, *definition.names))))
        while stack:
            self._end_section(stack.pop())
        return self._sections or [Section(0, len(self._text), module)]

    def _end_section(self, part: _Enclosing) -> None:
        """End a section at the end of ``part``; a piece without a word joins the previous or the next section."""
        piece = self._text[self._position : part.end]
        if _WORD.search(piece):
            self._sections.append(Section(self._position, part.end, part.heading))
        elif self._sections:
            self._sections[-1] = replace(self._sections[-1], end=part.end)
        else:
            return
        self._position = part.end

    def _with_comments(self, start: int) -> int:
        """Return the start of a definition, including the comments, attributes and decorators directly above it."""
        line = max(self._position, self._text.rfind("\n", self._position, start) + 1)
        if self._text[line:start].strip():
            return start
        start = line
        while start > self._position:
            line = max(self._position, self._text.rfind("\n", self._position, start - 1) + 1)
            if not self._text[line:start].lstrip().startswith(_LEADING_PREFIXES):
                break
            start = line
        return start
