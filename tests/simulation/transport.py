"""The process's end of a simulated connection, with the face of asyncio's transports."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.simulation.exchange import Exchange
from tests.simulation.link import Host, Link, Parcel
from tests.simulation.loop import here

if TYPE_CHECKING:
    from tests.simulation.network import Network

STUCK_OCTETS = 64 * 1024
"""How much a transport holds before it asks its protocol to pause, as asyncio's does."""


class Transport(asyncio.Transport):
    """The process's end of a connection."""

    def __init__(self, network: Network, protocol: asyncio.Protocol, host: Host, tls: bool) -> None:
        super().__init__()
        self.place = here()
        self.host = host
        self.exchange = Exchange()
        self._network = network
        self._protocol = protocol
        self._buffer = bytearray()
        self._is_stuck = False
        self._is_paused = False
        self._is_closing = False
        self._tls = tls
        self.link = Link(network, host, self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have the connection."""
        self._protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that has the connection."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Answer as a transport of asyncio, with TLS where it was asked for."""
        secured = SimpleNamespace(version=lambda: "TLSv1.3") if self._tls else None
        known = {"peername": ("192.0.2.1", 25), "ssl_object": secured, "sslcontext": secured}
        return known.get(name, default)

    def is_closing(self) -> bool:
        """Return whether it takes no more."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Return how many octets have not left this machine."""
        return len(self._buffer)

    def write(self, data: Any) -> None:
        """Send; or keep, while the network takes nothing."""
        if self._is_closing:
            return
        block = bytes(data)
        network = self._network
        for step in self.exchange.wrote(block):
            network.observe(self, step)
        if self._is_stuck or network.happens(network.weather.stuck):
            self._keep(block)
        elif network.happens(network.weather.cut):
            network.met.add("cut connection")
            self.link.cut(block, arrives=network.happens(0.5))
        else:
            self.link.send_to_server(block)

    def close(self) -> None:
        """Hang up after what is kept has left."""
        if self._buffer:
            self._flush()
        self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        if self._is_closing:
            return
        self._is_closing = True
        self._buffer.clear()
        self.link.send_to_server(None)
        asyncio.get_running_loop().call_soon(self._protocol_lost)

    def arrived(self, parcel: Parcel) -> None:
        """Hand over what the relay has sent."""
        if self._is_closing:
            return
        if parcel is not None:
            self.exchange.heard(parcel)
            self._protocol.data_received(parcel)
        elif not self._protocol.eof_received():
            self.close()

    def _protocol_lost(self) -> None:
        self._protocol.connection_lost(None)

    def _keep(self, block: bytes) -> None:
        self._buffer += block
        if not self._is_stuck:
            self._is_stuck = True
            self._network.met.add("stuck connection")
            asyncio.get_running_loop().call_later(self._network.pause(), self._flush)
        if len(self._buffer) > STUCK_OCTETS and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        self._is_stuck = False
        if self._is_closing:
            return
        self.link.send_to_server(bytes(self._buffer))
        self._buffer.clear()
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()
