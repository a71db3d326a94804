"""Run every expression and scanner of the package over hostile texts: ``python hostile.py expressions 1``.

This is a separate process because a superlinear expression holds the interpreter's lock for as long as it runs.
"""

import functools
import itertools
import pkgutil
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module

import mcp_server_embeddings
from mcp_server_embeddings.reading.document import DEFAULT_PARSING, UnreadableError
from mcp_server_embeddings.reading.globs import Glob
from mcp_server_embeddings.reading.parsing import parse_documents
from mcp_server_embeddings.reading.tables import read_table, split_source
from mcp_server_embeddings.store.analysis import STEMMERS, passage_terms, query_words
from mcp_server_embeddings.tools.sentences import passages
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.tools.texts import snippet

SECONDS = {"expressions": 2, "functions": 20}
"""Limit of processor time for all inputs of one run; a linear expression takes about 0.4, a quadratic one over 3."""

_UNITS = (
    *("a", "n", "n't", "'", "\"'", " ", "\t", "\n", "\r\n", "\r", "- ", "---\n", "---\r\n", "#", "# ", "=", "| ", "*"),
    *("_", "`", "[", "[[](", "(", "{", "<", "<!--", "<!-- ", "<a ", "<meta ", "<meta charset", "charset=", "&#1", "1"),
    *(
        "1.",
        "a1",
        "a#1",
        "é",
        "日",
        "日 ",
        "🙂",
        "\u0301",
        "\\*",
        "a\n",
        "a\r\n",
        ". ",
        "? ",
        "“",
        "a b",
        "a: b\n",
        "> ",
    ),
)
_OPENINGS = ("---\r\n", "---", "<!--", "<meta charset=", "a#")
_RUNS = (" ", "-", "\r\n", "a", "1")


def texts(size: int) -> Iterator[str]:
    """Yield texts of ``size`` characters: each unit repeated, some after an opening that is never closed."""
    for unit in _UNITS:
        yield unit * (size // len(unit)) + "\x01"
    for opening in _OPENINGS:
        for unit in _RUNS:
            yield opening + unit * (size // len(unit)) + "\x01"


def expressions() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Yield the compiled expressions of all modules, with their qualified names."""
    package = mcp_server_embeddings
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name != f"{package.__name__}.__main__":
            for name, value in vars(import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name}.{name}", value


def _exhaust(expression: re.Pattern[str] | re.Pattern[bytes], text: str) -> None:
    if isinstance(expression.pattern, bytes):
        binary = re.compile(expression.pattern, expression.flags)
        content = text.encode()
        binary.fullmatch(content)
        for _ in binary.finditer(content):
            pass
    else:
        expression.fullmatch(text)
        for _ in expression.finditer(text):
            pass


def _reading(suffix: str) -> Callable[[str], object]:
    def read(text: str) -> None:
        with suppress(Exception):  # parsers may raise anything
            parse_documents(f"a{suffix}", text.encode(), DEFAULT_PARSING)

    return read


def _text_columns(text: str) -> None:
    with suppress(UnreadableError):
        read_table("a.csv", f"a,b\n{text}".encode()).text_columns()


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "passages": passages,
    "snippet": snippet,
    "passage_terms": passage_terms,
    "query_words": lambda text: query_words(text, STEMMERS),
    "distinguishing_terms": lambda text: distinguishing_terms([[text]]),
    "split_source": lambda text: split_source(text.replace("a", ".csv#")),
    "text_columns": _text_columns,
    "Glob": lambda text: Glob(("*a*-*1*b",)).matches((text,)),
    **{suffix: _reading(suffix) for suffix in (".txt", ".md", ".html", ".csv", ".tsv", ".jsonl", ".pdf", ".docx")},
}


def main(kind: str, step: str) -> None:
    """Run all expressions, or all functions (which also run libraries), over texts of 50,000 characters.

    Each runs over every ``step``-th text; the first one moves by one text from one run to the next.
    """
    runs: dict[str, Callable[[str], object]] = FUNCTIONS
    if kind == "expressions":
        runs = {name: functools.partial(_exhaust, expression) for name, expression in expressions()}
    for number, (name, run) in enumerate(runs.items()):
        # The timer's signal ends the process even while an expression holds the interpreter's lock.
        signal.setitimer(signal.ITIMER_PROF, SECONDS[kind])
        _print(name)
        for text in itertools.islice(texts(50_000), number % int(step), None, int(step)):
            run(text)
    _print(f"all {len(runs)}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
