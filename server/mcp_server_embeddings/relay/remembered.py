"""Sessions that an engine process has accepted, so that the same command starts without parsing its options again."""

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
"""Variables that change what an engine loads or computes."""

_VARIABLES = (*ENGINE_VARIABLES, "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
"""Variables that decide, with those of the settings, what a command line amounts to."""


def checksum(*parts: object) -> str:
    """Return 16 digits that stand for some values.

    Only the user's own settings are to be told apart; hashlib would make a relay a third larger.
    """
    written = repr(parts).encode("utf-8", "surrogateescape")
    return f"{zlib.crc32(written):08x}{zlib.adler32(written):08x}"


def program() -> tuple[object, ...]:
    """Return what stands for this installation of the program."""
    return VERSION, sys.version, sys.prefix, __file__, _edited()


def command_checksum() -> str:
    """Return what stands for this process's command line, variables and working directory."""
    variables = sorted(item for item in os.environ.items() if item[0].startswith(ENVIRONMENT_PREFIX))
    others = [os.environ.get(name) for name in _VARIABLES]
    return checksum(program(), sys.argv[1:], variables, others, database_variables(), os.getcwd())


def database_variables() -> list[tuple[str, str]]:
    """Return the variables that tell PostgreSQL's library which database is meant, and by whom it is asked."""
    return sorted(item for item in os.environ.items() if item[0].startswith("PG"))


def remembered() -> tuple[EngineAddress, bytes] | None:
    """Return the address and the greeting of this command's last session, while its engine process lives."""
    try:
        folder = private_folder()
        with open(_path(folder, command_checksum()), "rb") as file:
            key, _, greeting = file.read().partition(b"\n")
    except (OSError, UnsafePlaceError):
        return None
    return EngineAddress(folder, key.decode()), greeting


def remember(address: EngineAddress, command: str, greeting: bytes) -> None:
    """Keep a greeting that an engine process has accepted.

    Args:
        address: Of the engine process.
        command: Of ``command_checksum``.
        greeting: The line.
    """
    path = _path(address.folder, command)
    with open(f"{path}.tmp", "wb") as file:
        file.write(address.key.encode() + b"\n" + greeting)
    os.replace(f"{path}.tmp", path)


def forget(address: EngineAddress) -> None:
    """Remove what was kept of an engine process's sessions."""
    for name in os.listdir(address.folder):
        path = os.path.join(address.folder, name)
        if name.endswith(".session"):
            with open(path, "rb") as file:
                own = file.readline() == address.key.encode() + b"\n"
            if own:
                os.unlink(path)


def _path(folder: str, command: str) -> str:
    return os.path.join(folder, f"{command}.session")


@functools.cache
def _edited() -> float:
    """Return when the program was last edited where it runs from a checkout, so that edits are served at once."""
    package = os.path.dirname(os.path.dirname(__file__))
    if "site-packages" in package:
        return 0.0
    return max(
        os.stat(os.path.join(folder, name)).st_mtime
        for folder, _, names in os.walk(package)
        for name in names
        if name.endswith(".py")
    )
