"""Bearer tokens, checked against a file of their hashes.

A token is 32 random bytes, so it cannot be guessed from its SHA-256 and a slow hash is not needed.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from mcp.server.auth.provider import AccessToken
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_server_embeddings.errors import ConfigurationError

_NAME_PATTERN = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9_-]{0,62}")
"""Names that can be a folder's on every system, with or without letter case; excludes the device names of Windows."""

_PREFIX = "mse_"
"""Prefix of every token, by which secret scanners can find a published one."""

METRICS = "metrics"
"""The scope that ``/metrics`` requires."""


class Entry(BaseModel):
    """The entry of one tenant in the file.

    Attributes:
        sha256: Hash of the token, in hexadecimal.
        rate: Maximum number of requests per minute.
        concurrency: Maximum number of requests at a time.
        allow_dir: Folders whose files the tenant may read.
        output_dir: Folder that ``save_as`` writes to; None for ``output`` in the tenant's data folder.
        metrics: Whether the tenant may read ``/metrics``, which lists the names of all tenants.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    rate: int = Field(default=600, ge=1, le=1_000_000)
    concurrency: int = Field(default=16, ge=1, le=256)
    allow_dir: tuple[Path, ...] = ()
    output_dir: Path | None = None
    metrics: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders whose files the tenant can read or write."""
        return self.allow_dir if self.output_dir is None else (*self.allow_dir, self.output_dir)


class TokenVerifier:
    """Finds the owner of a token, with the interface that the SDK requires.

    Args:
        entries: The entries of the file, by name.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the name and the scopes of a token; None if it is not in the file."""
        digest, owner = _digest(token), None
        for name, entry in self._entries.items():  # compare all, so that the time does not reveal the match
            if hmac.compare_digest(entry.sha256, digest):
                owner = name
        if owner is None:
            return None
        scopes = [METRICS] if self._entries[owner].metrics else []
        return AccessToken(token="", client_id=owner, scopes=scopes)


def read_tokens(path: Path) -> dict[str, Entry]:
    """Read the file of tokens.

    Returns:
        The entries by name; at least one.

    Raises:
        ConfigurationError: The file cannot be read or other users can change it, or an entry is invalid.
    """
    try:
        _check_permissions(path)
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"tokens: {str(path)!r} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise ConfigurationError(f"tokens: {str(path)!r} is not TOML: {error}") from None
    if not tables:
        raise ConfigurationError(f"tokens: {str(path)!r} has no entry; the command token NAME makes one")
    entries = {name: _entry(name, table) for name, table in tables.items()}
    owners = {entry.sha256: name for name, entry in entries.items()}
    for name, entry in entries.items():
        if owners[entry.sha256] != name:
            raise ConfigurationError(f"tokens: {name!r} and {owners[entry.sha256]!r} have the same token; make another")
    return entries


def new_token(name: str) -> tuple[str, str]:
    """Return a new token and its entry for the file.

    Raises:
        ConfigurationError: The name is not allowed.
    """
    _check_name(name)
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, f'[{name}]\nsha256 = "{_digest(token)}"'


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _entry(name: str, table: object) -> Entry:
    _check_name(name)
    try:
        entry = Entry.model_validate(table)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        location, message = ".".join(map(str, (name, *details["loc"]))), details["msg"]
        raise ConfigurationError(f"tokens: {location}: {message[0].lower()}{message[1:]}") from None
    for folder in entry.folders:
        if not folder.is_absolute():
            raise ConfigurationError(f"tokens: {name}: {str(folder)!r} is relative; give an absolute path")
    return entry


def _check_name(name: str) -> None:
    if not _NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            f"tokens: {name[:80]!r} is not a valid name, which also names a folder; use up to 63 of a-z, 0-9, - and _"
        )


def _check_permissions(path: Path) -> None:
    """Refuse a file to which another user could add a token."""
    status = path.stat()
    if os.name == "nt":  # file modes do not reflect permissions there
        return
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"tokens: others can write to {str(path)!r}; chmod go-w it")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(f"tokens: {str(path)!r} belongs to another user; chown it")
