"""What each worker has of a relay's limits, as rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from mailqueue.clock import FakeClock
from mailqueue.outbox.due import have_due
from mailqueue.outbox.shares import Share, leave, look, renew, settle
from mailqueue.outbox.workers import bury
from tests.support.rows import NOW, add_message

TENURE = 10.0


@pytest.fixture
def connection(outbox_engine: Engine) -> Iterator[Connection]:
    """One write transaction that lasts for the test and is rolled back."""
    with outbox_engine.connect() as connection:
        yield connection


@pytest.fixture
def clock() -> FakeClock:
    """The present of `tests.support.rows`."""
    return FakeClock()


def take(
    connection: Connection,
    clock: FakeClock,
    worker: str,
    *,
    keeps: int = 0,
    wanted: int = 10,
    connections: int = 10,
    relay: str = "main",
    dead: tuple[str, ...] = (),
    to_come: int = 0,
) -> int:
    """Settle the share of one worker; returns what it was granted."""
    asked = Share(relay, worker, connections, wanted, keeps)
    return settle(
        connection, asked, seconds=TENURE, dead=dead, clock=clock, to_come=to_come
    ).granted


def parts(connection: Connection, clock: FakeClock) -> dict[str, int]:
    """Return what each worker has of the relay main."""
    return {one.worker: one.granted for one in look(connection, clock) if one.relay == "main"}


def test_whoever_is_alone_has_all_of_it(connection: Connection, clock: FakeClock) -> None:
    """At once, and whether or not it needs it."""
    assert take(connection, clock, "a", wanted=0) == 10


def test_those_who_are_about_to_come_are_left_their_part(
    connection: Connection, clock: FakeClock
) -> None:
    """What does not come out even goes to whoever is here."""
    assert take(connection, clock, "a", to_come=2) == 4
    assert take(connection, clock, "b", to_come=1) == 3
    assert take(connection, clock, "c") == 3


def test_a_grant_rises_only_by_what_another_has_given_up(
    connection: Connection, clock: FakeClock
) -> None:
    """What is due to a newcomer comes to it when the connections are closed, and not before."""
    take(connection, clock, "a")
    assert take(connection, clock, "b") == 0
    assert take(connection, clock, "a", keeps=7) == 7
    assert take(connection, clock, "b") == 3
    assert take(connection, clock, "a", keeps=5) == 5
    assert take(connection, clock, "b", keeps=3) == 5


def test_the_smallest_of_what_is_configured_holds(connection: Connection, clock: FakeClock) -> None:
    """For all, as soon as one who has configured so little is there."""
    take(connection, clock, "a", connections=20)
    assert parts(connection, clock) == {"a": 20}
    assert take(connection, clock, "b", connections=6) == 0
    assert take(connection, clock, "a", keeps=3, connections=20) == 3
    assert take(connection, clock, "b", connections=6) == 3


def test_each_relay_has_limits_of_its_own(connection: Connection, clock: FakeClock) -> None:
    """What one has of a relay takes nothing from another relay."""
    take(connection, clock, "a")
    assert take(connection, clock, "b", relay="other") == 10


def test_a_share_whose_time_is_over_is_anybodys(connection: Connection, clock: FakeClock) -> None:
    """A worker that is silent for so long has none any more, and cannot revive it."""
    take(connection, clock, "a")
    clock.advance(TENURE - 1)
    assert take(connection, clock, "b") == 0
    clock.advance(1)
    assert renew(connection, "a", seconds=TENURE, clock=clock) == set()
    assert take(connection, clock, "b") == 10
    assert parts(connection, clock) == {"b": 10}


def test_a_renewal_lets_it_last_from_then_on(connection: Connection, clock: FakeClock) -> None:
    """Whoever renews in time keeps what it has."""
    take(connection, clock, "a")
    clock.advance(TENURE / 2)
    assert renew(connection, "a", seconds=TENURE, clock=clock) == {"main"}
    clock.advance(TENURE / 2)
    assert take(connection, clock, "b") == 0


def test_one_that_is_proven_dead_has_none(connection: Connection, clock: FakeClock) -> None:
    """Nobody waits for its time to be over."""
    take(connection, clock, "a")
    assert take(connection, clock, "b", dead=("a",)) == 10


def test_burying_a_worker_frees_its_share(connection: Connection, clock: FakeClock) -> None:
    """As soon as the janitor has settled its mail nothing is left of it."""
    take(connection, clock, "a")
    bury(connection, "a")
    assert look(connection, clock) == []


def test_leaving_gives_back_what_is_named_or_all(connection: Connection, clock: FakeClock) -> None:
    """A relay that is configured no more, or everything at the end."""
    for relay in ("main", "other"):
        take(connection, clock, "a", relay=relay)
    leave(connection, "a", ["other"])
    assert [one.relay for one in look(connection, clock)] == ["main"]
    leave(connection, "a")
    assert look(connection, clock) == []


def test_one_that_comes_back_too_late_keeps_only_what_stands(
    connection: Connection, clock: FakeClock
) -> None:
    """What it has open counts, though it is too much, so that the others do not rise; it gets
    nothing more before it is due to it.
    """
    take(connection, clock, "a")
    clock.advance(TENURE)
    take(connection, clock, "b")
    assert take(connection, clock, "a", keeps=2) == 2
    assert take(connection, clock, "b", keeps=8) == 8
    assert take(connection, clock, "a", keeps=0) == 2


def test_names_with_due_mail(connection: Connection) -> None:
    """Of any priority; what is due later or leased is none."""
    add_message(connection, recipient={"relay": "now", "due_at": NOW, "priority": 2})
    add_message(connection, recipient={"relay": "later", "due_at": NOW + 1})
    due = have_due(connection, ["now", "later", "none"], now=NOW)
    assert {name for name, _ in due} == {"now"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 12),
        st.sampled_from(["settle", "settle", "settle", "close", "silence", "leave"]),
        st.integers(1, 10),
    ),
    max_size=60,
)


@given(STEPS)
def test_together_they_never_have_more_than_the_limit(
    shared: Engine, steps: list[tuple[str, int, str, int]]
) -> None:
    """Whatever workers want, close, and when they fall silent, at every commit."""
    clock, held, until = FakeClock(), dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 0)
    with shared.connect() as connection:
        for worker, wanted, what, seconds in steps:
            clock.advance(0.1)
            if what == "close":
                held[worker] = min(held[worker], wanted)
            elif what == "silence":
                clock.advance(seconds)
            elif what == "leave":
                leave(connection, worker)
                held[worker] = 0
            else:
                if until[worker] <= clock.now():
                    # Its own clock tells it that its time is over: it has closed everything.
                    held[worker] = 0
                held[worker] = take(
                    connection, clock, worker, keeps=held[worker], wanted=wanted, connections=8
                )
                until[worker] = clock.now() + 10_000_000
            lasting = parts(connection, clock)
            assert sum(lasting.values()) <= 8
            used = sum(held[one] for one in held if until[one] > clock.now())
            assert used <= 8
        connection.execute(text("DELETE FROM mailqueue_shares"))
        connection.rollback()
