from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.refused import Refused, refused
from tests.support.rows import NOW, SECOND, add_attempt, add_message, recipient_ids

HOUR = 3600 * SECOND


def tried(connection: Connection, state: State, *verdicts: str, ended_at: int = NOW) -> None:
    """Insert a recipient in ``state`` whose attempts ended so; ``give-up`` leaves no next one."""
    (one,) = recipient_ids(connection, add_message(connection, recipient={"state": state}))
    for verdict in verdicts:
        given_up = verdict == "give-up"
        add_attempt(
            connection,
            one,
            verdict="defer" if given_up else verdict,
            due_at=None if given_up else NOW,
            ended_at=ended_at,
        )


@pytest.mark.parametrize(
    ("state", "verdicts", "counted"),
    [
        pytest.param(State.FAILED, ["fail"], Refused(1, 0), id="refused"),
        pytest.param(State.FAILED, ["fail", "fail"], Refused(1, 0), id="refused, retried, refused"),
        pytest.param(State.EXPIRED, ["defer", "give-up"], Refused(1, 0), id="given up"),
        pytest.param(State.SENT, ["fail", "sent"], Refused(0, 1), id="retried and sent"),
        pytest.param(State.QUEUED, ["fail"], Refused(0, 1), id="retried and waits"),
        pytest.param(State.DEFERRED, ["defer"], Refused(0, 0), id="put off"),
        pytest.param(State.SENT, ["sent"], Refused(0, 0), id="sent"),
    ],
)
def test_whoever_has_begun_anew_is_mended(
    connection: Connection, state: State, verdicts: list[str], counted: Refused
) -> None:
    """A recipient counts once, as failed for as long as that is what has become of it."""
    tried(connection, state, *verdicts)
    assert refused(connection, since=NOW - HOUR) == counted


def test_what_is_old_does_not_count(connection: Connection) -> None:
    """A refusal from before the time that is asked for is none of it."""
    tried(connection, State.FAILED, "fail", ended_at=NOW - 2 * HOUR)
    tried(connection, State.FAILED, "fail")
    assert refused(connection, since=NOW - HOUR) == Refused(1, 0)
