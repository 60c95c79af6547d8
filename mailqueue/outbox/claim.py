"""Due recipients become leased ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Update,
    bindparam,
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
from mailqueue.outbox.lease import Lease, LeasedMessage
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
    leased = connection.execute(
        _LEASE,
        {
            "chosen": chosen,
            "claimed_relay": wanted.relay,
            "now": wanted.now,
            "born_after": wanted.born_after,
            "worker_id": wanted.worker,
            "until": wanted.until,
        },
    ).all()
    held: dict[int, list[Lease]] = {number: [] for number in chosen}
    # The order of RETURNING is arbitrary; the recipients of a message keep theirs.
    for row in sorted(leased, key=lambda row: row.id):
        held[row.message_id].append(_lease(row))
    return _load(connection, {number: tuple(leases) for number, leases in held.items() if leases})


def _choose(connection: Connection, wanted: Claim) -> list[int]:
    rows = connection.execute(
        _DUE,
        {
            "claimed_relay": wanted.relay,
            "claimed_priority": int(wanted.priority),
            "now": wanted.now,
            "born_after": wanted.born_after,
            "messages": wanted.messages,
        },
    )
    chosen: dict[int, int] = {}
    octets = 0
    for number, size in rows:
        if number in chosen:
            continue
        octets += size
        if chosen and octets > wanted.octets:
            break
        chosen[number] = size
    return list(chosen)


def _lease(row: Row[Any]) -> Lease:
    history = History(row.lifetime_from, row.attempts, row.expires_at)
    return Lease(row.id, row.address, row.lease, history)


def _load(connection: Connection, held: dict[int, tuple[Lease, ...]]) -> list[LeasedMessage]:
    rows = {row.id: row for row in connection.execute(_LOAD, {"chosen": list(held)})}
    return [_message(rows[number], leases) for number, leases in held.items()]


def _message(row: Row[Any], leases: tuple[Lease, ...]) -> LeasedMessage:
    raw = b"" if row.raw is None else bytes(row.raw)
    content = Content(raw, row.header_message_id, bool(row.eight_bit), bool(row.utf8_header))
    return LeasedMessage(
        row.id, row.sender, content, OnDoubt(row.on_doubt), row.relay, row.enqueued_at, leases
    )


def _is_due() -> list[Any]:
    columns = recipients.c
    return [
        columns.relay == bindparam("claimed_relay"),
        columns.due_at <= bindparam("now"),
        may(Event.CLAIM),
        columns.lifetime_from > bindparam("born_after"),
        or_(columns.expires_at.is_(None), columns.expires_at > bindparam("now")),
    ]


def _due() -> Select[Any]:
    # One priority: a single scan ordered by (priority, due_at) would walk past every waiting
    # row of the first priority before it met the second.
    # Joined before the limit: recipients whose message was deleted by hand, without foreign
    # keys, would otherwise fill it and keep all others from being found.
    columns = recipients.c
    return (
        select(columns.message_id, messages.c.size)
        .join(messages, messages.c.id == columns.message_id)
        .where(*_is_due(), columns.priority == bindparam("claimed_priority"))
        .order_by(columns.due_at)
        .limit(bindparam("messages", type_=messages.c.id.type))
        .with_for_update(skip_locked=True, of=recipients)
    )


def _lease_statement() -> Update:
    columns = recipients.c
    return (
        update(recipients)
        .where(columns.message_id.in_(bindparam("chosen", expanding=True)), *_is_due())
        .values(
            state=after(Event.CLAIM),
            due_at=bindparam("until"),
            lease=columns.lease + 1,
            worker=bindparam("worker_id"),
            dot_at=None,
        )
        .returning(
            columns.id,
            columns.message_id,
            columns.address,
            columns.lease,
            columns.attempts,
            columns.lifetime_from,
            columns.expires_at,
        )
    )


def _load_statement() -> Select[Any]:
    columns = messages.c
    return (
        select(
            columns.id,
            columns.sender,
            columns.header_message_id,
            columns.eight_bit,
            columns.utf8_header,
            columns.on_doubt,
            columns.relay,
            columns.enqueued_at,
            contents.c.raw,
        )
        .outerjoin(contents, contents.c.message_id == columns.id)
        .where(columns.id.in_(bindparam("chosen", expanding=True)))
    )


_DUE = _due()
_LEASE = _lease_statement()
_LOAD = _load_statement()


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
