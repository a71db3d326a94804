"""Tables as items: read a table from a file and store one item for each row."""

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.document import MAX_FIELDS, MAX_VALUE, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.limits import TABLE_LIMITS
from mcp_server_embeddings.reading.selecting import Reader, Selection
from mcp_server_embeddings.reading.tables import Table, TableTexts
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Metadata, PutResult, StoredFile
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument, document_batches
from mcp_server_embeddings.tools.ingest_files import read_file


def select_table(reader: Reader, path: str) -> tuple[Selection, FoundFile]:
    """Find the single file at a path.

    Raises:
        InputError: The path does not match exactly one file, or the file cannot be read.
    """
    selection = reader.select([path], limits=TABLE_LIMITS)
    entries = list(selection.entries)
    if len(entries) != 1:
        raise InputError(f"{path!r} matches {len(entries)} files; name one table with its column")
    (entry,) = entries
    if isinstance(entry, Skipped):
        raise InputError(f"{path!r} cannot be read: {entry.reason}")
    return selection, entry


def read_content(entry: FoundFile) -> tuple[bytes, StoredFile]:
    """Read a table's file; see ``read_file``.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return read_file(entry)
    except UnreadableError as error:
        raise InputError(f"{entry.path!r} cannot be read: {error.reason}") from None


def parse_texts(entry: FoundFile, content: bytes, column: str | None, id_field: str | None) -> tuple[Table, TableTexts]:
    """Parse the content of a table's file into the table and its texts.

    Raises:
        InputError: The content is malformed, a column must be named, or the ids are not unique.
    """
    try:
        table = entry.table(content)
    except UnreadableError as error:
        raise InputError(f"{entry.path!r} cannot be read: {error.reason}") from None
    try:
        return table, table.texts(column, id_field)
    except UnreadableError as error:
        raise InputError(f"{table.name!r} cannot be read: {error.reason}") from None


def store_table(
    ingester: Ingester,
    collection: Collection,
    path: str,
    table: Table,
    texts: TableTexts,
    shared: Metadata | None = None,
) -> tuple[PutResult, int]:
    """Bring the items of a table up to date: one for each row, with the other columns and ``shared`` as metadata.

    Stored rows that the table no longer contains are removed.

    Returns:
        Counts of the items written, and the number of items removed.
    """
    columns = {name: table.typed(name) for name in table.columns[: MAX_FIELDS + 1] if name != texts.column}

    def metadata(row: int) -> Metadata:
        values = {name: cells[row] for name, cells in columns.items()}
        return {
            name: value
            for name, value in [*values.items(), *(shared or {}).items()]
            if value is not None and not (isinstance(value, str) and not 0 < len(value) <= MAX_VALUE)
        }

    documents = [
        SourceDocument(id=str(key), text=text, sections=(Section(0, len(text), ""),), metadata=metadata(row), file=path)
        for key, text, row in zip(texts.ids, texts.texts, texts.rows, strict=True)
    ]
    removed = set(collection.ids_of_file(path)) - {document.id for document in documents}
    counts = PutResult()
    for batch in ingester.put_all(document_batches(documents)):
        counts += batch
    return counts, len(collection.remove(sorted(removed)).ids) if removed else 0
