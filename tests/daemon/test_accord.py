"""What others have found of a relay, and who of all goes to see whether it is well again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from mailqueue import events
from mailqueue.clock import FakeClock
from mailqueue.daemon.accord import COURTESY, LEAVE, Accord, News
from mailqueue.daemon.breaker import Breaker
from mailqueue.daemon.routing import Route
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox.relays import RelayRow
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from tests.daemon.parts import Told, config_for
from tests.support.leases import UNREACHABLE
from tests.support.rows import NOW, SECOND

PAUSE = 30 * SECOND


@dataclass
class Seat:
    """One daemon's side of a relay named main, and what it has said."""

    route: Route
    accord: Accord
    clock: FakeClock
    told: Told

    @property
    def breaker(self) -> Breaker:
        """How it takes the relay to be."""
        return self.route.breaker

    def hears(self, row: RelayRow | None, *, prober: str | None = None) -> bool:
        """Let it read this row."""
        return self.accord.hear(self.route, news(row, prober))

    def may_claim(self, row: RelayRow, *, prober: str | None = None, living: str = "bc") -> bool:
        """Whether it goes for the leave to probe."""
        step = self.accord.step(self.route, news(row, prober), set(living))
        return step is not None and step.func.__name__ == "claim"  # type: ignore[attr-defined]

    def trouble(self) -> float | None:
        """Let it meet trouble of its own."""
        return self.breaker.relay_trouble(UNREACHABLE, now=self.clock.now(), jitter=0.0)

    def probes(self) -> bool:
        """Whether a message may go to see."""
        return self.route.room(now=self.clock.now()) > 0


def news(row: RelayRow | None, prober: str | None) -> News:
    """Return what a look has found."""
    return News({} if row is None else {"main": row}, {} if prober is None else {"main": prober})


def opened(**columns: Any) -> RelayRow:
    """Return the row of a relay that another daemon has found in trouble just now."""
    row = RelayRow(
        "main",
        "open",
        NOW,
        probe_at=NOW + PAUSE,
        troubles=1,
        stage="connect",
        text="refused",
        last_trouble_at=NOW,
    )
    return replace(row, **columns)


def closed(since: int = NOW) -> RelayRow:
    """Return the row of a relay that is well."""
    return RelayRow("main", "closed", since)


@pytest.fixture
def seat() -> Seat:
    """That of worker a, who has read that the relay is well."""
    clock, told = FakeClock(), Told()
    settings = config_for({"main": {"host": "127.0.0.1", "tls": "none"}}).relays["main"]
    pool = Pool(Relay(settings), clock=clock)
    route = Route(settings, pool, Breaker("main", settings.breaker), Backoff())
    route.breaker.begin(now=clock.now())
    seat = Seat(route, Accord("a", clock, told.append), clock, told)
    seat.hears(closed())
    return seat


def test_what_another_has_met_pauses_the_relay_here(seat: Seat) -> None:
    """For as long as there, and it is said why."""
    assert seat.hears(opened())
    assert seat.breaker.is_open
    assert not seat.probes()
    assert seat.told == [events.RelayPausedElsewhere("main", "connect", "refused", 30.0)]
    assert seat.breaker.row().text == "refused"


def test_what_is_known_is_no_news(seat: Seat) -> None:
    """Each finding moves the breaker once; when the last success was moves nothing."""
    seat.hears(opened())
    assert not seat.hears(opened())
    assert not seat.hears(opened(last_success_at=NOW))
    assert len(seat.told) == 1


def test_the_pause_is_as_long_as_there_whatever_its_clock_says(seat: Seat) -> None:
    """A host whose clock is an hour ahead does not let everybody wait for an hour."""
    hour = 3600 * SECOND
    seat.hears(opened(last_trouble_at=NOW + hour, probe_at=NOW + hour + PAUSE))
    assert seat.breaker.wakes_at() == NOW + PAUSE


def test_the_first_success_of_anybody_closes_it(seat: Seat) -> None:
    """And how long it was paused is said here too; the backlog comes little by little."""
    seat.hears(opened())
    seat.clock.advance(12)
    assert seat.hears(closed(NOW + 12 * SECOND))
    assert seat.breaker.is_closed
    assert seat.told[-1] == events.RelayResumed("main", 12.0)
    assert seat.breaker.condition.room == 2


