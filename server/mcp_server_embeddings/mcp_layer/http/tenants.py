"""Whose requests are served: each tenant has collections, folders and a protocol server of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.limits import MAX_BODY_BYTES, TENANT_STREAMS, RequestRate, TenantLimits
from mcp_server_embeddings.mcp_layer.http.tokens import Entry
from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore

MAX_SESSIONS = 256
"""Sessions of a tenant, where sessions are kept."""

_SESSION_SECONDS = 600.0
"""After these without a request a session ends."""

LOCAL = "local"
"""The one tenant of a server without tokens."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One for whom the server works.

    Attributes:
        name: In logs and metrics.
        settings: With its own folders.
        server: Answers its messages.
        sessions: Carries them over HTTP.
        limits: What it may do at a time.
    """

    name: str
    settings: Settings
    server: Server[ChangeNotifier]
    sessions: StreamableHTTPSessionManager
    limits: TenantLimits


def local_tenant(settings: Settings, service: Service) -> dict[str, Tenant]:
    """Return the one tenant of a server without tokens, with the collections of the data folder."""
    return {LOCAL: _tenant(LOCAL, settings, service, TenantLimits(), open_store(settings))}


def tenants_of(entries: Mapping[str, Entry], settings: Settings, service: Service) -> dict[str, Tenant]:
    """Return the tenants of a server with tokens by name, each with a data folder, collections and folders of its own.

    Raises:
        ConfigurationError: A folder does not exist, or would show one tenant what is another's.
    """
    if settings.allow_dir or settings.output_dir:
        raise ConfigurationError("with tokens, allow-dir and output-dir are in the entries of the tokens' file")
    _check_folders(entries, settings)
    settings_of = {name: _settings(name, entry, settings) for name, entry in entries.items()}
    return {
        name: _tenant(name, own, service, _limits(entries[name]), open_store(own, owner=name))
        for name, own in settings_of.items()
    }


def _tenant(name: str, settings: Settings, service: Service, limits: TenantLimits, store: CollectionStore) -> Tenant:
    server = build_server(service, store, settings)
    sessions = StreamableHTTPSessionManager(
        server,
        json_response=not settings.stateful,
        stateless=not settings.stateful,
        max_request_body_size=MAX_BODY_BYTES,
        session_idle_timeout=_SESSION_SECONDS,
        max_sessions=MAX_SESSIONS,
    )
    return Tenant(name, settings, server, sessions, limits)


def _limits(entry: Entry) -> TenantLimits:
    return TenantLimits(entry.concurrency, TENANT_STREAMS, RequestRate(entry.rate))


def _settings(name: str, entry: Entry, settings: Settings) -> Settings:
    data_dir = settings.data_dir / "tokens" / name
    try:
        return replace(settings, data_dir=data_dir, allow_dir=entry.allow_dir, output_dir=entry.output_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"tokens: {name}: {error}") from None


def _check_folders(entries: Mapping[str, Entry], settings: Settings) -> None:
    """Refuse folders through which a tenant could read the program's files, or what another one wrote.

    Folders that several may read are for the operator to choose.
    """
    ours = {"the data folder": settings.data_dir, "the file of the tokens": settings.tokens or settings.data_dir}
    for name, entry in entries.items():
        for folder in _folders(entry):
            for what, path in ours.items():
                if _overlap(folder, path):
                    raise ConfigurationError(f"tokens: {name}: {str(folder)!r} and {what} overlap; give another folder")
    for (name, entry), (other, others) in permutations(entries.items(), 2):
        for folder in _folders(others):
            if entry.output_dir and _overlap(entry.output_dir, folder):
                raise ConfigurationError(
                    f"tokens: {other} could read what {name} writes, for {str(folder)!r} and the output_dir "
                    f"{str(entry.output_dir)!r} overlap; give another folder"
                )


def _folders(entry: Entry) -> Iterator[Path]:
    yield from entry.allow_dir
    if entry.output_dir:
        yield entry.output_dir


def _overlap(left: Path, right: Path) -> bool:
    """Tell whether one path is the other or inside it."""
    left, right = left.resolve(), right.resolve()
    return left.is_relative_to(right) or right.is_relative_to(left)
