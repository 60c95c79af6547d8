"""The operator's verbs: hold, release, retry and cancel what is in the outbox, on the record."""

from __future__ import annotations

import getpass
import os
from os import PathLike
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Engine

from mailqueue.clock import Clock, SystemClock
from mailqueue.errors import UnknownMessageError, UnknownRecipientError
from mailqueue.mail.lifecycle import Event
from mailqueue.outbox.acts import Act, Selection, act, of_messages
from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.engine import BUSY_TIMEOUT, write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import parse_url
from mailqueue.outbox.schema import check
from mailqueue.outbox.tables import recipients


def login_name() -> str:
    """Return who is at the keyboard, or the number of a user that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class Operator:
    """Somebody who decides about mail in the outbox at ``place``: a URL, a path or an engine.

    ``actor`` is the name that stands on record with each decision; by default the login name.

    Every verb takes the number of a message, and ``recipient`` where only one address of it is
    meant; it returns an act for each recipient concerned, with the reason for those that
    were left alone, and wakes the daemon. Raises `UnknownMessageError`, and `OutboxError`
    where the database cannot be used.
    """

    def __init__(
        self,
        place: str | URL | PathLike[str] | Engine,
        *,
        actor: str | None = None,
        clock: Clock | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        self._is_own = not isinstance(place, Engine)
        self._engine = (
            place
            if isinstance(place, Engine)
            else write_engine(parse_url(place), busy_timeout=busy_timeout)
        )
        self._actor = actor or login_name()
        self._clock = clock or SystemClock()

    def hold(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Keep waiting recipients from being sent to until they are released."""
        return self._decide(Event.HOLD, message, recipient, reason)

    def release(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Let held recipients go on where they were held; one held in doubt may be sent twice."""
        return self._decide(Event.RELEASE, message, recipient, reason)

    def cancel(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Withdraw the message from all who have not got it and are not getting it now."""
        return self._decide(Event.CANCEL, message, recipient, reason)

    def retry(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Try again at once with a new lifetime, also whom the message failed to reach."""
        return self._decide(Event.RETRY, message, recipient, reason)

    def close(self) -> None:
        """Close the connections, unless they are the application's; harmless when repeated."""
        if self._is_own:
            self._engine.dispose()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def _decide(self, event: Event, message: int, recipient: str | None, reason: str) -> list[Act]:
        acts = self._act(_selection(message, recipient), event, reason)
        if not acts and recipient is not None:
            raise UnknownRecipientError(message, recipient)
        if not acts:
            raise UnknownMessageError(message)
        return acts

    def _act(self, selection: Selection, event: Event, reason: str) -> list[Act]:
        with translating(self._engine.url), self._engine.begin() as connection:
            check(connection)
            acts = act(
                connection,
                selection,
                event,
                actor=self._actor,
                reason=reason,
                now=self._clock.now(),
            )
            ring_after_commit(connection)
        return acts


def _selection(message: int, recipient: str | None) -> Selection:
    whole = of_messages([message])
    if recipient is None:
        return whole
    local, at, domain = recipient.rpartition("@")
    return whole & (recipients.c.address == f"{local}{at}{domain.lower()}")
