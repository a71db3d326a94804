"""Observe or delay what SQLite does to the disk: its writes to files and when it syncs them.

It patches the SQLite of its own process; see ``test_power_loss.py`` and ``test_slow_disk.py``.
"""

import _sqlite3
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_OPEN, _DELETE = 5, 6
"""Offsets of functions in ``sqlite3_vfs``, in words of eight bytes."""

_WRITE, _TRUNCATE, _SYNC = 3, 4, 5
"""Offsets of functions in ``sqlite3_io_methods``, whose first word is the version."""

_METHODS = 19

_word = ctypes.c_void_p
_Open = ctypes.CFUNCTYPE(ctypes.c_int, _word, _word, _word, ctypes.c_int, _word)
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, _word, ctypes.c_char_p, ctypes.c_int)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _word, _word, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, _word, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _word, ctypes.c_int)


@dataclass(frozen=True, slots=True)
class Event:
    """One operation on a file, or a line that the program printed in between."""

    kind: Literal["write", "truncate", "sync", "delete", "said"]
    name: str
    offset: int = 0
    data: bytes = b""


def watch(observe: Callable[[Event], None]) -> None:
    """Call ``observe`` after each operation on a file that SQLite opens from now on; for a sync, before it."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = _word
    vfs = (_word * 8).from_address(library.sqlite3_vfs_find(None))
    _Shim(observe).install(vfs)


class _Shim:
    """Wraps some functions of SQLite's default VFS."""

    _callbacks: ClassVar[list[Any]] = []
    """Callbacks that C code points to; they must never be freed."""

    def __init__(self, observe: Callable[[Event], None]) -> None:
        self._observe = observe
        self._names: dict[int, str] = {}
        self._tables: dict[int, Any] = {}

    def install(self, vfs: "ctypes.Array[ctypes.c_void_p]") -> None:
        open_file, delete = _Open(vfs[_OPEN]), _Delete(vfs[_DELETE])  # type: ignore[arg-type]

        def on_open(this: int, name: int | None, file: int, flags: int, out: int | None) -> int:
            status: int = open_file(this, name, file, flags, out)
            methods = _word.from_address(file)
            if status == 0 and name and methods.value:
                self._names[file] = os.fsdecode(ctypes.string_at(name))
                methods.value = self._table(methods.value)
            return status

        def on_delete(this: int, name: bytes, sync: int) -> int:
            status: int = delete(this, name, sync)
            if status == 0:
                self._observe(Event("delete", os.fsdecode(name)))
            return status

        vfs[_OPEN] = self._pointer(_Open(on_open))
        vfs[_DELETE] = self._pointer(_Delete(on_delete))

    def _pointer(self, function: Any) -> int | None:
        self._callbacks.append(function)
        return ctypes.cast(function, _word).value

    def _table(self, original: int) -> int:
        if original not in self._tables:
            table = (_word * _METHODS).from_buffer_copy(ctypes.string_at(original, 8 * _METHODS))
            write, truncate, sync = _Write(table[_WRITE]), _Truncate(table[_TRUNCATE]), _Sync(table[_SYNC])  # type: ignore[arg-type]

            def on_write(file: int, data: int, size: int, offset: int) -> int:
                status: int = write(file, data, size, offset)
                self._observe(Event("write", self._names[file], offset, ctypes.string_at(data, size)))
                return status

            def on_truncate(file: int, size: int) -> int:
                status: int = truncate(file, size)
                self._observe(Event("truncate", self._names[file], size))
                return status

            def on_sync(file: int, flags: int) -> int:
                self._observe(Event("sync", self._names[file]))
                status: int = sync(file, flags)
                return status

            table[_WRITE], table[_TRUNCATE] = self._pointer(_Write(on_write)), self._pointer(_Truncate(on_truncate))
            table[_SYNC] = self._pointer(_Sync(on_sync))
            self._tables[original] = table
        return ctypes.addressof(self._tables[original])
