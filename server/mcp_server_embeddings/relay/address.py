"""Where the engine process of given settings is reached, and what must be true of that place."""

import fcntl
import json
import os
import socket
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from mcp_server_embeddings.config import DISTRIBUTION, VERSION, Settings, default_cache_dir
from mcp_server_embeddings.errors import UnsafePlaceError
from mcp_server_embeddings.relay.peer import is_same_user

_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "OMP_NUM_THREADS",
    "SENTENCE_TRANSFORMERS_HOME",
    "TRANSFORMERS_CACHE",
)
"""Variables that change what an engine loads or computes."""

_MAX_PATH = 100
"""Bytes of a socket's path: macOS allows 103, Linux 107."""

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """The files of one engine process.

    Attributes:
        folder: Private to the user.
        key: Stands for the program and the settings that decide vectors and storage.
    """

    folder: Path
    key: str

    @classmethod
    def of(cls, listener: socket.socket) -> "EngineAddress":
        """Return the address at which a socket listens."""
        path = Path(listener.getsockname())
        return cls(path.parent, path.stem)

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self.folder / f"{self.key}.sock"

    @property
    def log_path(self) -> Path:
        """Where it logs."""
        return self.folder / f"{self.key}.log"

    def connect(self) -> socket.socket | None:
        """Connect to the engine process; None if there is none.

        Raises:
            UnsafePlaceError: What is there is not a socket of this user's, or another user listens.
        """
        try:
            status = self.socket_path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise UnsafePlaceError(f"{self.socket_path} is not a socket of this user; remove it")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.socket_path))
        except OSError:  # nobody listens any more
            connection.close()
            return None
        if not is_same_user(connection):
            connection.close()
            raise UnsafePlaceError(f"another user's process listens at {self.socket_path}")
        return connection

    def listen(self) -> socket.socket:
        """Listen there; call it with the lock, when nobody else does.

        Raises:
            OSError: It is not possible.
        """
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self.socket_path))
            self.socket_path.chmod(0o600)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    @contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the right to start or to end the engine process.

        Args:
            wait: For another process that has it; otherwise the block gets False where one has.
        """
        descriptor = os.open(self.folder / f"{self.key}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def engine_address(settings: Settings) -> EngineAddress:
    """Return where the engine process of these settings is; its folder is made.

    Raises:
        UnsafePlaceError: The folder is another user's, a link, or open to others.
        OSError: No folder can be made.
    """
    return EngineAddress(_private_folder(), engine_key(settings))


def engine_key(settings: Settings) -> str:
    """Return what stands for this installation of the program and the settings of its engine."""
    decisive = {field.name: str(getattr(settings, field.name)) for field in fields(Settings) if _decides(field.name)}
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    program = (VERSION, sys.version, sys.prefix, __file__, _edited())
    written = json.dumps([program, sorted(decisive.items()), sorted(environment.items())]).encode()
    # Only the user's own settings are to be told apart; hashlib would make a relay a third larger.
    return f"{zlib.crc32(written):08x}{zlib.adler32(written):08x}"


def _edited() -> float:
    """Return when the program was last edited where it runs from a checkout, so that edits are served at once."""
    package = Path(__file__).parent.parent
    if "site-packages" in package.parts:
        return 0.0
    return max(file.stat().st_mtime for file in package.rglob("*.py"))


def _decides(name: str) -> bool:
    return any(field.name == name and field.metadata["scope"] == "engine" for field in fields(Settings))


def _private_folder() -> Path:
    """Make the folder of the sockets, in the first place that the user has to themselves."""
    user = os.geteuid()
    runtime = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"]
    # Clients start servers without XDG_RUNTIME_DIR; their engine is still that of the user's other sessions.
    places = [Path(place) / DISTRIBUTION for place in runtime if place and _is_owned(Path(place), user)]
    places.append(default_cache_dir() / "run")
    folder = next((place for place in places if len(os.fsencode(place)) + 22 <= _MAX_PATH), Path(f"/tmp/mse-{user}"))  # noqa: S108 - checked below
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or stat.S_IMODE(status.st_mode) & 0o077:
            raise UnsafePlaceError(
                f"{folder} must be a folder of this user with mode 0700, so that nobody else can listen there; "
                "remove it or correct it"
            ) from None
    return folder


def _is_owned(folder: Path, user: int) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user
