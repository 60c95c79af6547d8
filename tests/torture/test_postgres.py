"""PostgreSQL that is killed."""

from __future__ import annotations

import pytest

from tests.torture import postgres

pytestmark = pytest.mark.slow


def test_what_postgresql_acknowledged_is_sent_however_often_it_is_killed() -> None:
    """The daemon lives through it, nothing is lost, and who was sent to twice is on record."""
    tally = postgres.ordeal("fixed", kills=3)
    assert (tally.runs, tally.losses) == (3, 0)
