"""Read a retrieval set in the layout of BEIR: corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcp_server_embeddings.errors import InputError

Relevance = dict[str, dict[str, int]]
"""Relevance above 0, by query and document."""

_EXPECTED = "wanted: query-id, corpus-id and a whole number, with tabs between them"


@dataclass(frozen=True, slots=True)
class Entry:
    """A document or a query; ``title`` may be empty."""

    title: str
    text: str

    @property
    def whole(self) -> str:
        """The title on a separate line, followed by the text."""
        return f"{self.title}\n{self.text}".strip()


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Documents, queries, and which documents are relevant to which query.

    Attributes:
        name: Name of the folder.
        documents: Documents by id, without the empty ones.
        empty: Number of empty documents.
        queries: Queries by id.
        relevance: Relevance for every query with a relevant document.
    """

    name: str
    documents: dict[str, Entry]
    empty: int
    queries: dict[str, str]
    relevance: Relevance


def read_retrieval_set(folder: Path) -> RetrievalSet:
    """Read a retrieval set from its folder.

    Raises:
        InputError: A file is missing or malformed, or the qrels contain unknown ids.
    """
    documents = _entries(folder / "corpus.jsonl")
    queries = {key: entry.text for key, entry in _entries(folder / "queries.jsonl").items()}
    nested, flat = folder / "qrels" / "test.tsv", folder / "qrels.tsv"
    qrels = flat if flat.exists() and not nested.exists() else nested
    relevance: Relevance = {}
    for query, document, score in _judgements(qrels, documents, queries):
        if score > 0:
            relevance.setdefault(query, {})[document] = score
    if not relevance:
        raise InputError(f"{qrels} has no score above 0; give judgements of relevant documents")
    blank = [query for query in relevance if not queries[query].strip()]
    if blank:
        raise InputError(f"the query {blank[0]!r} of {folder} is empty; fill it in, or leave it out of the qrels")
    kept = {key: entry for key, entry in documents.items() if f"{entry.title}{entry.text}".strip()}
    return RetrievalSet(folder.resolve().name, kept, len(documents) - len(kept), queries, relevance)


def read_text(path: Path) -> str:
    """Read a whole UTF-8 file without translating line ends.

    Raises:
        InputError: It cannot be read, is not UTF-8, or is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give one that can") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 from byte {error.start:,} on; save it as UTF-8") from None
    if not text.strip():
        raise InputError(f"{path} is empty; give a file with rows")
    return text


def _entries(path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for number, line in _lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise InputError(f"line {number} of {path} is no JSON object; put one object on each line")
        key, text, title = entry.get("_id"), entry.get("text"), entry.get("title") or ""
        if not (isinstance(key, str) and isinstance(text, str) and isinstance(title, str)):
            raise InputError(f"line {number} of {path} lacks _id or text; every line needs both, as strings")
        if key in entries:
            raise InputError(f"line {number} of {path} has the _id {key!r} a second time; give each once")
        entries[key] = Entry(_replace_unencodable(title), _replace_unencodable(text))
    return entries


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return the non-blank lines of a file with their numbers."""
    return ((number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip())


def _replace_unencodable(text: str) -> str:
    """Replace unpaired surrogates, which JSON allows and UTF-8 does not, by U+FFFD, and NUL by a space."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", " ")


def _judgements(path: Path, documents: dict[str, Entry], queries: dict[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield query, document and score of each row; a first row whose third cell is not a number is a header."""
    for index, (number, line) in enumerate(_lines(path)):
        row = [cell.strip() for cell in line.split("\t")]
        if len(row) != 3:
            raise InputError(f"line {number} of {path} has {len(row)} columns; {_EXPECTED}")
        query, document, score = row
        if not score.removeprefix("-").isdecimal():
            if index == 0:
                continue
            raise InputError(f"line {number} of {path} has the score {score!r}; {_EXPECTED}")
        for kind, key, known in (("query", query, queries), ("document", document, documents)):
            if key not in known:
                raise InputError(
                    f"line {number} of {path} names the {kind} {key!r}, which is not among the {len(known):,} of the "
                    "folder; add it, or leave the line out"
                )
        yield query, document, int(score)
