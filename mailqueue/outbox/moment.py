"""What time it is for everybody who uses one outbox: on PostgreSQL, what the server's clock says.

Hosts differ, by minutes where nobody looks after them. All instants in rows, and what they are
compared with, come from here, so that a lease ends and mail falls due for all at once. Users of a
SQLite file are on one host. See docs/decisions/0040-the-servers-clock.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import URL, BigInteger, Connection, literal_column, make_url, select

from mailqueue.clock import Clock, SystemClock, microseconds, since_boot

FRESH_SECONDS: Final = 10.0
"""So long a look at the server's clock is good for; it drifts from ours by microseconds."""
_SERVERS: Final = select(
    literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)", BigInteger())
)
_LOOKED: Final = "mailqueue.looked-at-clock"


@dataclass(frozen=True, slots=True)
class _Look:
    """What the server's clock said, and when that was by ours (seconds since boot)."""

    server: int
    at: float
    uncertain: float
    """How much later than asked for the answer may have been given: the whole round trip."""


class ServerClock:
    """Shows what the server's clock shows, counted on from the last look at it.

    It is looked at over each new connection, and again after `FRESH_SECONDS`: not for each
    message. In between, setting this machine's clock changes nothing. Until the first look it
    shows the machine's time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        # A machine that was suspended has missed time that has passed for the server.
        self._elapsed = since_boot if clock is None else clock.monotonic
        self._look: _Look | None = None

    def now(self) -> int:
        """Return the server's time in epoch microseconds."""
        if (look := self._look) is None:
            return self._clock.now()
        return look.server + microseconds(self._elapsed() - look.at)

    @property
    def is_fresh(self) -> bool:
        """Whether it need not be looked at before what is written next."""
        return self._look is not None and self._elapsed() - self._look.at < FRESH_SECONDS

    def look(self, connection: Connection) -> None:
        """Ask the server over ``connection``, if the last answer is old or the connection new."""
        if self.is_fresh and _LOOKED in connection.info:
            return
        asked = self._elapsed()
        server = connection.scalar(_SERVERS)
        answered = self._elapsed()
        if server is None:
            return
        connection.info[_LOOKED] = True
        found = _Look(server, (asked + answered) / 2, answered - asked)
        # A slow answer says less than one that was quick and is not old.
        last = self._look
        if last is None or found.uncertain <= max(last.uncertain, _CERTAIN) or not self.is_fresh:
            self._look = found

    def monotonic(self) -> float:
        """Return monotonic seconds, of this machine."""
        return self._clock.monotonic()

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self._clock.random()

    def token(self, size: int = 8) -> str:
        """Return unguessable hexadecimal digits."""
        return self._clock.token(size)


_CERTAIN: Final = 0.05


def clock_for(url: str | URL) -> Clock:
    """Return the clock that the outbox at ``url`` goes by."""
    is_shared = make_url(url).get_backend_name() == "postgresql"
    return ServerClock() if is_shared else SystemClock()


def moment(connection: Connection, clock: Clock) -> int:
    """Return the present by ``clock``, in epoch microseconds; it looks at the server's if due."""
    if isinstance(clock, ServerClock):
        clock.look(connection)
    return clock.now()


def present(connection: Connection) -> int:
    """Return the present of the outbox behind ``connection``, for who looks at it once."""
    return moment(connection, clock_for(connection.engine.url))
