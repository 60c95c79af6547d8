"""When a relay is paused, for how long, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.config import BreakerSettings
from mailqueue.daemon.breaker import Breaker, Position
from mailqueue.mail.reply import EnhancedStatus, Evidence, Reply
from mailqueue.mail.stage import Stage
from mailqueue.outbox.relays import RelayRow
from tests.support.leases import CUT_OFF, OVERLOADED, UNREACHABLE
from tests.support.rows import NOW, SECOND

SETTINGS = BreakerSettings(initial=30, factor=2, maximum=100, session_troubles=3)
WRONG_PASSWORD = Evidence(Stage.AUTH, Reply(535, "bad credentials", EnhancedStatus(5, 7, 8)))


@pytest.fixture
def breaker() -> Breaker:
    """A breaker that is closed: pauses of 30, 60 and 100 seconds, after 3 bad sessions."""
    return Breaker("main", SETTINGS)


def opened(breaker: Breaker, *, now: int = NOW) -> Breaker:
    """Bring relay trouble."""
    breaker.relay_trouble(UNREACHABLE, now=now, jitter=0.0)
    return breaker


def probed(breaker: Breaker) -> Breaker:
    """Open it and send a probe on its way."""
    opened(breaker).probe()
    return breaker


def test_a_closed_breaker_leaves_the_room_that_there_is(breaker: Breaker) -> None:
    """What is under way counts, and more than the limit is no debt."""
    assert breaker.is_closed
    assert [breaker.room(busy, 4, now=NOW) for busy in (0, 3, 4, 9)] == [4, 1, 0, 0]
    assert breaker.wakes_at() is None


def test_the_first_trouble_opens_with_the_initial_pause(breaker: Breaker) -> None:
    """Nothing goes through until the pause is over."""
    assert breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0) == 30
    assert not breaker.is_closed
    assert breaker.wakes_at() == NOW + 30 * SECOND
    assert breaker.room(0, 10, now=NOW + 30 * SECOND - 1) == 0


def test_concurrent_news_does_not_lengthen_the_pause(breaker: Breaker) -> None:
    """Ten sessions that meet the same trouble at once are one trouble; the last word is kept."""
    opened(breaker)
    for later in range(10):
        assert breaker.relay_trouble(WRONG_PASSWORD, now=NOW + later, jitter=0.0) is None
        assert breaker.session_trouble(CUT_OFF, now=NOW + later, jitter=0.0) is None
    assert breaker.wakes_at() == NOW + 30 * SECOND
    assert breaker.condition.troubles == 1
    assert breaker.condition.evidence == WRONG_PASSWORD


def test_one_message_probes(breaker: Breaker) -> None:
    """When the pause is over exactly one is let through, whatever else is still under way."""
    over = NOW + 30 * SECOND
    opened(breaker)
    assert [breaker.room(busy, 10, now=over) for busy in (0, 7)] == [1, 1]
    breaker.probe()
    assert breaker.room(0, 10, now=over + 999 * SECOND) == 0
    assert breaker.wakes_at() is None


def test_a_failed_probe_doubles_the_pause_up_to_the_maximum(breaker: Breaker) -> None:
    """The longer a relay is down, the less it is asked."""
    now, pauses = NOW, [breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0)]
    for _ in range(4):
        now = breaker.wakes_at() or 0
        breaker.probe()
        pauses.append(breaker.relay_trouble(UNREACHABLE, now=now, jitter=0.0))
    assert pauses == [30, 60, 100, 100, 100]


def test_a_probe_whose_session_ends_badly_has_failed(breaker: Breaker) -> None:
    """One bad session is enough while it is on probation."""
    probed(breaker)
    assert breaker.session_trouble(CUT_OFF, now=NOW + 31 * SECOND, jitter=0.0) == 60


def test_a_probe_that_tells_nothing_lets_the_next_one_go(breaker: Breaker) -> None:
    """Handed back or failed by our own fault, it is neither success nor trouble."""
    probed(breaker)
    breaker.probe_ended()
    assert breaker.condition.position is Position.OPEN
    assert breaker.room(0, 10, now=NOW + 30 * SECOND) == 1
    assert breaker.condition.troubles == 1


def test_the_end_of_a_probe_that_told_something_changes_nothing(breaker: Breaker) -> None:
    """Its success has closed the breaker already."""
    probed(breaker)
    breaker.success(now=NOW + 31 * SECOND)
    breaker.probe_ended()
    assert breaker.is_closed


def test_success_closes_and_ramps_up(breaker: Breaker) -> None:
    """A relay that just came back is not met by the whole backlog."""
    probed(breaker)
    assert breaker.success(now=NOW + 31 * SECOND) == 31
    rooms = [breaker.room(0, 5, now=NOW)]
    for _ in range(5):
        assert breaker.success(now=NOW + 32 * SECOND) is None
        rooms.append(breaker.room(0, 5, now=NOW))
    assert rooms == [2, 3, 4, 5, 5, 5]


def test_the_whole_pause_is_told_however_many_probes_it_took(breaker: Breaker) -> None:
    """`since` is the first trouble, and what is told when it closes counts from there."""
    probed(breaker)
    opened(breaker, now=NOW + 40 * SECOND)
    assert breaker.row().since == NOW
    breaker.probe()
    assert breaker.success(now=NOW + 101 * SECOND) == 101


def test_the_next_trouble_after_a_success_begins_anew(breaker: Breaker) -> None:
    """An old trouble does not make a new one longer."""
    probed(breaker)
    breaker.success(now=NOW + 31 * SECOND)
    assert breaker.relay_trouble(UNREACHABLE, now=NOW + 40 * SECOND, jitter=0.0) == 30
    assert breaker.row().since == NOW + 40 * SECOND


def test_bad_sessions_in_a_row_open_it(breaker: Breaker) -> None:
    """A relay that drops every session is in trouble, though it says so to nobody."""
    assert breaker.session_trouble(CUT_OFF, now=NOW, jitter=0.0) is None
    assert breaker.session_trouble(CUT_OFF, now=NOW, jitter=0.0) is None
    assert breaker.session_trouble(CUT_OFF, now=NOW, jitter=0.0) == 30
    assert not breaker.is_closed


def test_a_good_session_between_bad_ones_ends_the_row(breaker: Breaker) -> None:
    """Now and then a session breaks: that is no reason to pause."""
    for _ in range(5):
        breaker.session_trouble(CUT_OFF, now=NOW, jitter=0.0)
        breaker.session_trouble(CUT_OFF, now=NOW, jitter=0.0)
        breaker.success(now=NOW)
    assert breaker.is_closed


@given(
    jitter=st.floats(0, 1, exclude_max=True),
    troubles=st.integers(1, 40),
    initial=st.floats(0.001, 3600),
    factor=st.floats(1, 10),
    stretch=st.floats(1, 1000),
)
def test_a_jittered_pause_stays_within_its_bounds(
    jitter: float, troubles: int, initial: float, factor: float, stretch: float
) -> None:
    """Chance takes a part off each pause; none is longer than the maximum or negative."""
    settings = BreakerSettings(initial=initial, factor=factor, maximum=initial * stretch)
    breaker, now = Breaker("main", settings), NOW
    for number in range(troubles):
        pause = breaker.relay_trouble(UNREACHABLE, now=now, jitter=jitter)
        assert pause is not None
        full = min(initial * factor**number, settings.maximum)
        assert 0.8 * full * (1 - 1e-9) <= pause <= full * (1 + 1e-9)
        now = breaker.wakes_at() or 0
        breaker.probe()


def test_a_pause_that_an_earlier_daemon_left_is_probed_at_once() -> None:
    """A restart may be the repair; but no more than one message finds out."""
    row = RelayRow("main", "open", NOW - 99, NOW + 99 * SECOND, 2, last_trouble_at=NOW - 9)
    breaker = Breaker("main", SETTINGS)
    breaker.resume(row, now=NOW)
    assert breaker.room(0, 10, now=NOW) == 1
    breaker.probe()
    assert breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0) == 100


@pytest.mark.parametrize("position", ["open", "probing"])
def test_what_an_earlier_daemon_met_stays_on_record(position: str) -> None:
    """Until there is news, SQL still says why the relay is paused."""
    row = RelayRow("main", position, NOW, NOW, 2, "auth", 535, "5.7.8", "no", NOW, NOW)
    breaker = Breaker("main", SETTINGS)
    breaker.resume(row, now=NOW)
    kept = breaker.row()
    assert (kept.stage, kept.code, kept.enhanced, kept.text) == ("auth", 535, "5.7.8", "no")
    assert (kept.breaker, kept.since, kept.last_trouble_at) == ("open", NOW, NOW)


def test_a_relay_that_was_in_order_stays_so(breaker: Breaker) -> None:
    """A row that says closed leaves all the room."""
    breaker.resume(RelayRow("main", "closed", NOW, troubles=7), now=NOW)
    assert breaker.is_closed
    assert breaker.room(0, 10, now=NOW) == 10
    assert breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0) == 30


def test_a_change_of_configuration_lets_one_probe_at_once(breaker: Breaker) -> None:
    """Whoever corrected the password need not wait for the pause to end."""
    opened(breaker).allow_probe(now=NOW + 1)
    assert breaker.room(0, 10, now=NOW + 1) == 1


def test_a_change_of_configuration_opens_nothing_that_is_closed(breaker: Breaker) -> None:
    """Nor does it send a second probe after the first."""
    breaker.allow_probe(now=NOW)
    assert breaker.is_closed
    probed(breaker).allow_probe(now=NOW)
    assert breaker.room(0, 10, now=NOW) == 0


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (WRONG_PASSWORD, ("auth", 535, "5.7.8", "bad credentials")),
        (UNREACHABLE, ("connect", None, None, "no reply (refused: connection refused)")),
        (OVERLOADED, ("mail", 421, "4.3.2", "too busy")),
    ],
)
def test_sql_sees_what_the_trouble_is(
    breaker: Breaker, evidence: Evidence, words: tuple[object, ...]
) -> None:
    """The row names stage, code and text of the last trouble, and when the next probe is."""
    breaker.relay_trouble(evidence, now=NOW, jitter=0.0)
    row = breaker.row()
    assert (row.stage, row.code, row.enhanced, row.text) == words
    assert (row.name, row.breaker, row.troubles) == ("main", "open", 1)
    assert (row.probe_at, row.last_trouble_at) == (NOW + 30 * SECOND, NOW)
