"""What the demo's relays do to whom, and the state that must come of it."""

from __future__ import annotations

from dataclasses import dataclass

from mailqueue.mail.lifecycle import State

# What a hostile relay might hope that somebody prints, renders or runs.
HOSTILE_REPLY = (
    b"550 5.1.1 \x1b[2J\x1b]0;pwned\x07[bold]no[/bold] '); DROP TABLE mailqueue_messages; -- \xff"
)

REOPENED = "reopened"
"""Refused once for good, and taken when an operator tries again."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How recipients are treated whose address begins with ``word``.

    ``verb`` is the moment of the session, ``reply`` what is said then; empty: the mail is
    taken, and the connection is cut before the 250 arrives. ``first``: how often; None:
    each time.
    """

    word: str
    ends: State
    verb: str = ""
    reply: str | bytes = ""
    first: int | None = None


_HABITS = (
    Habit("customer", State.SENT),
    Habit("greylisted", State.SENT, "RCPT", "451 4.7.1 greylisted, please come back", first=2),
    Habit("crowded", State.SENT, ".", "452 4.3.1 mail system storage is full", first=1),
    Habit("unknown", State.FAILED, "RCPT", "550 5.1.1 there is nobody of this name"),
    Habit("hostile", State.FAILED, "RCPT", HOSTILE_REPLY),
    Habit("unwelcome", State.FAILED, "MAIL", "553 5.7.1 we take nothing from this sender"),
    Habit("unwanted", State.FAILED, "DATA", "550 5.7.1 not to this mailbox"),
    Habit("spam", State.FAILED, ".", "554 5.7.1 this looks like advertising"),
    Habit("locked", State.EXPIRED, "RCPT", "450 4.2.1 the mailbox is locked"),
    Habit("lost", State.SENT, ".", first=1),
    Habit("tampered", State.EXPIRED),
    Habit(REOPENED, State.SENT, "RCPT", "550 5.1.1 the mailbox is closed", first=1),
)
HABITS = {habit.word: habit for habit in _HABITS}


def habit_of(address: str) -> Habit:
    """Return the habit for an address such as ``greylisted-2@example.net``."""
    return HABITS[address.partition("-")[0]]
