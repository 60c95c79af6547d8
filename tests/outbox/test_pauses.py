"""An operator's pause of a relay, in its row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from mailqueue.outbox import relays
from mailqueue.outbox.pauses import Pause, pause, pauses, resume
from mailqueue.outbox.relays import RelayRow
from tests.support.rows import NOW, SECOND

PAUSE = Pause(NOW, None, "olga", "new address")


@pytest.mark.parametrize(
    ("until", "is_paused"), [(None, True), (NOW + 1, True), (NOW, False), (NOW - 1, False)]
)
def test_a_pause_is_in_force_until_its_end(
    connection: Connection, until: int | None, is_paused: bool
) -> None:
    """Without an end it stays; at its end it is over, though the row still has it."""
    decided = replace(PAUSE, at=NOW - SECOND, until=until)
    pause(connection, "main", decided)
    assert pauses(connection, now=NOW) == ({"main": decided} if is_paused else {})
    assert relays.load(connection)["main"].is_paused(now=NOW) is is_paused


def test_a_later_pause_takes_the_place_of_the_one_before(connection: Connection) -> None:
    """There is one pause for each relay: the last one that was decided."""
    pause(connection, "main", PAUSE)
    pause(connection, "main", replace(PAUSE, by="otto", until=NOW + 1))
    assert pauses(connection, now=NOW) == {"main": replace(PAUSE, by="otto", until=NOW + 1)}


def test_resuming_says_whether_there_was_a_pause(connection: Connection) -> None:
    """A second time, or without a row, nothing happens."""
    pause(connection, "main", PAUSE)
    pause(connection, "bulk", PAUSE)
    assert resume(connection, "main", now=NOW)
    assert not resume(connection, "main", now=NOW)
    assert not resume(connection, "other", now=NOW)
    assert [*pauses(connection, now=NOW)] == ["bulk"]


def test_a_pause_outlives_what_the_daemon_writes(connection: Connection) -> None:
    """Neither news of the breaker nor a start of the daemon ends or changes it."""
    pause(connection, "main", PAUSE)
    relays.save(connection, RelayRow("main", "open", NOW, NOW, 1))
    assert pauses(connection, now=NOW) == {"main": PAUSE}
    relays.show(connection, [RelayRow("main", "closed", NOW, is_default=True)])
    assert pauses(connection, now=NOW) == {"main": PAUSE}
    assert relays.load(connection)["main"].breaker == "closed"


def test_a_daemon_forgets_relays_but_no_pause(connection: Connection) -> None:
    """Of two daemons with other relays, neither ends the pauses that the other obeys."""
    pause(connection, "theirs", PAUSE)
    relays.save(connection, RelayRow("gone", "closed", NOW))
    relays.show(connection, [RelayRow("main", "closed", NOW)])
    assert sorted(relays.load(connection)) == ["main", "theirs"]
