"""Instants of a relay's rate, given out by the database, and what all may do at a relay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.clock import FakeClock
from mailqueue.outbox.allotment import Allotment, allotments
from mailqueue.outbox.moment import moment
from mailqueue.outbox.rates import Batch, take
from mailqueue.outbox.shares import Share, settle
from tests.support.rows import NOW


@pytest.fixture
def connection(outbox_engine: Engine) -> Iterator[Connection]:
    """One write transaction that lasts for the test and is rolled back."""
    with outbox_engine.connect() as connection:
        yield connection


@pytest.fixture
def clock() -> FakeClock:
    """The present of `tests.support.rows`, on both databases."""
    return FakeClock()


def taken(connection: Connection, clock: FakeClock, wanted: int, *, least: int = 1) -> Batch:
    """Take instants of a rate of twenty a second."""
    return take(connection, "main", spacing=0.05, wanted=wanted, least=least, clock=clock)


def has_share(
    connection: Connection, clock: FakeClock, worker: str, spacing: float | None = None
) -> None:
    """Let a daemon be there."""
    share = Share("main", worker, 4, spacing=spacing)
    settle(connection, share, seconds=60, dead=(), clock=clock)


def test_instants_follow_each_other(connection: Connection, clock: FakeClock) -> None:
    """The first comes at once, and whoever asks next gets those behind."""
    assert taken(connection, clock, 3) == Batch(0.0, 0.05, 3)
    assert taken(connection, clock, 2).delay == pytest.approx(0.15)
    clock.advance(10)
    assert taken(connection, clock, 1).delay == 0.0


def test_none_is_given_out_far_ahead(connection: Connection, clock: FakeClock) -> None:
    """Half a second's worth, and then it is told when there are more."""
    assert taken(connection, clock, 100).count == 10
    assert taken(connection, clock, 100).count == 1
    none = taken(connection, clock, 100)
    assert none.count == 0
    assert 0 < none.delay <= 0.05 + 1e-6


def test_each_daemon_gets_an_even_part(connection: Connection, clock: FakeClock) -> None:
    """Whoever comes first does not take all that there is."""
    for worker in "abcde":
        has_share(connection, clock, worker)
    assert taken(connection, clock, 100).count == 2


def test_what_is_of_use_only_together_is_given_together(
    connection: Connection, clock: FakeClock
) -> None:
    """A transaction with many recipients needs them all, and gets them though they reach far."""
    assert taken(connection, clock, 30, least=30).count == 30
    assert taken(connection, clock, 1).count == 0


def test_the_lowest_rate_of_all_holds(connection: Connection, clock: FakeClock) -> None:
    """Whatever is configured where it is asked for."""
    has_share(connection, clock, "a", spacing=250_000.0)
    assert taken(connection, clock, 100) == Batch(0.0, 0.25, 2)


def test_each_relay_has_its_own(connection: Connection, clock: FakeClock) -> None:
    """What goes to one takes nothing from another."""
    taken(connection, clock, 10)
    other = take(connection, "other", spacing=0.05, wanted=1, least=1, clock=clock)
    assert other.delay == 0.0


@pytest.mark.parametrize(
    ("spacing", "rate"),
    [
        (1_000_000 / 14, "14/s"),
        (3_600_000.0, "1000/h"),
        (2_000_000.0, "30/m"),
        (86_400e6 / 7, "7/d"),
        (None, None),
    ],
)
def test_a_rate_is_written_as_it_was_configured(spacing: float | None, rate: str | None) -> None:
    """In the smallest unit in which it is a whole number."""
    assert Allotment((1,), (1,), spacing).rate == rate


def test_what_is_allotted(connection: Connection, clock: FakeClock) -> None:
    """The least that is configured, what each has, the lowest rate and when it is free."""
    has_share(connection, clock, "a", spacing=50_000.0)
    has_share(connection, clock, "b")
    taken(connection, clock, 2)
    now = moment(connection, clock)
    (found,) = allotments(connection, now=now).values()
    assert (found.connections, found.granted, found.rate) == (4, (4, 0), "20/s")
    assert found.is_used_up(now=NOW)
    assert not found.is_used_up(now=NOW + 1_000_000)
