"""Due recipients become leased ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    bindparam,
    literal_column,
    null,
    or_,
    select,
    update,
)

from mailqueue.failpoint import reach
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.priority import Priority
from mailqueue.mail.schedule import History
from mailqueue.outbox.clauses import among, listed, unindexed
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.prepared import Batch, Prepared, Values
from mailqueue.outbox.states import after, may
from mailqueue.outbox.tables import contents, messages, recipients


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker asks for: mail of one name and one priority. Instants in epoch microseconds.

    ``messages`` and ``octets`` bound what it takes on, so that memory does not grow with
    the queue; one message is taken however large it is. ``born_after``: recipients whose
    lifetime began earlier have passed their give-up age and are left to the janitor.
    """

    relay: str
    worker: str
    messages: int
    octets: int
    now: int
    until: int
    born_after: int
    priority: Priority = Priority.NORMAL


def claim(connection: Connection, wanted: Claim) -> list[LeasedMessage]:
    """Lease due recipients, longest due first, and return their messages.

    The row's due time becomes the end of its lease: a worker that dies needs no repair,
    its rows fall due again. Commit before the first byte goes to the relay.
    """
    chosen = _choose(connection, wanted)
    if not chosen:
        return []
    if several := [number for number, due in chosen.items() if due.message[0] > 1]:
        _add_companions(connection, wanted, several, chosen)
    leased = [row[0] for due in chosen.values() for row in due.rows]
    _LEASE.run(connection, wanted.until, wanted.worker, listed(connection, leased))
    raw = _contents(connection, list(chosen))
    return [_message(number, due, raw.get(number)) for number, due in chosen.items()]


def _contents(connection: Connection, numbers: list[int]) -> dict[int, bytes | None]:
    """Return the contents of messages; where a database is far away, by one statement."""
    if connection.dialect.name != "sqlite":
        return dict(_CONTENTS.all(connection, listed(connection, numbers)))
    rows = _SIDE_BY_SIDE.all(connection, [(number,) for number in numbers])
    return dict(zip(numbers, chain.from_iterable(rows), strict=True))


@dataclass(slots=True)
class _Due:
    """A message, by the columns `_OF_MESSAGE`, and its recipients, by those of `_OF_RECIPIENT`."""

    message: Values
    rows: list[Values]


def _choose(connection: Connection, wanted: Claim) -> dict[int, _Due]:
    rows = _DUE.all(
        connection,
        wanted.relay,
        wanted.now,
        wanted.born_after,
        int(wanted.priority),
        wanted.messages,
    )
    chosen: dict[int, _Due] = {}
    octets = 0
    for whole in rows:
        row, (size, *message) = whole[: len(_OF_RECIPIENT)], whole[len(_OF_RECIPIENT) :]
        if (due := chosen.get(row[1])) is not None:
            due.rows.append(row)
            continue
        octets += size
        if chosen and octets > wanted.octets:
            break
        chosen[row[1]] = _Due(tuple(message), [row])
    return chosen


def _add_companions(
    connection: Connection, wanted: Claim, several: list[int], chosen: Mapping[int, _Due]
) -> None:
    """Let all recipients that are due go with their message, also those beyond the limit."""
    for number in several:
        chosen[number].rows.clear()
    numbers = listed(connection, several)
    for row in _COMPANIONS.all(connection, wanted.relay, wanted.now, wanted.born_after, numbers):
        chosen[row[1]].rows.append(row)


def _message(number: int, due: _Due, raw: bytes | None) -> LeasedMessage:
    _, sender, header_message_id, eight_bit, utf8_header, on_doubt, relay, enqueued_at = due.message
    # Content that somebody has deleted by hand is missed before anything is sent; see `delivery`.
    octets = b"" if raw is None else bytes(raw)
    content = Content(octets, header_message_id, bool(eight_bit), bool(utf8_header))
    leases = tuple(map(_lease, due.rows))
    return LeasedMessage(number, sender, content, OnDoubt(on_doubt), relay, enqueued_at, leases)


def _lease(row: Values) -> Lease:
    number, _, address, token, attempts, lifetime_from, expires_at = row
    return Lease(number, address, token + 1, History(lifetime_from, attempts, expires_at))


