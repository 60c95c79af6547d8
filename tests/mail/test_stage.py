"""The stages: their order, and whom each of them concerns."""

from __future__ import annotations

import pytest

from mailqueue.mail.stage import Stage

BEFORE_MAIL = ["connect", "greeting", "ehlo", "starttls", "auth"]
TRANSACTION = ["mail", "rcpt", "data", "end-of-data"]
HOUSEKEEPING = ["rset", "quit"]


def test_the_stages_are_those_of_the_conversation_in_its_order() -> None:
    """A conversation passes from the connection to QUIT, and the stages sort that way."""
    assert [*BEFORE_MAIL, *TRANSACTION, *HOUSEKEEPING] == [str(stage) for stage in Stage]


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_concerns_the_relay_or_a_mail_or_neither(stage: Stage) -> None:
    """Before MAIL it is about us and the relay, after the final dot about nobody's mail."""
    assert stage.is_before_mail == (stage in BEFORE_MAIL)
    assert stage.is_housekeeping == (stage in HOUSEKEEPING)
