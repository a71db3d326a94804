"""The address of an engine process, and the ownership and permissions that its socket and folder must have."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server_embeddings.errors import UnsafePlaceError
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.relay.peer import is_same_user

_MAX_PATH = 100
"""Maximum length of a socket path in bytes: macOS allows 103, Linux 107."""

_BACKLOG = 128


class EngineAddress:
    """The socket, log and lock files of one engine process.

    Args:
        folder: A folder private to the user; see ``private_folder``.
        key: Identifies the program and the settings of the engine.
    """

    def __init__(self, folder: str, key: str) -> None:
        self.folder = folder
        self.key = key
        self.socket_path = os.path.join(folder, f"{key}.sock")
        self.log_path = os.path.join(folder, f"{key}.log")

    @classmethod
    def of(cls, listener: socket.socket) -> "EngineAddress":
        """Return the address at which a socket listens."""
        folder, name = os.path.split(listener.getsockname())
        return cls(folder, name.removesuffix(".sock"))

    def connect(self) -> socket.socket | None:
        """Connect to the engine process; None if there is none.

        Raises:
            UnsafePlaceError: The path is not a socket owned by this user, or another user's process listens on it.
        """
        try:
            status = os.lstat(self.socket_path)
        except FileNotFoundError:
            return None
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise UnsafePlaceError(f"{self.socket_path} is not a socket of this user; remove it")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.socket_path)
        except OSError:  # a stale socket: its process has ended
            connection.close()
            return None
        if not is_same_user(connection):
            connection.close()
            raise UnsafePlaceError(f"another user's process listens at {self.socket_path}")
        return connection

    def listen(self) -> socket.socket:
        """Listen on the socket, replacing a stale one. The caller must hold the lock.

        Raises:
            OSError: The socket cannot be created.
        """
        if os.path.lexists(self.socket_path):
            os.unlink(self.socket_path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(self.socket_path)
            os.chmod(self.socket_path, 0o600)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    @contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock that is required to start or stop the engine process.

        Args:
            wait: Wait while another process holds the lock. If false, the block gets False instead of waiting.
        """
        import fcntl  # deferred: it is missing on Windows, where other modules import constants of the relay

        path = os.path.join(self.folder, f"{self.key}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def private_folder() -> str:
    """Create the folder of the sockets, in the first candidate directory that belongs to the user.

    Raises:
        UnsafePlaceError: The folder belongs to another user, is a link, or is accessible to others.
        OSError: The folder cannot be created.
    """
    user = os.geteuid()
    # Some clients start servers without XDG_RUNTIME_DIR; their sessions must find the same engine as the user's others.
    parents = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"]
    candidates = [os.path.join(parent, DISTRIBUTION) for parent in parents if parent and _is_owned(parent, user)]
    folder = next(filter(_is_short, candidates), None) or _fallback_folder()
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    try:
        os.mkdir(folder, mode=0o700)
    except FileExistsError:
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or stat.S_IMODE(status.st_mode) & 0o077:
            raise UnsafePlaceError(
                f"{folder} must be a folder of this user with mode 0700, so that nobody else can listen there; "
                "remove it or correct it"
            ) from None
    return folder


def _fallback_folder() -> str:
    from mcp_server_embeddings.config import default_cache_dir  # deferred: imports more than the rest of a relay

    folder = str(default_cache_dir() / "run")
    return folder if _is_short(folder) else f"/tmp/{DISTRIBUTION}-{os.geteuid()}"  # noqa: S108 - its owner is checked


def _is_short(folder: str) -> bool:
    return len(os.fsencode(folder)) + len("/0123456789abcdef.sock") <= _MAX_PATH


def _is_owned(folder: str, user: int) -> bool:
    try:
        status = os.stat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user
