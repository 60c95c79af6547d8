"""The simulated network: connections whose bytes take time, get stuck, and get lost."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from tests.simulation.exchange import Begun, Dotted
from tests.simulation.link import Host
from tests.simulation.loop import Place
from tests.simulation.transport import Transport


@dataclass(slots=True)
class Weather:
    """How the network is at present. Likelihoods are per connection, or per block written."""

    latency: float = 0.05
    unresolved: float = 0.0
    swallowed: float = 0.0
    """A connection is asked for, and no answer comes."""
    cut: float = 0.0
    """The connection breaks as a block is written; half of the time the block still arrives."""
    stuck: float = 0.0
    """Blocks stay on this machine for a while before they leave."""


class Network:
    """All hosts, and the weather between us and them."""

    def __init__(self, chance: random.Random) -> None:
        self.weather = Weather()
        self.hosts: dict[str, Host] = {}
        self.met: set[str] = set()
        self.observe: Callable[[Transport, Begun | Dotted], None] = lambda *_: None
        self._chance = chance
        self._dialled: WeakKeyDictionary[socket.socket, Host] = WeakKeyDictionary()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._transports: list[Transport] = []

    def happens(self, likelihood: float) -> bool:
        """Draw whether something so likely happens now."""
        return likelihood > 0 and self._chance.random() < likelihood

    def delay(self) -> float:
        """Return how long a parcel travels, in seconds."""
        return self.weather.latency * (0.5 + self._chance.random())

    def pause(self) -> float:
        """Return how long bytes are stuck, in seconds."""
        return self._chance.uniform(1.0, 400.0)

    async def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Answer as `getaddrinfo`, or raise as it does."""
        await asyncio.sleep(self.delay())
        if self.happens(self.weather.unresolved):
            self.met.add("unresolved name")
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))]

    async def dial(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Connect, be refused, or hear nothing at all."""
        self._sockets.add(sock)
        await asyncio.sleep(self.delay())
        host = self.hosts[address[0]]
        if self.happens(self.weather.swallowed):
            self.met.add("unanswered connection")
            await asyncio.get_running_loop().create_future()
        if host.refuses():
            raise ConnectionRefusedError(111, "connection refused")
        self._dialled[sock] = host

    async def attach(
        self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, *, tls: bool
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Give a connected socket its two ends."""
        host = self._dialled.pop(sock)
        sock.close()
        protocol = factory()
        transport = Transport(self, protocol, host, tls)  # type: ignore[arg-type]
        self._transports = [one for one in self._transports if not one.is_closing()]
        self._transports.append(transport)
        protocol.connection_made(transport)
        return transport, protocol

    def beside(self, begun: Transport) -> int:
        """Return how many others of its process, with the same host, wait for a reply."""
        return sum(
            one.place is begun.place
            and one.host is begun.host
            and one is not begun
            and one.exchange.awaits
            and not one.is_closing()
            for one in self._transports
        )

    def together(self, begun: Transport, counts: Callable[[Place], bool]) -> int:
        """Return how many connections with the same host wait for a reply, this one among them, of
        all processes that count.
        """
        return 1 + sum(
            one.host is begun.host
            and one is not begun
            and one.exchange.awaits
            and not one.is_closing()
            and one.place is not None
            and counts(one.place)
            for one in self._transports
        )

    def close(self) -> None:
        """Close what processes left open when they died."""
        for sock in self._sockets:
            sock.close()

    def hang_up(self, place: Place | None = None) -> None:
        """Let the kernel end the connections of a dead process; of all, where none is named."""
        for transport in self._transports:
            if place is None:
                transport.link.cut(b"", arrives=False)
            elif transport.place is place:
                transport.link.send_to_server(None)
