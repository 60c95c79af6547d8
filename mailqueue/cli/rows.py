"""Recipients as lines of text and as JSON: for pipes and programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from mailqueue.cli.output import instant, iso, one_line
from mailqueue.cli.waiting import Surroundings, pause, stranger, suspension
from mailqueue.clock import MICROSECONDS
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.lookup import Listed, RecipientStatus

_WIDTHS: Final = (8, 9, 20, 5, 10, 28, 28)
_QUEUE_NAMES: Final = (
    (State.SENDING, "active"),
    (State.HELD, "hold"),
    (State.DEFERRED, "deferred"),
    (State.QUEUED, "incoming"),
)
"""Postfix's names, which a message has but one of: the first that fits one of its recipients."""


def plain(listed: Listed, around: Surroundings) -> str:
    """Return one recipient as a line of columns; nothing is cut, and only the last may be empty."""
    recipient = listed.recipient
    at = due_at(recipient)
    return _aligned(
        str(listed.message),
        str(recipient.state),
        "-" if at is None else instant(at),
        str(recipient.attempts),
        around.relay_name(recipient.relay),
        sender(listed),
        recipient.address,
        obstacle(listed, around),
    )


def due_at(recipient: RecipientStatus) -> int | None:
    """Return when the next attempt is due; None where none is, or one is under way."""
    return None if recipient.state is State.SENDING else recipient.due_at


def sender(listed: Listed) -> str:
    """Return the sender as people write it, the null sender with its brackets."""
    return listed.sender or "<>"


def obstacle(listed: Listed, around: Surroundings) -> str:
    """Return on one line what keeps a recipient: a person who holds it or has paused its relay,
    that there is no such relay, or its last reply.

    A breaker's pause ends by itself, and then the reply is what counts.
    """
    recipient = listed.recipient
    by = around.holds.get(recipient.id)
    if by is not None:
        return one_line(f"held by {by.actor}" + (f": {by.reason}" if by.reason else ""))
    kept = suspension(recipient, around) or stranger(recipient, around)
    return one_line(kept) or reason(recipient, around)


def reason(recipient: RecipientStatus, around: Surroundings) -> str:
    """Return on one line the last reply, or where there is none why the relay is paused."""
    last = recipient.last
    if last is None:
        return one_line(pause(recipient, around))
    parts = (str(last.code or ""), last.enhanced or "", last.text)
    return one_line(" ".join(filter(None, parts)))


def _aligned(*cells: str) -> str:
    *columns, last = map(one_line, cells)
    padded = [(cell or "-").ljust(width) for cell, width in zip(columns, _WIDTHS, strict=True)]
    return " ".join((*padded, last)).rstrip()


HEADER: Final = _aligned("ID", "STATE", "DUE", "TRIES", "RELAY", "SENDER", "RECIPIENT", "REASON")


def json_lines(found: Iterable[Listed], around: Surroundings) -> Iterator[str]:
    """Yield one line of JSON per message: postqueue's names (postqueue(1)), and ours besides.

    A message has those of its recipients that are in ``found``. Pure ASCII: what would act on a
    terminal is escaped.
    """
    for _, group in groupby(found, key=lambda listed: listed.message):
        yield json.dumps(_message([*group], around))


def _message(group: Sequence[Listed], around: Surroundings) -> dict[str, Any]:
    first = group[0]
    return {
        "queue_name": _queue_name({listed.recipient.state for listed in group}),
        "queue_id": str(first.message),
        "arrival_time": first.enqueued_at // MICROSECONDS,
        "message_size": first.size,
        "forced_expire": False,
        "sender": first.sender,
        "recipients": [_recipient(listed, around) for listed in group],
        "message_id": first.message_id,
        "enqueued_at": iso(first.enqueued_at),
        "tags": dict(first.tags),
    }


def _queue_name(states: set[State]) -> str:
    return next((name for state, name in _QUEUE_NAMES if state in states), "finished")


def _recipient(listed: Listed, around: Surroundings) -> dict[str, Any]:
    recipient = listed.recipient
    why = "" if recipient.state.is_final else obstacle(listed, around)
    delayed = {"delay_reason": why} if why else {}
    fields = {**status(recipient), "relay": around.relay_name(recipient.relay)}
    return {"address": recipient.address, **delayed, **fields}


def status(recipient: RecipientStatus) -> dict[str, Any]:
    """Return how a recipient stands, for JSON; its address is left to the caller."""
    last = recipient.last
    return {
        "state": str(recipient.state),
        "relay": recipient.relay,
        "attempts": recipient.attempts,
        "doubts": recipient.doubts,
        "due_at": iso(recipient.due_at),
        "expires_at": iso(recipient.expires_at),
        "finished_at": iso(recipient.finished_at),
        "worker": recipient.worker,
        "last_reply": None
        if last is None
        else {
            "at": iso(last.at),
            "code": last.code,
            "enhanced": last.enhanced,
            "text": last.text,
        },
    }
