"""Send an answer in one write, so that a killed process has sent either all of it or nothing.

uvicorn writes the head and the body of an answer separately. If a replica is killed in between, its proxy has already
forwarded the head and can no longer retry with another replica. Under load this is not rare, since the event loop may
wait for the interpreter lock between the two writes: two of twenty kills lost an answer.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class JoinedWritesProtocol(H11Protocol):
    """uvicorn's HTTP protocol, writing through ``_JoinedWrites``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start serving a connection."""
        super().connection_made(_JoinedWrites(transport, self.loop))


class _JoinedWrites(asyncio.Transport):
    """A transport that combines all writes of one event loop iteration; has only the methods that uvicorn uses."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Forward to the transport, like the next three methods."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Buffer data, which is written after the callbacks that are already scheduled."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write what is left, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()
