"""Greetings that an engine process has accepted, stored so that the same command starts without parsing its options."""

import functools
import os
import sys
import zlib

from mcp_server_embeddings.errors import UnsafePlaceError
from mcp_server_embeddings.program import ENVIRONMENT_PREFIX, VERSION
from mcp_server_embeddings.relay.address import EngineAddress, private_folder

ENGINE_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "OMP_NUM_THREADS",
    "SENTENCE_TRANSFORMERS_HOME",
    "TRANSFORMERS_CACHE",
)
"""Environment variables that affect what an engine loads or computes."""

_COMMAND_VARIABLES = (*ENGINE_VARIABLES, "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
"""Environment variables that, in addition to those of the settings, affect the meaning of a command line."""


def checksum(*parts: object) -> str:
    """Return a checksum of some values as 16 hexadecimal digits.

    It only has to distinguish one user's own settings, so it need not be cryptographic; importing hashlib would make a
    relay a third larger.
    """
    encoded = repr(parts).encode("utf-8", "surrogateescape")
    return f"{zlib.crc32(encoded):08x}{zlib.adler32(encoded):08x}"


def installation() -> tuple[object, ...]:
    """Return values that identify this installation of the program."""
    return VERSION, sys.version, sys.prefix, __file__, _last_edit()


def command_checksum() -> str:
    """Return a checksum of this process's command line, environment variables and working directory."""
    settings = sorted(item for item in os.environ.items() if item[0].startswith(ENVIRONMENT_PREFIX))
    values = [os.environ.get(name) for name in _COMMAND_VARIABLES]
    return checksum(installation(), sys.argv[1:], settings, values, database_variables(), os.getcwd())


def database_variables() -> list[tuple[str, str]]:
    """Return the environment variables from which PostgreSQL's library takes the database and the user."""
    return sorted(item for item in os.environ.items() if item[0].startswith("PG"))


def recall() -> tuple[EngineAddress, bytes] | None:
    """Return the address and the greeting stored for this command, if any; an engine removes its own when it ends."""
    try:
        folder = private_folder()
        with open(_session_path(folder, command_checksum()), "rb") as file:
            key, _, greeting = file.read().partition(b"\n")
    except (OSError, UnsafePlaceError):
        return None
    return EngineAddress(folder, key.decode()), greeting


def remember(address: EngineAddress, command: str, greeting: bytes) -> None:
    """Store a greeting that an engine process has accepted.

    Args:
        address: The address of the engine process.
        command: The result of ``command_checksum``.
        greeting: The greeting as a line.
    """
    path = _session_path(address.folder, command)
    with open(f"{path}.tmp", "wb") as file:
        file.write(address.key.encode() + b"\n" + greeting)
    os.replace(f"{path}.tmp", path)


def forget(address: EngineAddress) -> None:
    """Remove the stored greetings of an engine process."""
    for name in os.listdir(address.folder):
        path = os.path.join(address.folder, name)
        if name.endswith(".session"):
            with open(path, "rb") as file:
                is_own = file.readline() == address.key.encode() + b"\n"
            if is_own:
                os.unlink(path)


def _session_path(folder: str, command: str) -> str:
    return os.path.join(folder, f"{command}.session")


@functools.cache
def _last_edit() -> float:
    """Return when a source file in a checkout was last modified, so that edits take effect at once; 0 if installed."""
    package = os.path.dirname(os.path.dirname(__file__))
    if "site-packages" in package:
        return 0.0
    return max(
        os.stat(os.path.join(folder, name)).st_mtime
        for folder, _, names in os.walk(package)
        for name in names
        if name.endswith(".py")
    )
