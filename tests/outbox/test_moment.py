"""The time that everybody on one outbox goes by."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from mailqueue.clock import FakeClock, SystemClock
from mailqueue.outbox.moment import FRESH_SECONDS, ServerClock, clock_for, moment, present

MINUTES = 600.0
NEAR = 5_000_000
"""What a busy machine may take to answer (microseconds)."""


def servers(engine: Engine) -> int:
    """Return what the server's clock shows."""
    with engine.connect() as connection:
        return int(
            connection.scalar(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")) or 0
        )


@pytest.mark.parametrize("ahead", [MINUTES, -MINUTES])
@pytest.mark.backend("postgresql")
def test_a_host_that_is_minutes_off_goes_by_the_server(engine: Engine, ahead: float) -> None:
    """Whatever this host's clock says, instants are the server's from the first look on."""
    host = FakeClock(SystemClock().now())
    host.jump(ahead)
    clock = ServerClock(host)
    with engine.connect() as connection:
        assert abs(moment(connection, clock) - servers(engine)) < NEAR


@pytest.mark.backend("postgresql")
def test_between_two_looks_time_goes_on_by_itself(engine: Engine) -> None:
    """No statement is spent on it, and setting this host's clock does not change it."""
    host = FakeClock()
    clock = ServerClock(host)
    with engine.connect() as connection:
        first = moment(connection, clock)
        connection.exec_driver_sql("SET statement_timeout = 1")
        host.advance(FRESH_SECONDS / 2)
        host.jump(-MINUTES)
        assert moment(connection, clock) == first + 5_000_000
        assert clock.now() == first + 5_000_000


@pytest.mark.backend("postgresql")
def test_it_is_looked_at_again(engine: Engine) -> None:
    """After a while, and over each new connection: that may lead to another server."""
    host = FakeClock()
    clock = ServerClock(host)
    with engine.connect() as connection:
        moment(connection, clock)
        assert clock.is_fresh
        host.advance(MINUTES)
        assert not clock.is_fresh
        assert abs(moment(connection, clock) - servers(engine)) < NEAR
        host.advance(FRESH_SECONDS / 2)
    engine.dispose()
    with engine.connect() as connection:
        assert abs(moment(connection, clock) - servers(engine)) < NEAR


def test_an_outbox_goes_by_its_own_clock(engine: Engine, backend: str) -> None:
    """In a SQLite file nothing is asked, because its users are on one machine."""
    kind = {"sqlite": SystemClock, "postgresql": ServerClock}[backend]
    assert type(clock_for(engine.url)) is kind
    with engine.connect() as connection:
        assert abs(present(connection) - SystemClock().now()) < NEAR


def test_a_clock_that_is_given_is_believed(engine: Engine) -> None:
    """Who hands over a clock, as a simulation does, has all instants from it."""
    with engine.connect() as connection:
        assert moment(connection, FakeClock(7)) == 7
