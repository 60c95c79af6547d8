"""What results say about the relay."""

from __future__ import annotations

import pytest

from mailqueue.daemon.feedback import Health, health
from mailqueue.mail.decision import Decision
from mailqueue.mail.reply import EnhancedStatus, Evidence, NoReply, NoReplyKind, Reply, Unsendable
from mailqueue.mail.schedule import History
from mailqueue.mail.stage import Stage
from mailqueue.outbox.lease import Lease
from tests.support.leases import (
    ACCEPTED,
    CUT_OFF,
    DEFERRED,
    OVERLOADED,
    REFUSED,
    SHUTDOWN,
    SILENCE,
    UNREACHABLE,
    result_of,
)
from tests.support.rows import NOW

LOCAL = Evidence(Stage.MAIL, NoReply(NoReplyKind.LOCAL, "a bug"))
UNSENDABLE = Evidence(Stage.MAIL, Unsendable(EnhancedStatus(5, 3, 4), "too large"))
CLOSING = Evidence(Stage.RCPT, Reply(421, "closing"))
GREETED = Evidence(Stage.GREETING, Reply(554, "go away"))
GARBAGE = Evidence(Stage.RCPT, NoReply(NoReplyKind.MALFORMED, "0x00"))


def decisions(*evidence: Evidence) -> list[Decision]:
    """Decide each as a delivery does."""
    lease = Lease(1, "anna@example.net", 1, History(NOW, 0))
    return [result_of(lease, one).decision for one in evidence]


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param([ACCEPTED], Health.WELL, id="accepted"),
        pytest.param([REFUSED], Health.WELL, id="a refusal is an answer"),
        pytest.param([DEFERRED, REFUSED], Health.WELL, id="answers to all"),
        pytest.param([UNSENDABLE], Health.WELL, id="not offered: it was there to say so"),
        pytest.param([UNREACHABLE], Health.RELAY_TROUBLE, id="connection refused"),
        pytest.param([GREETED], Health.RELAY_TROUBLE, id="a 5xx greeting"),
        pytest.param([OVERLOADED], Health.RELAY_TROUBLE, id="421 to MAIL"),
        pytest.param([CLOSING], Health.SESSION_TROUBLE, id="421 to RCPT"),
        pytest.param([CUT_OFF], Health.SESSION_TROUBLE, id="lost before the dot"),
        pytest.param([SILENCE], Health.SESSION_TROUBLE, id="silence after the dot"),
        pytest.param([GARBAGE], Health.SESSION_TROUBLE, id="garbage"),
        pytest.param([SHUTDOWN], Health.UNKNOWN, id="our own shutdown"),
        pytest.param([LOCAL], Health.UNKNOWN, id="our own fault"),
        pytest.param([], Health.UNKNOWN, id="nothing"),
        pytest.param([REFUSED, SHUTDOWN], Health.WELL, id="answered before we stopped"),
        pytest.param([ACCEPTED, CUT_OFF], Health.SESSION_TROUBLE, id="the worst of them"),
        pytest.param([CUT_OFF, OVERLOADED, ACCEPTED], Health.RELAY_TROUBLE, id="the very worst"),
    ],
)
def test_a_relay_is_as_well_as_the_worst_of_its_answers(
    evidence: list[Evidence], expected: Health
) -> None:
    """Trouble brings its evidence along; what we did ourselves says nothing about the relay."""
    how, why = health(decisions(*evidence))
    assert how is expected
    assert (why in evidence) == (how in (Health.RELAY_TROUBLE, Health.SESSION_TROUBLE))
