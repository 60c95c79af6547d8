"""The operator: decides about messages, about everybody whom a filter selects, and about relays."""

from __future__ import annotations

import getpass
import os
from collections.abc import Collection
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Engine

from mailqueue.clock import Clock, microseconds
from mailqueue.errors import UnknownMessageError, UnknownRecipientError
from mailqueue.mail.lifecycle import Event
from mailqueue.operate.access import Access
from mailqueue.operate.bulk import Bulk
from mailqueue.operate.relays import RelayStanding, known, standings
from mailqueue.outbox.acts import Act, act
from mailqueue.outbox.bulk import Tally
from mailqueue.outbox.engine import BUSY_TIMEOUT
from mailqueue.outbox.filter import Filter, condition
from mailqueue.outbox.moment import clock_for, moment
from mailqueue.outbox.pauses import Pause, pause, resume


def login_name() -> str:
    """Return who is at the keyboard, also behind sudo, or the number of a user without a name."""
    if behind := os.environ.get("SUDO_USER"):
        return behind
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class Operator:
    """Somebody who decides about mail in the outbox at ``place``: a URL, a path or an engine.

    ``actor`` is the name that stands on record with each decision; by default the login name.
    ``relays`` and ``default_relay`` are the names that a configuration has, for as long as no
    daemon has written them into the outbox. ``notify``: on PostgreSQL, whether commits wake the
    daemon by NOTIFY.

    The verbs for one message take its number, and ``recipient`` where only one address of it is
    meant (or several, with ``*``); they return an act for each recipient concerned, with the
    reason for those that were left alone. `where` gives the same verbs for all whom a filter
    selects. All of them wake the daemon, and work without one. Raises `UnknownMessageError`, and
    `OutboxError` where the database cannot be used.
    """

    def __init__(
        self,
        place: str | URL | PathLike[str] | Engine,
        *,
        actor: str | None = None,
        clock: Clock | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
        notify: bool = True,
        relays: Collection[str] = (),
        default_relay: str | None = None,
    ) -> None:
        self._access = Access(place, busy_timeout, notify=notify)
        self._actor = actor or login_name()
        self._clock = clock or clock_for(self._access.url)
        self._relays = relays
        self._default_relay = default_relay

    def hold(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Keep waiting recipients from being sent to until they are released."""
        return self.decide(Event.HOLD, message, recipient=recipient, reason=reason)

    def release(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Let held recipients go on where they were held; one held in doubt may be sent twice."""
        return self.decide(Event.RELEASE, message, recipient=recipient, reason=reason)

    def cancel(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Withdraw the message from all who have not got it and are not getting it now."""
        return self.decide(Event.CANCEL, message, recipient=recipient, reason=reason)

    def retry(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Try again at once with a new lifetime, also whom the message failed to reach."""
        return self.decide(Event.RETRY, message, recipient=recipient, reason=reason)

    def fail(self, message: int, *, recipient: str | None = None, reason: str = "") -> list[Act]:
        """Give up recipients that wait or are held, as failed for good though nobody refused."""
        return self.decide(Event.FAIL_BY_HAND, message, recipient=recipient, reason=reason)

    def where(self, wanted: Filter) -> Bulk:
        """Return the verbs for all whom ``wanted`` selects."""
        return Bulk(
            self._access,
            wanted,
            actor=self._actor,
            clock=self._clock,
            default_relay=self._default_relay,
        )

    def count(self, wanted: Filter) -> Tally:
        """Count all whom ``wanted`` selects, by state and relay."""
        return self.where(wanted).count()

    def pause(self, relay: str, *, lasting: timedelta | None = None, reason: str = "") -> Pause:
        """Let the daemon begin no other delivery at ``relay``, until resumed or for so long.

        What is under way finishes. The relay's mail waits and goes to no fallback. Raises
        `UnknownRelayError`, which names the known ones.
        """
        with self._access.writing() as connection:
            now = moment(connection, self._clock)
            until = None if lasting is None else now + microseconds(lasting.total_seconds())
            decided = Pause(now, until, self._actor, reason)
            name = known(connection, relay, self._relays, default=self._default_relay)
            pause(connection, name, decided)
            self._access.ring_after_commit(connection)
        return decided

    def resume(self, relay: str) -> bool:
        """End the pause of ``relay``; returns whether it was paused. Raises like `pause`."""
        with self._access.writing() as connection:
            name = known(connection, relay, self._relays, default=self._default_relay)
            self._access.ring_after_commit(connection)
            return resume(connection, name, now=moment(connection, self._clock))

    def relays(self) -> list[RelayStanding]:
        """Return how every relay stands that is known, and every name that mail waits for."""
        with self._access.reading() as connection:
            return standings(connection, self._relays, default=self._default_relay)

    def close(self) -> None:
        """Close the connections, unless they are the application's; harmless when repeated."""
        self._access.close()

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

    def decide(
        self, event: Event, message: int, *, recipient: str | None = None, reason: str = ""
    ) -> list[Act]:
        """Let ``event``, which is an operator's, happen to a message: what all verbs above do."""
        acts = self._act(_of_message(message, recipient), event, reason)
        if not acts and recipient is not None:
            raise UnknownRecipientError(message, recipient)
        if not acts:
            raise UnknownMessageError(message)
        return acts

    def _act(self, wanted: Filter, event: Event, reason: str) -> list[Act]:
        with self._access.writing() as connection:
            now = moment(connection, self._clock)
            acts = act(
                connection,
                condition(wanted, now=now),
                event,
                actor=self._actor,
                reason=reason,
                now=now,
            )
            self._access.ring_after_commit(connection)
        return acts


def _of_message(message: int, recipient: str | None) -> Filter:
    return Filter(message=message, recipient=recipient)
