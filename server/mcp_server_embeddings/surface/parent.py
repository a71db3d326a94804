"""Noticing that the process that started this one is gone, without polling where the system allows."""

import os
import select
import sys
import time

_POLL_SECONDS = 0.2


def wait_for_parent_exit() -> None:
    """Block until the parent process has ended.

    A client that is killed usually closes our standard input as well; a copy of that pipe in a sibling
    process keeps it open, and then this is the only sign.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        _wait_linux(parent)
    elif sys.platform == "win32":
        _wait_windows(parent)
    else:
        _wait_polling(parent)


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


def _wait_polling(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)


def _wait_windows(parent: int) -> None:
    if sys.platform == "win32":  # for the type checker, which checks each platform's own branches
        import ctypes

        synchronize, forever = 0x0010_0000, 0xFFFF_FFFF
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, parent)
        if handle:
            ctypes.windll.kernel32.WaitForSingleObject(handle, forever)
