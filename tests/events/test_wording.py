"""The words of the log."""

from __future__ import annotations

import dataclasses
import logging
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue import events
from mailqueue.events.wording import word
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.reply import EnhancedStatus, Evidence, NoReply, NoReplyKind, Reply, Unsendable
from mailqueue.mail.stage import Stage
from tests.events.samples import ALL, answered, decision
from tests.support.leases import ACCEPTED, DEFERRED, REFUSED, SHUTDOWN, SILENCE, UNREACHABLE


def test_every_event_has_a_sample() -> None:
    """The list above all that follows is complete."""
    assert {type(one) for one in ALL} == set(get_args(events.Event))


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_every_event_has_words_of_its_own(event: events.Event) -> None:
    """None falls through to the representation of the value, and each is one line."""
    line = word(event)
    assert type(event).__name__ not in line.text
    assert line.text
    assert "\n" not in line.text


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (ACCEPTED, "dsn=2.0.0, status=sent (250 2.0.0 queued as 4711)"),
        (DEFERRED, "dsn=4.2.1, status=deferred (450 4.2.1 mailbox busy, id 12)"),
        (REFUSED, "dsn=5.1.1, status=failed (550 5.1.1 no such user)"),
        (
            Evidence(Stage.RCPT, Reply(550, "no")),
            "dsn=5.0.0, status=failed (550 no)",
        ),
        (
            Evidence(Stage.MAIL, Unsendable(EnhancedStatus(5, 3, 4), "too large")),
            "dsn=5.3.4, status=failed (5.3.4 too large)",
        ),
        (SILENCE, "dsn=4.0.0, status=deferred, in doubt (no reply (timeout: 600 s))"),
        (SHUTDOWN, "dsn=4.0.0, status=requeued (no reply (abandoned: shutdown))"),
        (
            UNREACHABLE,
            "dsn=4.0.0, status=requeued (no reply (refused: connection refused))",
        ),
    ],
)
def test_recipients_stand_in_postfixs_word_order(evidence: Evidence, words: str) -> None:
    """Whoever reads Postfix's log, or has a script that does, can read this one."""
    begin = "4711: to=<anna@example.net>, relay=main[192.0.2.1:25], delay=1.50, "
    assert word(answered(decision(evidence))).text == begin + words


def test_an_expired_attempt_and_a_held_doubt_are_named() -> None:
    """The status is that of the recipient and not only of the reply."""
    old = word(answered(decision(DEFERRED, age=431_999, attempts=9))).text
    held = word(answered(decision(SILENCE, on_doubt=OnDoubt.HOLD))).text
    assert "status=expired (" in old
    assert "status=held, in doubt (" in held


def test_without_a_session_there_is_no_peer() -> None:
    """Nothing stands in brackets where no address was reached."""
    assert "relay=main, delay" in word(answered(decision(UNREACHABLE), peer="")).text


def test_doubt_is_a_warning_and_all_else_of_a_recipient_is_information() -> None:
    """What may become a duplicate is seen by whoever reads warnings alone."""
    levels = [word(answered(decision(one))).level for one in (ACCEPTED, REFUSED, SILENCE)]
    assert levels == [logging.INFO, logging.INFO, logging.WARNING]


def test_an_unknown_relay_is_told_with_its_remedy() -> None:
    """A line that asks for something says what to do."""
    text = word(events.RelayUnknown("typo")).text
    assert "[relays.typo]" in text
    assert "reload" in text


def test_a_pause_names_who_decided_it_and_why() -> None:
    """Whoever wonders why mail waits finds the person to ask."""
    line = word(events.PauseBegun("main", "olga", "new address", None))
    assert line.text == "relay=main paused by olga: new address; its mail waits"
    assert line.level == logging.WARNING


def test_fields_say_the_same_as_the_text() -> None:
    """Machines read what people read, and the rule and the next attempt besides."""
    fields = word(answered(decision(DEFERRED))).fields
    assert fields["to"] == "anna@example.net"
    assert (fields["status"], fields["dsn"], fields["code"]) == ("deferred", "4.2.1", 450)
    assert (fields["stage"], fields["rule"]) == ("rcpt", "recipient-4xx")
    assert isinstance(fields["due_at"], int)


hostile = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["a\n4711: to=<b>, status=sent", "a\r\nb", "\x1b[2J", "\u2028b", "\x85b", "\ud800", "\0"]
)


def dressed(event: events.Event, text: str) -> events.Event:
    """Return the event with every text in it replaced."""
    changes: dict[str, object] = {
        field.name: text
        for field in dataclasses.fields(event)
        if isinstance(getattr(event, field.name), str)
    }
    evidence = Evidence(Stage.CONNECT, NoReply(NoReplyKind.LOST, text))
    match event:
        case events.RelayPaused():
            changes["evidence"] = evidence
        case events.PartFailed():
            changes["error"] = ValueError(text)
        case events.RecipientAnswered() | events.ResultRefused() | events.LeaseReaped():
            changes["decision"] = decision(Evidence(Stage.RCPT, Reply(450, text)))
    return dataclasses.replace(event, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
@given(text=hostile)
def test_hostile_text_stays_one_printable_line(event: events.Event, text: str) -> None:
    """Replies, addresses and names from rows forge no line and steer no terminal."""
    assert word(dressed(event, text)).text.isprintable()


@pytest.mark.parametrize(
    "event", [one for one in ALL if hasattr(one, "recipient")], ids=lambda one: type(one).__name__
)
def test_who_is_named_is_named_with_the_message(event: events.Event) -> None:
    """A line about a recipient begins with its message, so that `mailqueue show` tells the rest."""
    line = word(event)
    assert line.text.startswith(f"{line.fields['message']}: to=<anna@example.net>, ")
    assert line.fields["to"] == "anna@example.net"


def test_the_lines_of_a_reply_are_told_apart() -> None:
    """All of a reply of several lines is in the log."""
    line = word(answered(decision(Evidence(Stage.RCPT, Reply(550, "no\nnever")))))
    assert line.text.endswith("(550 no / never)")
