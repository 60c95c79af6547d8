"""Which gate holds a recipient: the decision as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.gate import Gate, Hold, House, Standing, Way, gates, goes_at
from mailqueue.outbox.relays import RelayRow
from tests.support.rows import NOW, SECOND

LATER, MUCH_LATER = NOW + 60 * SECOND, NOW + 90 * SECOND
DUE = Standing(State.QUEUED, NOW, deadline=NOW + 10**12)
NOT_DUE = replace(DUE, state=State.DEFERRED, due_at=LATER)
CLOSED = RelayRow("main", "closed", NOW)
OPEN = RelayRow("main", "open", NOW - SECOND, probe_at=MUCH_LATER)
PROBING = RelayRow("main", "probing", NOW - SECOND)
WELL = House(NOW)


@pytest.mark.parametrize(
    ("standing", "way", "house", "closed"),
    [
        pytest.param(DUE, Way(CLOSED, True), WELL, [(Hold.NEXT, NOW)], id="nothing"),
        pytest.param(DUE, Way(), WELL, [(Hold.NEXT, NOW)], id="nothing is known of the relay"),
        pytest.param(NOT_DUE, Way(CLOSED), WELL, [(Hold.NOT_YET_DUE, LATER)], id="not yet due"),
        pytest.param(
            replace(DUE, deadline=NOW), Way(), WELL, [(Hold.PAST_DEADLINE, None)], id="too late"
        ),
        pytest.param(DUE, Way(None, False), WELL, [(Hold.RELAY_UNKNOWN, None)], id="unknown relay"),
        pytest.param(DUE, Way(OPEN), WELL, [(Hold.RELAY_PAUSED, MUCH_LATER)], id="breaker open"),
        pytest.param(
            DUE,
            Way(replace(OPEN, probe_at=NOW - 1)),
            WELL,
            [(Hold.RELAY_PAUSED, NOW)],
            id="a probe is due",
        ),
        pytest.param(
            DUE,
            Way(replace(CLOSED, paused_at=NOW, paused_until=LATER)),
            WELL,
            [(Hold.RELAY_SUSPENDED, LATER)],
            id="paused by a person for a while",
        ),
        pytest.param(
            DUE,
            Way(replace(OPEN, paused_at=NOW), stand_in="spare"),
            WELL,
            [(Hold.RELAY_SUSPENDED, None)],
            id="paused by a person, whatever its fallback",
        ),
        pytest.param(
            DUE,
            Way(replace(CLOSED, paused_at=NOW - SECOND, paused_until=NOW)),
            WELL,
            [(Hold.NEXT, NOW)],
            id="a pause that is over",
        ),
        pytest.param(DUE, Way(PROBING), WELL, [(Hold.RELAY_PROBED, None)], id="probing"),
        pytest.param(
            DUE, Way(OPEN, stand_in="spare"), WELL, [(Hold.NEXT, NOW)], id="a fallback stands in"
        ),
        pytest.param(DUE, Way(), House(NOW, False), [(Hold.NO_DAEMON, None)], id="no daemon"),
        pytest.param(
            DUE, Way(), House(NOW, disk_is_low=True), [(Hold.DISK_LOW, None)], id="disk low"
        ),
        pytest.param(
            DUE, Way(under_way=4, room=4), WELL, [(Hold.SESSIONS_BUSY, None)], id="all busy"
        ),
        pytest.param(DUE, Way(under_way=3, room=4), WELL, [(Hold.NEXT, NOW)], id="one is free"),
        pytest.param(
            DUE, Way(under_way=999), WELL, [(Hold.NEXT, NOW)], id="nobody knows how many may be"
        ),
        pytest.param(
            NOT_DUE,
            Way(OPEN, under_way=4, room=4),
            House(NOW, has_daemon=False, disk_is_low=True),
            [
                (Hold.NOT_YET_DUE, LATER),
                (Hold.RELAY_PAUSED, MUCH_LATER),
                (Hold.NO_DAEMON, None),
                (Hold.DISK_LOW, None),
                (Hold.SESSIONS_BUSY, None),
            ],
            id="all of them, in the order of the daemon",
        ),
        pytest.param(
            Standing(State.SENDING, LATER, LATER), Way(), WELL, [(Hold.LEASED, None)], id="leased"
        ),
        pytest.param(
            Standing(State.SENDING, NOW, LATER),
            Way(),
            WELL,
            [(Hold.LEASE_ENDED, None)],
            id="its lease has ended",
        ),
        pytest.param(
            Standing(State.HELD, None, NOW), Way(OPEN), WELL, [(Hold.HELD, None)], id="held"
        ),
        pytest.param(
            Standing(State.HELD, None, NOW, is_doubtful=True),
            Way(),
            WELL,
            [(Hold.HELD_IN_DOUBT, None)],
            id="held by doubt",
        ),
    ],
)
def test_the_first_gate_holds_it(
    standing: Standing, way: Way, house: House, closed: list[tuple[Hold, int | None]]
) -> None:
    """Every closed gate is named, first the one that the daemon comes to first."""
    assert gates(standing, way, house) == tuple(Gate(*one) for one in closed)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_gate(state: State) -> None:
    """No recipient is without an answer, and final ones are held by nothing."""
    (gate,) = gates(Standing(state, NOW, LATER), Way(), WELL)
    assert (gate.hold is Hold.FINISHED) == state.is_final


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ([NOW], NOW),
        ([NOW - 5], NOW),
        ([LATER, MUCH_LATER], MUCH_LATER),
        ([MUCH_LATER, LATER], MUCH_LATER),
        ([LATER, None], None),
        ([None], None),
    ],
)
def test_it_goes_when_the_last_gate_opens(times: list[int | None], at: int | None) -> None:
    """With several gates the last to open counts, and where one has no time nobody can tell."""
    assert goes_at([Gate(Hold.NEXT, one) for one in times], now=NOW) == at
