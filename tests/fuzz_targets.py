"""Fuzz targets: every parser of untrusted input, as a function of bytes that raises only on a defect.

``test_fuzz_parsers.py`` runs the targets with random changes of their seeds, and runs ``fuzz_atheris.py``, which looks
for inputs that reach new lines. atheris sees only the lines of its own process, so there the parsers run in it.
"""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bombs import WORD
from files import pdf, word, word_with
from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.lenient_json import encode_json, parse_json
from mcp_server_embeddings.mcp_layer.messages import decode, encode
from mcp_server_embeddings.reading.document import Document, Parsing, UnreadableError, until
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.parsing import is_isolated, parse_documents
from mcp_server_embeddings.reading.tables import read_table
from mcp_server_embeddings.relay.session_state import SessionState
from mcp_server_embeddings.tools import coercion, example_arguments
from mcp_server_embeddings.tools.collection_file import read_records
from test_tables import sheet, xlsx

Target = Callable[[bytes], object]

LIMITS = Parsing(limits=ReadingLimits(seconds=20, pdf_seconds=20))

MESSAGE = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"embed","arguments":{"texts":["a"]}}}'
HEADER = (
    b'{"format":"mcp-server-embeddings collection","version":1,"collection":"a","model":"m","identity":"i",'
    b'"dimensions":1,"documents":1}\n'
)
RECORD = (
    b'{"id":"a","text":"one text","metadata":{"year":1},"file":"","file_digest":"",'
    b'"chunks":[{"start":0,"stop":8,"heading":"","vector":"AAAAAA=="}]}\n'
)

BODY = (
    f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>One</w:t></w:r>'
    "</w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>two</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"
).encode()
STYLES = (
    f'<w:styles xmlns:w="{WORD}"><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>'
    '<w:basedOn w:val="a"/></w:style></w:styles>'
).encode()
ROWS = (
    '<row><c r="A1" t="inlineStr"><is><t>text</t></is></c><c r="B1"><v>1</v></c></row><row><c r="A2"><v>2</v></c></row>'
)


def message(data: bytes) -> None:
    """Decode and encode a message, and let a relay record it."""
    decoded = decode(data)
    if decoded is not None:
        encode(decoded)
    SessionState().record_sent(data)


def lenient(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        encode_json(parse_json(data))


def arguments(data: bytes) -> None:
    """Coerce a value to the type of every kind of parameter: the value as JSON, and as a string."""
    values: list[object] = [data.decode("utf-8", "replace")]
    with contextlib.suppress(ValueError):
        values.append(parse_json(data))
    for value in values:
        for coerce in (
            *(coercion.coerce_texts, coercion.coerce_strings, coercion.coerce_ids, coercion.coerce_labels),
            *(coercion.coerce_object, coercion.coerce_objects, example_arguments.coerce_examples),
        ):
            with contextlib.suppress(EmbeddingsError):
                coerce("texts", value)


Reading = Callable[[str, bytes], list[Document]]


def read_isolated(path: str, data: bytes) -> list[Document]:
    """Read a file as the program does: in a process of its own where the parser needs one."""
    try:
        return read_documents(path, data, LIMITS)
    except UnreadableError:
        return []


def read_in_process(path: str, data: bytes) -> list[Document]:
    """Read a file in this process, as the isolated reader does, which reports any exception of a parser."""
    try:
        return parse_documents(path, data, replace(LIMITS, cancelled=until(LIMITS.limits.seconds, LIMITS.cancelled)))
    except UnreadableError:
        return []
    except Exception:
        if not is_isolated(path):
            raise
        return []


def reader(suffix: str, reading: Reading, pack: Callable[[bytes], bytes] = bytes) -> Target:
    def read(data: bytes) -> None:
        for document in reading(f"a{suffix}", pack(data)):
            document.text.encode()
            for section in document.sections:
                assert 0 <= section.start <= section.end <= len(document.text)

    return read


def table(data: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        read_table("a.csv", data).text_columns()


def collection_file(suffix: str) -> Target:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None

    def read(data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(suffix, dir=folder)
        try:
            os.write(descriptor, data)
            with contextlib.suppress(EmbeddingsError, OSError):
                for _ in read_records(Path(name))[1]:
                    pass
        finally:
            os.close(descriptor)
            Path(name).unlink()

    return read


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), buffer)
    return buffer.getvalue()


def targets(reading: Reading = read_isolated) -> Mapping[str, tuple[Target, list[bytes]]]:
    """Return the targets by name, each with its seeds."""
    return {
        "message": (message, [MESSAGE, json.dumps({"jsonrpc": "2.0", "method": "x"}).encode()]),
        "lenient": (lenient, [MESSAGE, b'["\\ud83d", "\\ud83d\\ude00", NaN, 1e5]']),
        "arguments": (
            arguments,
            [b'["a", "b"]', b'{"a": ["b"]}', b'```json\n["a"]\n```', b"[{'text': 'a', 'label': 1}]"],
        ),
        ".txt": (reader(".txt", reading), [b"one\n\ntwo", "\ufeffé狐".encode(), "é".encode("utf-16")]),
        ".md": (reader(".md", reading), [b"---\na: b\n---\n# One\n\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"]),
        ".html": (
            reader(".html", reading),
            [b"<html><head><title>a</title></head><body><h1>b</h1><p>c&amp;<br>d</body></html>"],
        ),
        ".csv": (reader(".csv", reading), [b'id,text\n1,"one, two"\n2,three\n']),
        ".jsonl": (reader(".jsonl", reading), [b'{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n']),
        ".docx": (reader(".docx", reading), [word()]),
        # Checksums detect nearly all changes of an archive; these targets change a file inside it instead.
        "document.xml": (reader(".docx", reading, lambda data: word_with("word/document.xml", data)), [BODY]),
        "styles.xml": (reader(".docx", reading, lambda data: word_with("word/styles.xml", data)), [STYLES]),
        "sheet.xml": (reader(".xlsx", reading, xlsx), [sheet(ROWS)]),
        ".pdf": (reader(".pdf", reading), [pdf("One page", "another")]),
        ".xlsx": (reader(".xlsx", reading), [xlsx(sheet(ROWS))]),
        # Some damage makes pyarrow end its process, so it always runs isolated.
        ".parquet": (reader(".parquet", read_isolated), [_parquet()]),
        ".py": (reader(".py", reading), [b"import os\n\ndef one(a):\n    return a\n"]),
        "columns": (table, [b"id,text\n1,one\n2,two\n"]),
        "import.jsonl": (collection_file(".jsonl"), [HEADER + RECORD, b'{"text": "a"}\n']),
        "import.parquet": (collection_file(".parquet"), [_parquet()]),
    }
