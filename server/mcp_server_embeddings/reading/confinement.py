"""Drop access that a parser does not need (other files, programs, network, signals) with Landlock and seccomp."""

import ctypes
import errno
import os
import platform
import stat
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of ``landlock_create_ruleset``, ``landlock_add_rule``, ``landlock_restrict_self``, on every processor."""

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
"""Two options of ``prctl``, and the seccomp mode that runs a filter program for each system call."""

_VERSION = _BENEATH = 1
_READ_FILE, _READ_FOLDER = 0b0100, 0b1000

_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_TCP = {4: 0b11}
_SCOPES = {6: 0b11}
"""Rights by the Landlock version that introduced them: files; TCP bind and connect; abstract sockets and signals."""

_SYSTEM_PATHS = (
    *("/usr", "/lib", "/lib64", "/opt", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/etc/ssl", "/sys/devices/system"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)
"""Programs, libraries and system data. Parsers import modules and load libraries when they meet a rare feature."""

_SOCKET_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""By processor: its seccomp identifier (``AUDIT_ARCH_…``) and the number of ``socket``."""

_IO_URING = 425
"""Number of ``io_uring_setup`` on every processor: io_uring can create sockets without calling ``socket``."""

_X32_CALLS = 0x40000000
"""System call numbers from here on belong to the x32 interface of x86_64."""


def confine() -> bool:
    """Confine this thread and those it starts irrevocably; return whether the kernel supports it (since Linux 5.13)."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _refuse_sockets(libc)
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    files, tcp, scopes = (
        max((rights for since, rights in known.items() if since <= version), default=0)
        for known in (_FILES, _TCP, _SCOPES)
    )
    attributes = struct.pack("QQQ", files, tcp, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    _allow_reading(libc, rules, {*_SYSTEM_PATHS, *_own_folders()})
    confined: bool = libc.syscall(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return confined


def _own_folders() -> set[str]:
    """Return the folders of this program and its libraries; the working directory only if it is the program's own."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    program = Path(__file__).absolute().parents[2]
    return {*sys.path, *libraries, sys.prefix, sys.base_prefix} - {"", str(Path.cwd())} | {str(program)}


def _allow_reading(libc: ctypes.CDLL, rules: int, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):  # not on this system
            descriptor = os.open(path, os.O_PATH)
            rights = _READ_FILE | (_READ_FOLDER if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 0)
            libc.syscall(_ADD, rules, _BENEATH, struct.pack("=Qi", rights, descriptor), 0)
            os.close(descriptor)


def _refuse_sockets(libc: ctypes.CDLL) -> None:
    """Have the kernel refuse to create sockets of any kind: Landlock covers only TCP."""
    if platform.machine() not in _SOCKET_CALLS:
        return
    processor, socket = _SOCKET_CALLS[platform.machine()]
    load, equal, at_least, ret = 0x20, 0x15, 0x35, 0x06
    program = [  # operation, instructions to skip if true, if false, and operand
        (load, 0, 0, 4),
        (equal, 0, 5, processor),
        (load, 0, 0, 0),
        (at_least, 3, 0, _X32_CALLS),
        (equal, 2, 0, socket),
        (equal, 1, 0, _IO_URING),
        (ret, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (ret, 0, 0, 0x00050000 | errno.EACCES),  # SECCOMP_RET_ERRNO
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    libc.prctl(_SECCOMP, _FILTER, struct.pack("HP", len(program), ctypes.addressof(code)), 0, 0)
