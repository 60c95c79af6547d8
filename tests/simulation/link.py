"""A connection between a process and a relay: two directions, each in its order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Protocol

from tests.simulation.loop import NOWHERE

if TYPE_CHECKING:
    from tests.simulation.network import Network
    from tests.simulation.transport import Transport

Parcel = bytes | None
"""What travels: bytes, or None for the end of the connection."""


class Server(Protocol):
    """One end of a connection, at the relay."""

    def received(self, data: bytes) -> None:
        """Take what arrived."""
        ...

    def lost(self) -> None:
        """Note that the other end is gone."""
        ...


class Host(Protocol):
    """Whom one can connect to."""

    def refuses(self) -> bool:
        """Return whether nobody listens at present."""
        ...

    def answer(self, link: Link) -> Server:
        """Take a connection."""
        ...


class _Pipe:
    """One direction: what is put in comes out later and in its order, whatever runs first."""

    def __init__(self, deliver: Callable[[Parcel], None], context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self._deliver = deliver
        self._context = context
        self._parcels: deque[Parcel] = deque()
        self._last = 0.0

    def put(self, parcel: Parcel, delay: float) -> None:
        self._last = max(self._last, self._loop.time() + delay)
        self._parcels.append(parcel)
        self._loop.call_at(self._last, self._out, context=self._context)

    def _out(self) -> None:
        if self._parcels:
            self._deliver(self._parcels.popleft())


class Link:
    """A connection between a process and a relay."""

    def __init__(self, network: Network, host: Host, transport: Transport) -> None:
        self.place = transport.place
        self.is_broken = False
        self._network = network
        self._to_process = _Pipe(transport.arrived, copy_context())
        self._to_server = _Pipe(self._at_server, NOWHERE)
        self._server = host.answer(self)

    def send_to_server(self, parcel: Parcel) -> None:
        """Let the process say something, or hang up."""
        if not self.is_broken:
            self._to_server.put(parcel, self._network.delay())

    def send_to_process(self, parcel: Parcel, *, after: float = 0.0) -> None:
        """Let the relay say something, or hang up, ``after`` so many seconds."""
        if not self.is_broken:
            self._to_process.put(parcel, after + self._network.delay())

    def cut(self, last: bytes, *, arrives: bool) -> None:
        """Break in the middle; ``last`` may still get through."""
        if arrives:
            self.send_to_server(last)
        self.send_to_server(None)
        self.send_to_process(None)
        self.is_broken = True

    def _at_server(self, parcel: Parcel) -> None:
        if parcel is None:
            self._server.lost()
        else:
            self._server.received(parcel)
