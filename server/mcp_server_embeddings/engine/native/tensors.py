"""Map the tensors of a safetensors file into memory.

A file has eight bytes with the length of the header, a JSON header with type, shape and offsets of each tensor, and
the data (https://github.com/huggingface/safetensors, "Format").
"""

import json
import math
import mmap
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter, ValidationError

from mcp_server_embeddings.engine.native.files import UnsupportedModelError
from mcp_server_embeddings.errors import ModelLoadError

Tensor = NDArray[np.float32]

_MAX_HEADER = 100_000_000
"""Limit of the header in bytes, the same as in the safetensors library."""

_PREFIX = 8

_OTHER_TYPES = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}
"""Types of the tensors that Model2Vec stores in addition to its vectors."""


class _Entry(BaseModel):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_HEADER = TypeAdapter(dict[str, _Entry])


class Tensors(Mapping[str, Tensor]):
    """Tensors by name, as float32. Tensors stored as float32 share the memory of the mapped file.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        ModelLoadError: The file is corrupt.
        UnsupportedModelError: The file is missing: the weights are in another format.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UnsupportedModelError(f"there is no {path.name} beside the model's configuration")
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # OpenVINO requires writable memory
            self._entries, self._start = _read_header(self._data)
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{str(path)!r} is not a valid safetensors file ({error}); fetch it again") from None

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        start, end = (self._start + offset for offset in entry.data_offsets)
        raw = np.frombuffer(self._data, np.uint8, end - start, start)
        if entry.dtype == "F32":
            return raw.view("<f4").reshape(entry.shape)
        if entry.dtype == "F16":
            return raw.view("<f2").astype(np.float32).reshape(entry.shape)
        if entry.dtype == "BF16":  # the upper half of a float32
            return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
        if entry.dtype in _OTHER_TYPES:
            return raw.view(_OTHER_TYPES[entry.dtype]).astype(np.float32).reshape(entry.shape)
        raise UnsupportedModelError(f"tensor {name!r} has the type {entry.dtype}")

    def release(self) -> None:
        """Drop the mapped pages from memory, if the system supports it; a later access reads them from the file again.

        A compiled graph has its own copies of most weights. Nothing writes to the pages, so none can be lost.
        """
        if sys.platform != "win32":
            self._data.madvise(mmap.MADV_DONTNEED)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _read_header(data: mmap.mmap) -> tuple[dict[str, _Entry], int]:
    """Read the entries by name and the offset of the data.

    Raises:
        ValueError: The header is inconsistent with the file.
    """
    if len(data) < _PREFIX:
        raise ValueError("shorter than its header")
    (length,) = struct.unpack("<Q", data[:_PREFIX])
    start = _PREFIX + length
    if length > min(_MAX_HEADER, len(data) - _PREFIX):
        raise ValueError("the header is longer than the file")
    try:
        header = json.loads(data[_PREFIX:start])
        entries = _HEADER.validate_python({k: v for k, v in header.items() if k != "__metadata__"})
    except (ValidationError, AttributeError, RecursionError):
        raise ValueError("the header is corrupt") from None
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        if not 0 <= begin <= end <= len(data) - start or min(entry.shape, default=0) < 0:
            raise ValueError(f"tensor {name!r} lies outside the file")
        if end - begin != _size(entry):
            raise ValueError(f"tensor {name!r} has a size that does not match its shape")
    return entries, start


def _size(entry: _Entry) -> int:
    """Return the bytes of a tensor; the name of its type ends in the number of bits."""
    bits = int("".join(c for c in entry.dtype.split("_")[0] if c.isdigit()) or 8)
    return math.prod(entry.shape) * bits // 8
