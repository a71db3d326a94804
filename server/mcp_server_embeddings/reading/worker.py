"""The process that parses files, started by ``processes``.

A request consists of two lengths, JSON, and the content of a file. The answer is a sequence of JSON parts, each after
its length: a list is part of the result, a string explains why there is no result, null ends the answer. Between
requests the process waits on standard input. It ends with the process that started it, on Linux even while parsing.
"""

import functools
import json
import os
import signal
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from mcp_server_embeddings.reading.cells import Cell, Cells
from mcp_server_embeddings.reading.confinement import confine
from mcp_server_embeddings.reading.document import Document, Parsing, UnreadableError
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.parsing import kind, parse_cells, parse_documents, suffix_of, time_limit

REQUEST = struct.Struct("!QQ")
PART = struct.Struct("!Q")

OUT_OF_MEMORY = 3
"""Exit status. After running out of memory a parser may be in an inconsistent state, so the process ends."""

_RESERVED_BYTES = 1_000
"""Bytes of an answer that are reserved for its end, or for the reason why there is no result."""

_CHARACTERS, _CELLS = 500_000, 65_536
"""Maximum of one part: the requesting process holds its interpreter's lock while it decodes a part."""


class Worker:
    """Answers requests. It keeps the last table, whose columns are requested one by one."""

    def __init__(self) -> None:
        self._cells: Cells | None = None

    def answer(self, request: Mapping[str, Any], content: bytes, parsing: Parsing) -> Iterator[bytes]:
        """Yield the parts of the answer; turn any error of a parser into a reason.

        Args:
            request: ``path``, whose suffix determines the format; ``column``: None for documents, -1 for the column
                names and other properties of a table, otherwise the index of one column.
            content: All bytes of the file; empty for a column of the table that was parsed last.
            parsing: Limits and cancellation.

        Raises:
            MemoryError: There is not enough memory.
        """
        try:
            yield from self._encoded_parts(request, content, parsing)
        except MemoryError:
            raise
        except UnreadableError as error:
            yield _json(error.reason)
        except RecursionError:
            yield _json("nested too deep; save it as text")
        except Exception as error:  # the outermost edge of this process
            if 2 * _peak() > parsing.limits.memory_bytes:  # lxml reports a lack of memory as a syntax error
                raise MemoryError from error
            yield _json(f"not {kind(request['path'])}, or a corrupt one ({type(error).__name__}); save it again")

    def _encoded_parts(self, request: Mapping[str, Any], content: bytes, parsing: Parsing) -> Iterator[bytes]:
        remaining = parsing.limits.answer_bytes
        for part in self._parts(request["path"], request["column"], content, parsing):
            encoded = _json(part)
            remaining -= len(encoded)
            if remaining < _RESERVED_BYTES:
                raise UnreadableError(f"its text has over {parsing.limits.answer_bytes:,} bytes; split the file")
            yield encoded
        yield _json(None)

    def _parts(self, path: str, column: int | None, content: bytes, parsing: Parsing) -> Iterator[list[Any]]:
        if column is None:
            yield from _document_parts(parse_documents(path, content, parsing))
            return
        if content:
            self._cells = None
            self._cells = parse_cells(suffix_of(path), content, parsing)
        assert self._cells is not None  # noqa: S101 - the first request for a table has its content
        if column < 0:
            yield [self._cells.names, self._cells.rows, self._cells.notes, self._cells.typed]
            return
        cells = self._cells.column(column)
        for start in range(0, len(cells), _CELLS):
            yield _encode_cells(cells[start : start + _CELLS])


def _document_parts(documents: Sequence[Document]) -> Iterator[list[Any]]:
    part: list[Any] = []
    characters = 0
    for document in documents:
        sections = [(section.start, section.end, section.heading) for section in document.sections]
        part.append((document.suffix, document.text, sections, document.metadata))
        characters += len(document.text)
        if characters > _CHARACTERS:
            yield part
            part, characters = [], 0
    yield part


def _encode_cells(cells: list[Cell]) -> list[Any]:
    """Encode cells as the distinct strings, and per cell the index of its string or a list with its other value.

    Many cells may share one long string.
    """
    indices: dict[str, int] = {}
    encoded = [indices.setdefault(cell, len(indices)) if isinstance(cell, str) else [cell] for cell in cells]
    return [list(indices), encoded]


def _json(part: list[Any] | str | None) -> bytes:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent process, which ends this one
    requests, replies, lifeline = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"), os.dup(2)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # the output of parsers may quote files
        os.dup2(null, descriptor)
    _end_with_parent(lifeline)
    with suppress(OSError):  # if memory runs out, Linux ends this process and not the server
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _peak()  # opens /proc/self/status, which cannot be opened after confine()
    confine()
    worker = Worker()
    while head := requests.read(REQUEST.size):
        request_size, size = REQUEST.unpack(head)
        request = json.loads(requests.read(request_size))
        parsing = Parsing(ReadingLimits(**request["limits"]))
        _limit(parsing.limits, request["path"])
        try:
            _send(replies, worker.answer(request, requests.read(size), parsing))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _send(replies: BinaryIO, parts: Iterator[bytes]) -> None:
    for part in parts:
        replies.write(PART.pack(len(part)))
        replies.write(part)
    replies.flush()


@functools.cache
def _status_file() -> int:
    return os.open("/proc/self/status", os.O_RDONLY)


def _peak() -> int:
    """Return the peak memory of this process in bytes; 0 on systems other than Linux."""
    if sys.platform != "linux":
        return 0
    status = os.pread(_status_file(), 10_000, 0).decode("ascii", "replace")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(peak.split()[1])  # not ru_maxrss, which starts from the parent's value


if sys.platform == "linux":
    import fcntl

    def _end_with_parent(lifeline: int) -> None:
        """Have the kernel end this process when the other end of a pipe closes, even while a parser holds the lock.

        PR_SET_PDEATHSIG is unsuitable: it ends the process with the thread that started it.
        """
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

else:

    def _end_with_parent(lifeline: int) -> None:
        """Do nothing: the process ends with standard input, after at most the time limit of the current file."""


if sys.platform != "win32":
    import resource

    def _limit(limits: ReadingLimits, path: str) -> None:
        """Limit memory and processor time, and forbid core dumps and writing files, for the next request."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_seconds = int(used.ru_utime + used.ru_stime + time_limit(path, limits)) + 2
        for resource_id, soft in (
            (resource.RLIMIT_AS, limits.memory_bytes),
            (resource.RLIMIT_CPU, cpu_seconds),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
        ):
            hard = resource.getrlimit(resource_id)[1]
            resource.setrlimit(resource_id, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))

else:

    def _limit(limits: ReadingLimits, path: str) -> None:
        """Do nothing: the requesting process ends this one after the time limit of one file."""
