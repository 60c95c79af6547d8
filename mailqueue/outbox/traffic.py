"""What has become of mail lately, and what of it waits, by relay or by domain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, case, func, literal, select, text

from mailqueue.mail.lifecycle import State
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.recent import first_since
from mailqueue.outbox.tables import attempts, recipients


class By(StrEnum):
    """What mail is put together by."""

    RELAY = "relay"
    """By the name that it carries, and attempts by the relay that answered."""
    DOMAIN = "domain"
    """By what follows the @ of the recipient, in small letters."""


@dataclass(slots=True)
class Traffic:
    """What came of the recipients that were tried in a stretch of time.

    ``deferred``: will be tried again; ``failed``: refused for good; ``expired``: given up.
    """

    sent: int = 0
    deferred: int = 0
    failed: int = 0
    expired: int = 0
    in_doubt: int = 0

    @property
    def ended(self) -> int:
        """How many reached a final state."""
        return self.sent + self.failed + self.expired

    def add(self, other: Traffic) -> None:
        """Count those of ``other`` among these."""
        self.sent += other.sent
        self.deferred += other.deferred
        self.failed += other.failed
        self.expired += other.expired
        self.in_doubt += other.in_doubt


@dataclass(slots=True)
class Waiting:
    """Recipients that are not finished, as they are now.

    ``due``: how many of those queued, deferred or sending should have been taken up before now;
    ``oldest_due``: since when the first of them (epoch microseconds).
    """

    queued: int = 0
    deferred: int = 0
    sending: int = 0
    held: int = 0
    due: int = 0
    oldest_due: int | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return self.queued + self.deferred + self.sending + self.held

    def add(self, other: Waiting) -> None:
        """Count those of ``other`` among these."""
        for state in _UNFINISHED:
            self.count(state, getattr(other, state))
        self.due += other.due
        known = [at for at in (self.oldest_due, other.oldest_due) if at is not None]
        self.oldest_due = min(known, default=None)

    def count(self, state: str, number: int) -> None:
        """Count so many more that are in ``state``."""
        setattr(self, state, getattr(self, state) + number)


def traffic(connection: Connection, *, since: int, by: By = By.RELAY) -> dict[str, Traffic]:
    """Return what was tried at ``since`` (epoch microseconds) or later, by name.

    Reads the attempts of that time and no others. Mail that expired while it waited made no
    attempt: see `expired`.
    """
    given = {"first": first_since(connection, since), "since": since}
    found: defaultdict[str, Traffic] = defaultdict(Traffic)
    for name, what, number in connection.execute(_TRIED[by], given):
        one = found[_named(name, by)]
        setattr(one, what, getattr(one, what) + number)
    return dict(found)


def expired(connection: Connection, *, since: int, by: By = By.RELAY) -> dict[str, int]:
    """Return how many expired at ``since`` or later while they waited, by name.

    Those that were given up after an attempt are among the `traffic`. Walks all recipients, for
    no index has the times of their ends: a third of a second for a million. Too much for what
    is asked every second.
    """
    found: defaultdict[str, int] = defaultdict(int)
    for (name,) in connection.execute(_EXPIRED[by], {"since": since}):
        found[_named(name, by)] += 1
    return dict(found)


def waiting(connection: Connection, *, now: int, by: By = By.RELAY) -> dict[str, Waiting]:
    """Return what is unfinished, by name; costs about a second for a million that wait."""
    found: defaultdict[str, Waiting] = defaultdict(Waiting)
    for name, state, number, due, oldest in connection.execute(_WAITING[by], {"now": now}):
        one = found[_named(name, by)]
        one.count(state, number)
        if due:
            one.due += due
            one.oldest_due = oldest if one.oldest_due is None else min(one.oldest_due, oldest)
    return dict(found)


def _named(name: str, by: By) -> str:
    # In Python: neither database finds the last @, and grouping there would sort all rows.
    return name.rpartition("@")[2].lower() if by is By.DOMAIN else name


_UNFINISHED: Final = tuple(state for state in State if not state.is_final)
_LIVE: Final = text("finished_at IS NULL")


def _what() -> Any:
    verdict = attempts.c.verdict
    # An attempt after which nothing follows, though it was not refused: the deadline is near.
    gives_up = (verdict == Outcome.DEFER, attempts.c.due_at.is_(None))
    return case(
        (verdict == Outcome.SENT, literal("sent")),
        (verdict == Outcome.FAIL, literal("failed")),
        (verdict == Outcome.IN_DOUBT, literal("in_doubt")),
        (gives_up[0] & gives_up[1], literal("expired")),
        else_=literal("deferred"),
    )


def _tried(by: By) -> Select[*tuple[Any, ...]]:
    recent = [attempts.c.id >= bindparam("first"), attempts.c.ended_at >= bindparam("since")]
    if by is By.RELAY:
        what = _what().label("what")
        counted = select(attempts.c.relay, what, func.count()).where(*recent)
        return counted.group_by(attempts.c.relay, what)
    return (
        select(recipients.c.address, _what(), literal(1))
        .join_from(attempts, recipients)
        .where(*recent)
    )


def _expired(by: By) -> Select[*tuple[Any, ...]]:
    name = recipients.c.relay if by is By.RELAY else recipients.c.address
    ended_at, tried_at = recipients.c.finished_at, recipients.c.last_at
    while_waiting = tried_at.is_(None) | (tried_at < ended_at)
    ended = (recipients.c.state == State.EXPIRED, ended_at >= bindparam("since"))
    return select(name).where(*ended, while_waiting)


def _waiting(by: By) -> Select[*tuple[Any, ...]]:
    columns = recipients.c
    is_due = columns.due_at <= bindparam("now")
    due_at = case((is_due, columns.due_at))
    if by is By.DOMAIN:
        due = case((is_due, 1), else_=0)
        return select(columns.address, columns.state, literal(1), due, due_at).where(_LIVE)
    counted = (columns.relay, columns.state, func.count(), func.count(due_at), func.min(due_at))
    return select(*counted).where(_LIVE).group_by(columns.relay, columns.state)


_TRIED: Final = {by: _tried(by) for by in By}
_EXPIRED: Final = {by: _expired(by) for by in By}
_WAITING: Final = {by: _waiting(by) for by in By}
