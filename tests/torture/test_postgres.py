"""PostgreSQL that is killed, and everybody who works on it."""

from __future__ import annotations

import pytest

from tests.torture import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_what_postgresql_acknowledged_is_sent_however_often_it_is_killed() -> None:
    """Three daemons live through it, nothing is lost, and who was sent to twice is on record.

    One of them sleeps past its lease while the server and a producer are killed, and at last a
    standby takes over. What a producer was told is the truth.
    """
    tally = postgres.ordeal("fixed", rounds=3, failover=True)
    assert tally.losses == 0
    assert tally.further["server kills"] >= 1
    assert tally.further["failovers"] == 1
    assert tally.further["daemons stopped past their lease"] == 1
