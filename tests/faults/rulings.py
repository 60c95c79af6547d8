"""The table of verdicts, written a second time: from what is heard at a stage to a row.

Written from the promises and from RFC 5321, and not from the code under test, of which
nothing is imported here: an error in `mailqueue.mail` cannot repeat itself in this file.
"""

from __future__ import annotations

from tests.faults.expectation import ANY_CODE, Pause, Row
from tests.faults.hearing import Heard

ACCEPTED = Row("sent", "message", "accepted", "end-of-data", 250)
LATER = Row("defer", "recipient", "recipient-4xx", "rcpt", 450)
NEVER = Row("fail", "recipient", "recipient-5xx", "rcpt", 550)
PRIMER_REFUSED = Row("fail", "message", "message-5xx", "data", 554)
OVERLOADED = Row("defer", "session", "relay-overloaded", "mail", 421, charged=False)


def is_positive(heard: int | Heard) -> bool:
    """Whether it is a 2xx, or the reply that should come."""
    return heard in (Heard.USUAL, Heard.LAST_WORDS) or (
        isinstance(heard, int) and 200 <= heard <= 299
    )


def is_verdict(heard: int | Heard) -> bool:
    """Whether it is a code that decides anything about a mail."""
    return isinstance(heard, int) and (200 <= heard <= 299 or 400 <= heard <= 599)


def _code(heard: int | Heard) -> int | None:
    return heard if isinstance(heard, int) else None


def opening_trouble(stage: str, heard: int | Heard) -> Pause | None:
    """Return why the relay is paused before it has seen any mail; None where all is well."""
    match stage, heard:
        case ("greeting", Heard.SURPLUS):
            return Pause("ehlo")
        case ("greeting", Heard.NONSENSE):
            return Pause("greeting", ANY_CODE)
        case ("greeting", int(code)):
            return Pause("greeting", code)  # 220 is the only one that is a welcome
        case ("ehlo-in-tls", int(code)) if is_positive(code):
            return Pause("auth")  # what is not offered any more is AUTH
        case ("starttls", int(code)):
            return Pause("starttls", code)
        case ("auth", int(code)) if is_positive(code):
            return None
    if is_positive(heard):
        return None
    names = {"handshake": "starttls", "ehlo-in-tls": "ehlo"}
    return Pause(names.get(stage, stage), _code(heard))


def refused(stage: str, heard: int | Heard) -> Row:
    """Return the row for everybody who was accepted so far, where the message is not."""
    match heard:
        case 421:
            return Row("defer", "session", "relay-closing", stage, 421)
        case int(code) if 400 <= code <= 499:
            return Row("defer", "message", "message-4xx", stage, code)
        case int(code) if 500 <= code <= 599:
            return Row("fail", "message", "message-5xx", stage, code)
    return lost(stage, heard)


def lost(stage: str, heard: int | Heard) -> Row:
    """Return the row for everybody without an answer, where the session cannot be trusted."""
    if heard is Heard.NOTHING:
        return Row("defer", "session", "lost-before-dot", stage)
    return Row("defer", "session", "malformed-reply", stage, _code(heard))


def ended(heard: int | Heard) -> Row:
    """Return the row for those whose final dot was answered so, or not at all."""
    match heard:
        case Heard.USUAL | Heard.LAST_WORDS:
            return ACCEPTED
        case int(code) if is_positive(code):
            return Row("sent", "message", "accepted", "end-of-data", code)
        case int(code) if is_verdict(code):
            return refused("end-of-data", code)
        case int(code):
            return Row("in-doubt", "message", "malformed-reply", "end-of-data", code)
    return Row("in-doubt", "message", "silence-after-dot", "end-of-data")


def is_orderly(row: Row) -> bool:
    """Whether the session goes on after it: an answer in its place does not end one."""
    return row.scope in ("recipient", "message") and row.verdict != "in-doubt"
