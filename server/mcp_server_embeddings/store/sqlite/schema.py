"""The file format and its versions. Described for other programs in ``docs/storage.md``."""

import sqlite3
from collections.abc import Callable

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.sqlite import transaction
from mcp_server_embeddings.store.sqlite.fulltext import rebuild_words

APPLICATION_ID = 0x656D6264
"""``embd`` in ASCII: distinguishes this file from other SQLite files (``PRAGMA application_id``)."""

PAGE_BYTES = 8_192
"""A page of this size holds five vectors of 384 numbers without waste; one of 4,096 holds two, and a third is empty."""

_VERSION_1 = """
CREATE TABLE collections (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    identity TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    removals INTEGER NOT NULL DEFAULT 0,
    documents INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    updated REAL NOT NULL DEFAULT 0
);
CREATE TABLE files (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections,
    path TEXT NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (collection, path)
);
CREATE TABLE documents (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections,
    id TEXT NOT NULL,
    digest BLOB NOT NULL,
    file INTEGER REFERENCES files,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (collection, id)
);
CREATE INDEX documents_of_file ON documents (file) WHERE file IS NOT NULL;
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections,
    document INTEGER NOT NULL REFERENCES documents,
    part INTEGER NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    heading TEXT NOT NULL,
    digest BLOB NOT NULL
);
CREATE INDEX chunks_of_collection ON chunks (collection);
CREATE INDEX chunks_of_document ON chunks (document, part);
CREATE INDEX chunks_of_digest ON chunks (collection, digest);
CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks, vector BLOB NOT NULL);
CREATE TABLE attributes (
    collection INTEGER NOT NULL REFERENCES collections,
    name TEXT NOT NULL,
    value,
    document INTEGER NOT NULL REFERENCES documents
);
CREATE INDEX attributes_by_value ON attributes (collection, name, value, document);
CREATE INDEX attributes_of_document ON attributes (document);
"""

_FILE_STATES = """
ALTER TABLE files ADD COLUMN size INTEGER NOT NULL DEFAULT -1;
ALTER TABLE files ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN indexed REAL NOT NULL DEFAULT 0;
CREATE TABLE sources (
    collection INTEGER NOT NULL REFERENCES collections,
    path TEXT NOT NULL,
    options TEXT NOT NULL,
    PRIMARY KEY (collection, path)
) WITHOUT ROWID;
"""

_SEGMENTS = """
CREATE TABLE segments (
    collection INTEGER NOT NULL REFERENCES collections,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    file TEXT NOT NULL,
    PRIMARY KEY (collection, first)
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
    _VERSION_1,
    rebuild_words,
    _FILE_STATES,
    _SEGMENTS,
)
"""Entry ``n`` migrates version ``n`` to ``n + 1``, by statements or a function. Released entries never change; a change
of the format is one more entry at the end. ``rebuild_words`` always produces the current terms."""

VERSION = len(MIGRATIONS)
"""The version that this program writes (``PRAGMA user_version``)."""


def migrate(database: sqlite3.Connection, path: str) -> None:
    """Migrate an open file to this program's version, in one transaction. Usually there is nothing to do.

    Raises:
        StorageError: A newer program wrote the file, or it belongs to another program.
    """
    if read_version(database, path) == VERSION:
        return
    with transaction(database):
        for migration in MIGRATIONS[_checked_version(database, path) :]:  # another process may have migrated it
            if callable(migration):
                migration(database)
                continue
            for statement in migration.split(";\n"):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        database.execute(f"PRAGMA user_version = {VERSION:d}")


def read_version(database: sqlite3.Connection, path: str) -> int:
    """Return the file's version without writing anything.

    Raises:
        StorageError: A newer program wrote the file, or it belongs to another program.
    """
    database.execute("BEGIN")  # to see one state of the file: another process may just be creating it
    try:
        return _checked_version(database, path)
    finally:
        database.execute("COMMIT")


def check_unchanged(database: sqlite3.Connection, path: str) -> None:
    """Refuse a file whose version changed since it was opened; inside a transaction, so that the version stays as read.

    Raises:
        StorageError: The version changed.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        _checked_version(database, path)  # names the reason, if it knows one
        raise StorageError(f"{path!r} was changed by another program; nothing was stored: send the call again")


def _checked_version(database: sqlite3.Connection, path: str) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    # Many programs set neither number: without our number, only an empty file is accepted.
    (objects,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or objects):
        raise StorageError(f"{path!r} is a SQLite file of another program; move it away or give another --data-dir")
    if version > VERSION:
        raise StorageError(
            f"{path!r} was written by a newer mcp-server-embeddings (schema {version}, this one knows {VERSION}); "
            "nothing was changed: upgrade this program, or give another --data-dir"
        )
    return int(version)
