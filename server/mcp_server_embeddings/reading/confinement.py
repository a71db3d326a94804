"""Give up what a parser does not need: writing files, starting programs, TCP, signals to others; by Landlock."""

import ctypes
import os
import struct
import sys

_CREATE, _RESTRICT, _NO_NEW_PRIVILEGES = 444, 446, 38
"""Numbers of ``landlock_create_ruleset``, ``landlock_restrict_self``, the same on every processor, and of an option."""

_VERSION = 1
_READ = 0b1100
"""The rights to read files and folders. They are kept: parsers import modules when they meet something rare."""

_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_TCP = {4: 0b11}
_SCOPES = {6: 0b11}
"""Rights by the version of Landlock that has them: on files, to bind and connect, and abstract sockets and signals."""


def confine() -> bool:
    """Confine this thread and those it starts, for good; returns whether the kernel can (since Linux 5.13)."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    files, tcp, scopes = (
        max((rights for since, rights in known.items() if since <= version), default=0)
        for known in (_FILES, _TCP, _SCOPES)
    )
    attributes = struct.pack("QQQ", files & ~_READ, tcp, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    confined: bool = libc.syscall(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return confined