def _is_due(relay: ColumnElement[str] = recipients.c.relay) -> list[Any]:
    columns = recipients.c
    return [
        relay == bindparam("claimed_relay"),
        columns.due_at <= bindparam("now"),
        may(Event.CLAIM),
        columns.lifetime_from > bindparam("born_after"),
        or_(columns.expires_at.is_(None), columns.expires_at > bindparam("now")),
    ]


_OF_RECIPIENT = [
    recipients.c[name]
    for name in ("id", "message_id", "address", "lease", "attempts", "lifetime_from", "expires_at")
]
_OF_MESSAGE = [
    messages.c[name]
    for name in (
        "size",
        "recipient_count",
        "sender",
        "header_message_id",
        "eight_bit",
        "utf8_header",
        "on_doubt",
        "relay",
        "enqueued_at",
    )
]


def _due() -> Select[Any]:
    # One priority: a single scan ordered by (priority, due_at) would walk past every waiting
    # row of the first priority before it met the second.
    # Joined before the limit: recipients whose message was deleted by hand, without foreign
    # keys, would otherwise fill it and keep all others from being found.
    columns = recipients.c
    return (
        select(*_OF_RECIPIENT, *_OF_MESSAGE)
        .join(messages, messages.c.id == columns.message_id)
        .where(*_is_due(), columns.priority == bindparam("claimed_priority"))
        .order_by(columns.due_at)
        .limit(bindparam("messages", type_=messages.c.id.type))
        .with_for_update(skip_locked=True, of=recipients)
    )


def _companions() -> Select[Any]:
    # By the message and nothing else: by what is due, SQLite would walk past all that is.
    return (
        select(*_OF_RECIPIENT)
        .where(among(recipients.c.message_id, "several"), *_is_due(unindexed(recipients.c.relay)))
        .order_by(recipients.c.id)
        .with_for_update(skip_locked=True)
    )


def _lease_statement() -> Update:
    # The rows are ours alone since they were chosen: by the lock that the transaction holds in
    # SQLite, by FOR UPDATE elsewhere.
    columns = recipients.c
    return (
        update(recipients)
        .where(among(columns.id, "chosen"))
        .values(
            state=after(Event.CLAIM),
            due_at=bindparam("until"),
            lease=columns.lease + literal_column("1"),
            worker=bindparam("worker_id"),
            dot_at=null(),
        )
    )


_DUE = Prepared(
    _due(), "claimed_relay", "now", "born_after", "claimed_priority", "messages", packs=True
)
_COMPANIONS = Prepared(_companions(), "claimed_relay", "now", "born_after", "several")
_LEASE = Prepared(_lease_statement(), "until", "worker_id", "chosen")


def _side_by_side(count: int) -> Select[Any]:
    """Return so many contents as one row, since each row that is fetched is waited for anew."""
    one = contents.c
    return select(
        *(
            select(one.raw)
            .where(one.message_id == bindparam(f"message_{number}"))
            .scalar_subquery()
            for number in range(count)
        )
    )


_SIDE_BY_SIDE = Batch(_side_by_side, "message")
_CONTENTS = Prepared(
    select(contents.c.message_id, contents.c.raw).where(among(contents.c.message_id, "chosen")),
    "chosen",
)


def renew(
    connection: Connection, worker: str, messages: Collection[int], *, until: int
) -> set[tuple[int, int]]:
    """Put off the end of the leases that ``worker`` holds on ``messages``.

    Returns the recipient and the token of each. Only what is really being sent is named here:
    a lease that nobody works on runs out.
    """
    columns = recipients.c
    statement = (
        update(recipients)
        .where(columns.message_id.in_(messages), columns.worker == worker, may(Event.HAND_BACK))
        .values(due_at=until)
        .returning(columns.id, columns.lease)
    )
    renewed = {(row.id, row.lease) for row in connection.execute(statement)}
    reach("before", "renew-commit")
    return renewed


def mark_dot(connection: Connection, leases: Sequence[Lease], *, worker: str, now: int) -> bool:
    """Note durably that the final dot is about to be written for ``leases``.

    Returns False, and the caller must not write it, unless every one of them is still held:
    whoever took over may be sending the same mail now.
    """
    columns = recipients.c
    marked = 0
    for lease in leases:
        statement = (
            update(recipients)
            .where(
                columns.id == lease.recipient,
                columns.lease == lease.token,
                columns.worker == worker,
                may(Event.HAND_BACK),
            )
            .values(dot_at=now)
        )
        marked += connection.execute(statement).rowcount
    reach("before", "mark-dot-commit")
    return marked == len(leases)
