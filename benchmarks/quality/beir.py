"""Reading a folder in BEIR layout: corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv."""

from dataclasses import dataclass
from pathlib import Path

from quality.data import QualityError, read_jsonl, read_tsv

Relevance = dict[str, dict[str, int]]
"""By query and document, above 0."""

_WANTED = "wanted: query-id, corpus-id and a whole number, with tabs between them"


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents (title and text) and queries by id, and for each query with a relevant document those documents."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevance: Relevance


def read_collection(folder: Path) -> Collection:
    """Read a folder.

    Raises:
        QualityError: A file is missing or no such file, or the qrels name unknown ids.
    """
    documents = _texts(folder / "corpus.jsonl")
    queries = _texts(folder / "queries.jsonl")
    nested, flat = folder / "qrels" / "test.tsv", folder / "qrels.tsv"
    qrels = flat if flat.exists() and not nested.exists() else nested
    relevance: Relevance = {}
    for query, document, score in _judgements(qrels, documents, queries):
        if score > 0:
            relevance.setdefault(query, {})[document] = score
    if not relevance:
        raise QualityError(f"{qrels} has no score above 0; give judgements of relevant documents")
    blank = [query for query in relevance if not queries[query]]
    if blank:
        raise QualityError(f"the query {blank[0]!r} of {folder} is empty; fill it in, or leave it out of the qrels")
    return Collection(documents, queries, relevance)


def _texts(path: Path) -> dict[str, str]:
    """By id the title, if there is one, and the text, as BEIR joins them."""
    texts: dict[str, str] = {}
    for line, entry in read_jsonl(path):
        key, text, title = entry.get("_id"), entry.get("text"), entry.get("title") or ""
        if not (isinstance(key, str) and isinstance(text, str) and isinstance(title, str)):
            raise QualityError(f"line {line} of {path} lacks _id or text; every line needs both, as strings")
        if key in texts:
            raise QualityError(f"line {line} of {path} has the _id {key!r} a second time; give each once")
        texts[key] = _encodable(f"{title} {text}".strip())
    return texts


def _encodable(text: str) -> str:
    """Half of a character, which JSON can hold and the wire cannot, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _judgements(path: Path, documents: dict[str, str], queries: dict[str, str]) -> list[tuple[str, str, int]]:
    """Query, document, score of each row; a first row whose third cell is no number is a header."""
    judgements = []
    for place, (line, row) in enumerate(read_tsv(path)):
        if len(row) != 3:
            raise QualityError(f"line {line} of {path} has {len(row)} columns; {_WANTED}")
        query, document, score = row
        if not score.removeprefix("-").isdecimal():
            if place == 0:
                continue
            raise QualityError(f"line {line} of {path} has the score {score!r}; {_WANTED}")
        for kind, key, known in (("query", query, queries), ("document", document, documents)):
            if key not in known:
                raise QualityError(
                    f"line {line} of {path} names the {kind} {key!r}, which is not among the {len(known):,} of the "
                    "folder; add it, or leave the line out"
                )
        judgements.append((query, document, int(score)))
    return judgements
