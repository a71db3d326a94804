"""The file descriptors that carry the protocol, protected from everything else in the process.

While serving, descriptor 0 is the null device and descriptor 1 is standard error. So a library's ``print``,
a C library's ``printf`` and a child process can neither read a request nor write into an answer, before,
during or after serving. On Windows, an import cannot block on a standard handle while another thread reads the
pipe, since the standard handles are not pipes any more.
"""

import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would take a tenth of a relay's memory
    from typing import BinaryIO


class Wire:
    """The two pipes to the client."""

    def __init__(self, reader: "BinaryIO", writer: "BinaryIO") -> None:
        self.reader = reader
        self.writer = writer

    def hung_up(self) -> bool:
        """Return whether the client has closed its end, even if data is left to read; always False on Windows."""
        if sys.platform == "win32":
            return False
        poll = select.poll()
        poll.register(self.reader, 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))


def claim_wire() -> Wire:
    """Reserve standard input and output for the protocol, for the rest of the process's life.

    Call this before importing anything that might print.
    """
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout.flush()
    os.dup2(2, 1)
    if sys.platform == "win32":
        _set_standard_handles()
    return Wire(os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0))


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _STANDARD_HANDLES = {0: -10, 1: -11}  # STD_INPUT_HANDLE, STD_OUTPUT_HANDLE by descriptor

    def _set_standard_handles() -> None:
        """Set Windows' standard handles to the new descriptors, for child processes and C libraries that query them."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.SetStdHandle.argtypes = (wintypes.DWORD, wintypes.HANDLE)
        for descriptor, number in _STANDARD_HANDLES.items():
            if not kernel32.SetStdHandle(number & 0xFFFF_FFFF, msvcrt.get_osfhandle(descriptor)):
                raise ctypes.WinError(ctypes.get_last_error())