def test_what_was_found_here_is_younger_than_what_is_read(seat: Seat) -> None:
    """Until it is written, a row that was read before does not take it back."""
    seat.trouble()
    assert seat.breaker.is_news
    assert not seat.hears(closed(NOW - 1))
    assert seat.breaker.is_open


def test_a_success_is_no_news_and_leaves_what_others_have_found(seat: Seat) -> None:
    """A daemon that has not heard of the trouble yet does not write over it."""
    seat.breaker.success(now=NOW)
    assert not seat.breaker.is_news


def test_nobody_probes_without_leave(seat: Seat) -> None:
    """When the pause is over one of all goes for it, and whoever has it sends one message."""
    seat.hears(opened())
    seat.clock.advance(30)
    assert not seat.probes()
    assert seat.may_claim(opened())
    seat.accord.has_leave(seat.route)
    assert seat.route.room(now=seat.clock.now()) == 1


@pytest.mark.parametrize(("prober", "claims"), [("b", False), ("dead", True), (None, True)])
def test_the_probe_of_one_that_lives_is_left_to_it(
    seat: Seat, prober: str | None, claims: bool
) -> None:
    """That of a dead one is taken up."""
    seat.hears(opened())
    seat.clock.advance(30)
    assert seat.may_claim(opened(), prober=prober) is claims


def test_a_dead_probers_probe_is_taken_up_at_once(seat: Seat) -> None:
    """There is no pause to wait for while somebody was on his way."""
    row = opened(breaker="probing", probe_at=None)
    seat.hears(row)
    assert seat.may_claim(row, prober="dead")


def test_whoever_met_the_trouble_lets_others_probe_first(seat: Seat) -> None:
    """It may be his own: his network, his name server."""
    seat.trouble()
    seat.breaker.shown = seat.breaker.condition
    row = opened(probe_at=seat.breaker.wakes_at())
    seat.hears(row)
    seat.clock.advance(30)
    assert not seat.may_claim(row)
    seat.clock.advance(COURTESY)
    assert seat.may_claim(row)


def test_whoever_has_nothing_of_the_connections_does_not_probe(seat: Seat) -> None:
    """It could not open one."""
    seat.hears(opened())
    seat.clock.advance(30)
    seat.route.pool.resize(0)
    assert not seat.may_claim(opened())


def test_leave_that_is_not_used_passes_on(seat: Seat) -> None:
    """Where no mail comes to one that it could send, another may have some."""
    row = opened()
    seat.hears(row)
    seat.clock.advance(30)
    seat.accord.has_leave(seat.route)
    assert seat.accord.step(seat.route, news(row, "a"), {"b"}) is None
    seat.clock.advance(LEAVE)
    assert seat.accord.step(seat.route, news(row, "a"), {"b"}) is not None
    assert not seat.probes()
    assert not seat.may_claim(row)
    seat.clock.advance(COURTESY)
    assert seat.may_claim(row)


def test_trouble_that_another_disproves_at_once_is_ours_alone(seat: Seat) -> None:
    """A host that cannot reach the relay does not stop the others again and again."""
    seat.trouble()
    seat.breaker.shown = seat.breaker.condition
    seat.clock.advance(1)
    seat.hears(closed(NOW + SECOND))
    assert seat.breaker.is_closed
    seat.clock.advance(1)
    seat.trouble()
    assert seat.breaker.is_open
    assert not seat.breaker.is_news
    assert not seat.hears(closed(NOW + 2 * SECOND))
    seat.clock.advance(60)
    assert seat.probes()
    seat.breaker.success(now=seat.clock.now())
    seat.clock.advance(1)
    seat.trouble()
    assert seat.breaker.is_news


def test_an_outage_that_ends_after_its_pause_is_everybodys(seat: Seat) -> None:
    """That another's probe succeeds later disproves nothing."""
    seat.trouble()
    seat.breaker.shown = seat.breaker.condition
    seat.clock.advance(30)
    seat.hears(closed(NOW + 30 * SECOND))
    seat.clock.advance(1)
    seat.trouble()
    assert seat.breaker.is_news


def test_alone_it_is_as_ever(seat: Seat) -> None:
    """Where nobody else is left no leave is asked for, and all is written."""
    seat.hears(opened())
    seat.accord.alone(seat.route)
    seat.clock.advance(30)
    assert seat.probes()
    assert seat.breaker.is_news
