"""An answer leaves the process at once: a process that is killed has sent all of it, or nothing.

uvicorn writes the head of an answer and its body one after the other. Killed between the two, a replica has sent a
head without a body, and its proxy has passed that on, so it can no longer ask another replica. Under load that is not
rare, since the event loop may wait for the interpreter's lock there: two of twenty kills lost an answer so.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class JoinedWritesProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, through ``_JoinedWrites``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(_JoinedWrites(transport, self.loop))


class _JoinedWrites(asyncio.Transport):
    """A transport that writes together what is written in one step of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []

    def get_extra_info(self, name: str, default: object = None) -> object:
        """As the transport's, like the next three; what uvicorn does not use is not here."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write at the end of this step."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close when all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()
