"""Measure the cost of parsing files in separate processes: ``python benchmarks/readers.py [--files 10000]``.

The same files are parsed alternately in a separate process and in this one: parsing alone for each format, and indexing
for Markdown.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.append(str(Path(__file__).parent.parent / "tests"))

import docx
import psutil
from machine import machine, versions

from files import pdf
from mcp_server_embeddings import Engine, Reader, Settings, Sources, collection_add, open_store
from mcp_server_embeddings.reading import isolated
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.processes import reader_processes

PAGES, ROUNDS = 100, 5
WORDS = ("courier", "parcel", "neighbour", "answers", "door", "writes", "card", "leaves", "nobody", "street", "late")

Files = Sequence[tuple[str, bytes]]


def parsing(separate: bool) -> AbstractContextManager[object]:
    """Parse in separate processes where the server does, or everything in this process."""
    return nullcontext() if separate else patch.object(isolated, "is_isolated", lambda _: False)


def paragraphs(seed: int, count: int) -> list[str]:
    """Return paragraphs of 60 words each, different for each seed."""
    return [" ".join(f"{WORDS[(seed * n + at) % len(WORDS)]}{seed % 97}" for at in range(60)) for n in range(count)]


def markdown(seed: int) -> bytes:
    """Return a page of three sections, two kilobytes."""
    return "\n\n".join(f"## Section {seed}\n\n{text}" for text in paragraphs(seed, 3)).encode()


def html(seed: int) -> bytes:
    """Return a page of thirty paragraphs."""
    return f"<h1>Page {seed}</h1>{''.join(f'<p>{text}</p>' for text in paragraphs(seed, 30))}".encode()


def word(seed: int) -> bytes:
    """Return a document of thirty paragraphs."""
    document, packed = docx.Document(), io.BytesIO()
    for text in paragraphs(seed, 30):
        document.add_paragraph(text)
    document.save(packed)
    return packed.getvalue()


def pages(seed: int) -> bytes:
    """Return a PDF of three pages."""
    return pdf(*paragraphs(seed, 3))


def parse(files: Files, separate: bool, /) -> float:
    """Return the seconds to parse all files."""
    with parsing(separate):
        began = time.perf_counter()
        for name, content in files:
            read_documents(name, content)
        return time.perf_counter() - began


def index(folder: Path, engine: Engine, separate: bool, /) -> float:
    """Return the seconds to index all files of a folder into a new collection."""
    with tempfile.TemporaryDirectory() as data, parsing(separate):
        store = open_store(Settings(data_dir=Path(data)))
        began = time.perf_counter()
        collection_add(engine.embedder(), store, "c", source=[str(folder)], sources=Sources(store, Reader([folder])))
        seconds = time.perf_counter() - began
        store.close()
    return seconds


def in_turns(measured: Callable[[bool], float], rounds: int) -> tuple[float, float, float]:
    """Return the median seconds in this process and apart, and the median of their ratios."""
    pairs = [(measured(False), measured(True)) for _ in range(rounds)]
    return median(here for here, _ in pairs), median(apart for _, apart in pairs), median(b / a for a, b in pairs)


def first_file(name: str, content: bytes) -> tuple[float, float]:
    """Return the milliseconds for the first file of a new process, and its private memory in megabytes."""
    reader_processes(os.getpid()).close()
    began = time.perf_counter()
    read_documents(name, content)
    seconds = time.perf_counter() - began
    (process,) = (child for child in psutil.Process().children() if "reading.worker" in str(child.cmdline()))
    return 1_000 * seconds, process.memory_full_info().uss / 1e6


def main() -> None:
    """Print a line for each format and one for indexing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="number of Markdown files to index")
    count = parser.parse_args().files
    print(machine(), versions(), sep="\n")
    makers: dict[str, Callable[[int], bytes]] = {"md": markdown, "html": html, "docx": word, "pdf": pages}
    for suffix, make in makers.items():
        files = [(f"a.{suffix}", make(seed)) for seed in range(PAGES)]
        parse(files[:5], False)
        first = [first_file(*files[0]) for _ in range(ROUNDS)]
        here, apart, ratio = in_turns(partial(parse, files), ROUNDS)
        print(
            f".{suffix}: {1_000 * here / PAGES:.2f} ms a file here, {1_000 * apart / PAGES:.2f} apart, {ratio:.2f} x; "
            f"first file {median(ms for ms, _ in first):.0f} ms, {median(mb for _, mb in first):.0f} MB"
        )
    engine = Engine(Settings(no_cache=True))
    engine.start()
    engine.embedder().identity()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            Path(folder, f"{seed}.md").write_bytes(markdown(seed))
        here, apart, ratio = in_turns(partial(index, Path(folder), engine), 3)
    print(f"{count:,} .md indexed: {count / here:.0f} files a second here, {count / apart:.0f} apart, {ratio:.2f} x")
    engine.close()


if __name__ == "__main__":
    main()
