"""Read a client's configuration file and replace it with a changed one."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self

from mcp_server_embeddings.clients.editors import EDITORS, Editor, object_at
from mcp_server_embeddings.clients.table import Client
from mcp_server_embeddings.errors import ClientFileError
from mcp_server_embeddings.private import atomic_write

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Change:
    """A change to a client's file.

    Attributes:
        client: The client.
        path: The path of the file; links are followed when writing.
        before: The present content; None if the file does not exist.
        after: The content to write.
    """

    client: Client
    path: Path
    before: bytes | None
    after: bytes

    @property
    def needed(self) -> bool:
        """Whether the content would change."""
        return self.after != (self.before or b"")

    def diff(self) -> list[str]:
        """Return the lines of a unified diff."""
        before, after = ((text or b"").decode().splitlines() for text in (self.before, self.after))
        name = str(self.path)
        return list(unified_diff(before, after, name if self.before is not None else os.devnull, name, lineterm=""))

    def write(self) -> Path | None:
        """Back up the file, then replace it.

        Returns:
            The path of the backup; None if there was no file.

        Raises:
            ClientFileError: The file cannot be written, or has changed since it was read.
        """
        target = Path(os.path.realpath(self.path))
        if _read_bytes(target) != self.before:
            raise ClientFileError(f"{self.path} was changed meanwhile, maybe by {self.client.title}; try again")
        try:
            mode = _target_mode(target)
            backup = None if self.before is None else _write_backup(target, self.before)
            with atomic_write(target) as file:
                file.write(self.after)
                Path(file.name).chmod(mode)
        except OSError as error:
            raise ClientFileError(f"{target} cannot be written: {error.strerror}; --print shows what to add") from None
        return backup


@dataclass(frozen=True, slots=True)
class ClientFile:
    """The content of a client's file.

    Attributes:
        client: The client.
        path: The path of the file.
        content: The bytes of the file; None if it does not exist.
        text: The decoded content, without a byte order mark.
        document: The parsed content.
    """

    client: Client
    path: Path
    content: bytes | None
    text: str
    document: object

    @classmethod
    def read(cls, client: Client, path: Path) -> Self:
        """Read a file, which need not exist.

        Raises:
            ClientFileError: The file cannot be read or is malformed; the message names the line.
        """
        content = _read_bytes(path)
        text = _decode(path, content or b"").removeprefix(_BYTE_ORDER_MARK)
        try:
            return cls(client, path, content, text, EDITORS[client.format].read(text))
        except ValueError as error:
            raise _unusable_file(client, path, error) from None

    @property
    def keys(self) -> tuple[str, ...]:
        """The path of keys in the document below which servers are listed."""
        inner = object_at(self.document, self.client.keys).get(self.client.inner)
        is_server = isinstance(inner, dict) and "command" in inner
        return (*self.client.keys, self.client.inner) if isinstance(inner, dict) and not is_server else self.client.keys

    def entry(self, name: str) -> object:
        """Return the entry of a server; None if there is none."""
        return object_at(self.document, self.keys).get(name)

    def with_values(self, name: str, values: dict[str, object]) -> Change:
        """Return the change that sets values of an existing entry, keeping its other values.

        Raises:
            ClientFileError: The file cannot be edited.
        """
        keys = (*self.keys, name)
        existing = object_at(self.document, keys)
        changed = [(key, value) for key, value in values.items() if existing.get(key) != value]
        return self._change(*(partial(self._editor.put, keys=(*keys, key), value=value) for key, value in changed))

    def with_entry(self, name: str, entry: dict[str, object]) -> Change:
        """Return the change that adds an entry or replaces the one with this name.

        Raises:
            ClientFileError: The file cannot be edited.
        """
        return self._change(partial(self._editor.put, keys=(*self.keys, name), value=entry))

    def without(self, name: str) -> Change:
        """Return the change that removes an entry, if it exists.

        Raises:
            ClientFileError: The file cannot be edited.
        """
        if self.entry(name) is None:
            return self._change()
        return self._change(partial(self._editor.remove, keys=(*self.keys, name)))

    @property
    def _editor(self) -> Editor:
        return EDITORS[self.client.format]

    def _change(self, *edits: Callable[[str], str]) -> Change:
        text = self.text
        try:
            for edit in edits:
                text = edit(text)
        except ValueError as error:
            raise _unusable_file(self.client, self.path, error) from None
        has_mark = (self.content or b"").decode().startswith(_BYTE_ORDER_MARK)
        return Change(self.client, self.path, self.content, (_BYTE_ORDER_MARK * has_mark + text).encode())


def _read_bytes(path: Path) -> bytes | None:
    """Return the content of a file; None if it does not exist."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ClientFileError(f"{path} is not a file; move it away")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClientFileError(f"{path} cannot be read: {error.strerror}") from None


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ClientFileError(f"{path} is left as it is: line {line} is not UTF-8. Correct the file") from None


def _unusable_file(client: Client, path: Path, error: ValueError) -> ClientFileError:
    return ClientFileError(
        f"{path} is left as it is: {error}. Correct the file, or add what `install {client.name} --print` shows"
    )


def _target_mode(target: Path) -> int:
    """Return the mode of a file or for a new one; raise ``ClientFileError`` if read-only, which replacing ignores."""
    if not target.exists():
        return 0o600
    mode = stat.S_IMODE(target.stat().st_mode)
    if not mode & stat.S_IWUSR or not os.access(target, os.W_OK):
        raise ClientFileError(f"{target} is read-only; make it writable, or add what --print shows where it comes from")
    return mode


def _write_backup(target: Path, content: bytes) -> Path:
    """Write a backup in the same folder, under an unused name; raise ``OSError`` if that fails."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for number in count():
        copy = target.with_name(f"{target.name}.{stamp}{f'-{number}' if number else ''}.bak")
        if not copy.exists():
            break
    with atomic_write(copy, overwrite=False) as file:
        file.write(content)
    return copy
