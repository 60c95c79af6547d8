"""What became of the wish to cancel a message."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from mailqueue.errors import UnknownMessageError
from mailqueue.mail.lifecycle import Event, State
from mailqueue.outbox.acts import act, of_messages


@dataclass(frozen=True, slots=True)
class TooLate:
    """A recipient that was not cancelled, because of the state it is in."""

    address: str
    state: State


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The truth about each recipient.

    ``cancelled``: nothing will be sent to these. ``too_late``: they are being sent to at this
    moment, or have come to another end already.
    """

    message: int
    cancelled: tuple[str, ...]
    too_late: tuple[TooLate, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nobody at all gets the message."""
        return not self.too_late


def cancel(
    connection: Connection, message: int, *, actor: str, reason: str, now: int
) -> Cancellation:
    """Cancel ``message`` for every recipient that still waits, and say for which it was too late.

    Raises `UnknownMessageError`.
    """
    acts = act(
        connection, of_messages([message]), Event.CANCEL, actor=actor, reason=reason, now=now
    )
    if not acts:
        raise UnknownMessageError(message)
    cancelled, too_late = [], []
    for each in acts:
        if State.CANCELLED in (each.before, each.after):
            cancelled.append(each.address)
        else:
            too_late.append(TooLate(each.address, each.before))
    return Cancellation(message, tuple(cancelled), tuple(too_late))
