"""Wait for the parent process to exit, without polling where the system allows it."""

import os
import select
import sys
import time

_POLL_SECONDS = 0.2


def wait_for_parent_exit() -> bool:
    """Block until the parent process has exited.

    Reading standard input to its end is not enough: when a client is killed, a copy of the pipe in a sibling process
    can keep it open.

    Returns:
        True when the parent has exited, False when this process is not allowed to watch it.
    """
    parent = os.getppid()
    if sys.platform == "win32":
        return _wait_windows(parent)
    if sys.platform == "linux":
        _wait_linux(parent)
    else:
        _wait_polling(parent)
    return True


def _wait_polling(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)


if sys.platform == "linux":

    def _wait_linux(parent: int) -> None:
        try:
            descriptor = os.pidfd_open(parent)
        except OSError:  # already gone, or a kernel before 5.3
            _wait_polling(parent)
            return
        if os.getppid() == parent:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
        os.close(descriptor)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE = 0x0010_0000
    _FOREVER = 0xFFFF_FFFF
    _SIGNALLED = 0
    _NO_SUCH_PROCESS = 87  # ERROR_INVALID_PARAMETER, set by OpenProcess when no process has the id

    def _wait_windows(parent: int) -> bool:
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel32.OpenProcess.restype = wintypes.HANDLE
        kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
        kernel32.WaitForSingleObject.restype = wintypes.DWORD
        handle = kernel32.OpenProcess(_SYNCHRONIZE, False, parent)
        if not handle:
            return ctypes.get_last_error() == _NO_SUCH_PROCESS
        return bool(kernel32.WaitForSingleObject(handle, _FOREVER) == _SIGNALLED)
