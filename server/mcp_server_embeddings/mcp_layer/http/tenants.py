"""Tenants of the HTTP server; each has its own collections, folders and protocol server."""

from collections.abc import Mapping
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
"""Maximum number of sessions of a tenant, if the server is stateful."""

_SESSION_SECONDS = 600.0
"""A session ends after this long without a request."""

LOCAL = "local"
"""Name of the only tenant of a server without tokens."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant.

    Attributes:
        name: Its name in logs and metrics.
        settings: The settings with its own folders.
        server: The protocol server that answers its messages.
        sessions: The SDK's manager that carries its messages over HTTP.
        limits: Its limits and current load.
    """

    name: str
    settings: Settings
    server: Server[ChangeNotifier]
    sessions: StreamableHTTPSessionManager
    limits: TenantLimits


def local_tenant(settings: Settings, service: Service) -> dict[str, Tenant]:
    """Return the only tenant of a server without tokens, which uses the collections of the data folder."""
    return {LOCAL: _tenant(LOCAL, settings, service, TenantLimits(), open_store(settings))}


def token_tenants(entries: Mapping[str, Entry], settings: Settings, service: Service) -> dict[str, Tenant]:
    """Return the tenants of a server with tokens by name, each with its own data folder, collections and folders.

    Raises:
        ConfigurationError: A folder does not exist, or would let one tenant read data of another.
    """
    if settings.allow_dir or settings.output_dir:
        raise ConfigurationError("with tokens, set allow_dir and output_dir in the entries of the tokens file")
    _check_folders(entries, settings)
    settings_of = {name: _tenant_settings(name, entry, settings) for name, entry in entries.items()}
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


def _tenant_settings(name: str, entry: Entry, settings: Settings) -> Settings:
    data_dir = settings.data_dir / "tokens" / name
    try:
        return replace(settings, data_dir=data_dir, allow_dir=entry.allow_dir, output_dir=entry.output_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"tokens: {name}: {error}") from None


def _check_folders(entries: Mapping[str, Entry], settings: Settings) -> None:
    """Refuse folders through which a tenant could read the program's files or the output of another tenant.

    The operator may let several tenants read the same folder.
    """
    reserved = {"the data folder": settings.data_dir, "the file of the tokens": settings.tokens or settings.data_dir}
    for name, entry in entries.items():
        for folder in entry.folders:
            for use, path in reserved.items():
                if _overlap(folder, path):
                    raise ConfigurationError(f"tokens: {name}: {str(folder)!r} and {use} overlap; give another folder")
    for (writer, writer_entry), (reader, reader_entry) in permutations(entries.items(), 2):
        for folder in reader_entry.folders:
            if writer_entry.output_dir and _overlap(writer_entry.output_dir, folder):
                raise ConfigurationError(
                    f"tokens: {reader} could read what {writer} writes, for {str(folder)!r} and the output_dir "
                    f"{str(writer_entry.output_dir)!r} overlap; give another folder"
                )


def _overlap(left: Path, right: Path) -> bool:
    """Return whether the paths are equal or one is inside the other."""
    left, right = left.resolve(), right.resolve()
    return left.is_relative_to(right) or right.is_relative_to(left)
