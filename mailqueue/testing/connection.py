"""One TCP connection of a relay: its bytes, its time and its end; what is said comes from above."""

import abc
import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import cast

from mailqueue.testing.action import Ending
from mailqueue.testing.ledger import Ledger
from mailqueue.testing.record import SessionRecord
from mailqueue.testing.wire import Wire

_TLS_SHUTDOWN_SECONDS = 5.0  # then a client that never answers our close_notify is cut off


class Connection(asyncio.Protocol, abc.ABC):
    """Keeps what arrives until it is read, and sends in one go what is answered in one go.

    While something is played that takes time the connection is busy, and what arrives is read
    afterwards. Where the play ended the conversation it stays busy, and so mute, until the client
    goes.

    Attributes:
        record: what was exchanged; there from the first moment of the connection.
        ended: set when the connection is gone.
        failure: an error raised by a predicate of the script.
    """

    record: SessionRecord
    _wire: Wire

    def __init__(self, ledger: Ledger, on_end: Callable[["Connection"], None]) -> None:
        self.ended = asyncio.Event()
        self.failure: Exception | None = None
        self._ledger = ledger
        self._on_end = on_end
        self._inbox = bytearray()
        self._outbox: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._is_made = False
        self._is_unwanted = False
        self._is_busy = False
        self._is_stalled = False

    @abc.abstractmethod
    def _opened(self) -> None:
        """Begin the conversation."""

    @abc.abstractmethod
    def _read_on(self) -> None:
        """Read what is in the inbox, as far as it is complete and the connection is not busy."""

    # What a test may do to a session besides scripting it

    def send(self, data: bytes) -> None:
        """Send bytes nobody asked for, such as a 421 to an idle client."""
        self._wire.send(data)

    def close(self) -> None:
        """Hang up in good order."""
        self._end(Ending.CLOSE)

    def reset(self) -> None:
        """Hang up with a reset."""
        self._end(Ending.RESET)

    def abort(self) -> None:
        """Drop the connection at once, and whatever is being played on it."""
        self._is_unwanted = True
        if self._task is not None:
            self._task.cancel()
        if self._is_made:
            self._wire.abort()

    def unstall(self) -> None:
        """Take in what arrives where reading was stopped: only a reader sees the end."""
        if self._is_stalled:
            self._resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the relay was stopped in the meantime."""
        host, port, *_ = transport.get_extra_info("peername") or ("unknown", 0)
        self.record = self._ledger.open_session(f"{host}:{port}")
        # uvloop's transports are no subclasses of asyncio's.
        self._wire = Wire(cast(asyncio.Transport, transport), self.record)
        self._is_made = True
        if self._is_unwanted:
            self._wire.abort()
        else:
            self._guarded(self._opened)

    def data_received(self, data: bytes) -> None:
        """Keep it, and read on."""
        self._inbox += data
        self._guarded(self._read_on)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._wire.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End whatever is being played, and tell those who wait."""
        if self.ended.is_set():
            return
        if exc is not None:
            self.record.lost = f"{type(exc).__name__}: {exc}"
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._ledger.close_session(self.record)
        self.ended.set()
        self._on_end(self)
        self._ledger.changed()

    # For the session

    def _occupy(self, playing: Coroutine[None, None, bool]) -> None:
        """Be busy until this is over; it returns whether the conversation goes on then."""
        self._flush()
        self._is_busy = True
        self._task = asyncio.get_running_loop().create_task(self._run(playing))

    async def _run(self, playing: Coroutine[None, None, bool]) -> None:
        try:
            if await playing:
                self._read_on()
        except Exception as error:  # noqa: BLE001 - kept for relay.stop(), which raises it
            self._fail(error)
        self._flush()

    def _end(self, ending: Ending) -> None:
        self._flush()
        self._is_busy = True
        self._wire.end(ending)

    def _stop_reading(self) -> None:
        """Let the client's upload stall."""
        self._is_stalled = True
        self._wire.bottom.pause_reading()

    def _resume_reading(self) -> None:
        self._is_stalled = False
        self._wire.bottom.resume_reading()

    async def _shake_hands(self, tls: ssl.SSLContext) -> bool:
        """Put TLS over the connection; return whether that worked."""
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._wire.bottom,
                self,
                tls,
                server_side=True,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
            )
            if transport is not None:
                self._wire.transport = transport
                self.record.tls = transport.get_extra_info("ssl_object").version()
        except OSError as error:  # ssl.SSLError is one
            self.record.tls_error = str(error) or type(error).__name__
        finally:
            if self.record.tls is None:
                # Until TLS stands asyncio tells nobody that the connection was lost.
                self._wire.abort()
                self.connection_lost(None)
        return self.record.tls is not None

    # Care

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - kept for relay.stop(), which raises it
            self._fail(error)
        self._flush()

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self._is_busy = True
        self._wire.abort()

    def _flush(self) -> None:
        """Send all that was answered in one go, as relays do for pipelined commands."""
        if self._outbox:
            self._wire.send(b"".join(self._outbox))
            self._outbox.clear()
