"""An outlet: what is written to a connection, and how much of it has surely not left yet."""

from __future__ import annotations

import asyncio

from mailqueue.smtp.wire import Connection

_RECORD_OCTETS = 16_384
_RECORD_OVERHEAD = 64
"""More octets than a record of TLS adds to those in it (RFC 8446 section 5.2)."""


class Outlet:
    """Writes, waits for room, and knows whether the last final dot is still in our own buffer."""

    __slots__ = ("_behind_dot", "_beneath", "_change", "_is_paused", "_transport")

    def __init__(self, connection: Connection) -> None:
        self._transport = connection.transport
        self._beneath = connection.beneath
        self._is_paused = False
        self._change: asyncio.Future[None] | None = None
        self._behind_dot = 0
        """How many octets have been written behind the last final dot."""

    @property
    def is_open(self) -> bool:
        """Whether the connection takes anything."""
        return not self._transport.is_closing()

    @property
    def holds_dot(self) -> bool:
        """Whether the last final dot has surely not left this machine.

        What was written behind it is not the dot. Of a connection that has been cut nothing
        is known.
        """
        if self._transport.is_closing():
            return False
        held = self._transport.get_write_buffer_size()
        if not self._beneath:
            return held > self._behind_dot
        held += sum(one.get_write_buffer_size() for one in self._beneath)
        # Each write and each full record has its own overhead; there were two writes at most.
        records = 2 + self._behind_dot // _RECORD_OCTETS
        return held > self._behind_dot + (records * _RECORD_OVERHEAD if self._behind_dot else 0)

    def write(self, octets: bytes) -> None:
        """Write something that holds no final dot."""
        self._behind_dot += len(octets)
        self._transport.write(octets)

    def write_dot(self, block: bytes, dot: bytes, behind: bytes) -> None:
        """Write the end of a content, its final dot, and in the same breath what is behind."""
        self._behind_dot = len(behind)
        self._transport.write(b"".join((block, dot, behind)))

    async def until_changed(self) -> None:
        """Wait until there is room again, or `change` says that something else has come."""
        self._change = asyncio.get_running_loop().create_future()
        await self._change

    @property
    def is_paused(self) -> bool:
        """Whether the transport holds as much as it wants to."""
        return self._is_paused

    def pause(self) -> None:
        """Note that the transport wants no more."""
        self._is_paused = True

    def resume(self) -> None:
        """Note that the transport takes more."""
        self._is_paused = False
        self.change()

    def change(self) -> None:
        """Wake who waits in `until_changed`."""
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def abort(self) -> None:
        """Cut the connection and throw away what was not sent."""
        self._transport.abort()
        self.change()
