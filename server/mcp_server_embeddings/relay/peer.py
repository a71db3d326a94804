"""Identify the user at the other end of a Unix socket."""

import os
import socket
import struct
import sys

_MAC_LEVEL, _MAC_OPTION, _MAC_BYTES = 0, 1, 76
"""SOL_LOCAL, LOCAL_PEERCRED and the size of struct xucred in macOS's <sys/un.h> and <sys/ucred.h>."""


def peer_user(connection: socket.socket) -> int:
    """Return the user id of the peer process, as reported by the kernel.

    Raises:
        OSError: The system does not report it.
    """
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_MAC_LEVEL, _MAC_OPTION, _MAC_BYTES)
        return int(struct.unpack_from("=II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def is_same_user(connection: socket.socket) -> bool:
    """Return whether the peer process belongs to the user of this process."""
    try:
        return peer_user(connection) == os.geteuid()
    except OSError:
        return False
