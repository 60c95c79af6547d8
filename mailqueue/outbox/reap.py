"""What nobody came back for: leases that ran out, and mail whose time has passed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, or_, select, text, update

from mailqueue.failpoint import reach
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind
from mailqueue.mail.rule import Rule
from mailqueue.mail.schedule import Backoff, History
from mailqueue.mail.stage import Stage
from mailqueue.mail.value import value
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.record import Result, Trial, record
from mailqueue.outbox.states import after, may
from mailqueue.outbox.tables import messages, recipients

BATCH = 500


Policies = Callable[[str], Backoff]
"""The backoff of the relay of this name."""


@value
class Reaped(Result):
    """What became of a lease without its worker, and of which message it was."""

    message: int


def reap(
    connection: Connection,
    policies: Policies,
    *,
    now: int,
    jitter: Callable[[], float],
    dead_workers: Collection[str] = (),
    spared: Collection[int] = (),
) -> list[Reaped]:
    """Settle up to `BATCH` leases that ran out by ``now`` or belong to ``dead_workers``.

    ``spared`` are messages that the asking worker itself is sending: if their leases seem to
    have run out, the clock has jumped.

    Nobody knows how far their worker came. Where doubt is to be retried, all of them are in
    doubt; where it is to be held, only those whose final dot was announced, and the
    others go back uncharged. Returns what was recorded.
    """
    rows = connection.execute(_orphans(dead_workers, spared), {"now": now}).all()
    results = [_result(row, policies(row.relay), now=now, jitter=jitter()) for row in rows]
    refused = set(map(id, record(connection, results))) if results else set()
    if results:
        reach("before", "reap-commit")
    return [result for result in results if id(result) not in refused]


def _orphans(dead_workers: Collection[str], spared: Collection[int]) -> Any:
    columns = recipients.c
    ran_out = columns.due_at <= bindparam("now")
    orphaned = or_(ran_out, columns.worker.in_(dead_workers)) if dead_workers else ran_out
    return (
        select(
            columns.id,
            columns.message_id,
            columns.address,
            columns.lease,
            columns.worker,
            columns.relay,
            columns.attempts,
            columns.lifetime_from,
            columns.expires_at,
            columns.dot_at,
            messages.c.on_doubt,
        )
        .join(messages, messages.c.id == columns.message_id)
        .where(may(Event.HAND_BACK), orphaned, columns.message_id.not_in(spared))
        .limit(BATCH)
        .with_for_update(skip_locked=True, of=recipients)
    )


def _result(row: Row[Any], policy: Backoff, *, now: int, jitter: float) -> Reaped:
    on_doubt = OnDoubt(row.on_doubt)
    history = History(row.lifetime_from, row.attempts, row.expires_at)
    known_unsent = on_doubt is OnDoubt.HOLD and row.dot_at is None
    finding = _UNSENT if known_unsent else _DOUBTFUL
    decision = decide(finding, history, policy, on_doubt=on_doubt, now=now, jitter=jitter)
    if not known_unsent:
        # The silence is ours and not the relay's, whom nobody should suspect because of it.
        decision = replace(decision, verdict=replace(decision.verdict, rule=Rule.LEASE_EXPIRED))
    trial = Trial(row.worker or "", row.relay, started_at=row.dot_at or now, ended_at=now)
    lease = Lease(row.id, row.address, row.lease, history)
    return Reaped(lease, decision, trial, message=row.message_id)


_UNSENT = Finding(Evidence(Stage.DATA, NoReply(NoReplyKind.ABANDONED, "the worker died")))
_DOUBTFUL = Finding(
    Evidence(Stage.END_OF_DATA, NoReply(NoReplyKind.LOST, "the worker died or stalled")),
)


@dataclass(frozen=True, slots=True)
class Expired:
    """A recipient whose deadline passed while it waited."""

    recipient: int
    message: int
    address: str
    relay: str


def expire(
    connection: Connection, give_up: Mapping[str, float], *, now: int, default: float
) -> list[Expired]:
    """Expire up to `BATCH` recipients that wait past their deadline, last reply kept.

    ``give_up`` maps relay names to seconds, ``default`` is for all other names. Held and
    leased recipients stay as they are: an operator or a worker has them.
    """
    found = [
        *_passed(connection, recipients.c.expires_at <= now, text(_HAS_DEADLINE)),
        *_outlived(connection, give_up, now, default),
    ]
    # Each question finds a batch of its own, and somebody may be found by two of them.
    rows = list({row.id: row for row in found}.values())[:BATCH]
    if not rows:
        return []
    # Whoever was claimed since by somebody else, as can be on PostgreSQL, has not expired.
    wanted = {"expired": [row.id for row in rows], "now": now}
    done = set(connection.execute(_EXPIRE, wanted).scalars())
    return [
        Expired(row.id, row.message_id, row.address, row.relay) for row in rows if row.id in done
    ]


_HAS_DEADLINE = "finished_at IS NULL AND expires_at IS NOT NULL"
_IS_LIVE = "finished_at IS NULL"


def _passed(connection: Connection, *conditions: Any) -> Sequence[Any]:
    columns = recipients.c
    statement = (
        select(columns.id, columns.message_id, columns.address, columns.relay)
        .where(*conditions, may(Event.EXPIRE))
        .limit(BATCH)
    )
    return connection.execute(statement).all()


def _outlived(
    connection: Connection, give_up: Mapping[str, float], now: int, default: float
) -> list[Row[Any]]:
    found: list[Any] = []
    for relay in live_relays(connection):
        oldest = now - round(give_up.get(relay, default) * 1_000_000)
        of_relay = and_(recipients.c.relay == relay, recipients.c.lifetime_from <= oldest)
        found.extend(_passed(connection, of_relay, text(_IS_LIVE)))
    return found


def live_relays(connection: Connection) -> list[str]:
    """Return the relay names that unfinished recipients carry, by one index seek for each."""
    return list(connection.execute(_LIVE_RELAYS).scalars())


def _live_relays() -> Select[Any]:
    # The database walks from name to name itself: one that is no UTF-8 could not be handed
    # back to it as the name to go on from.
    columns = recipients.c
    first = select(func.min(columns.relay).label("name")).where(text(_IS_LIVE))
    names = first.cte("names", recursive=True)
    following = select(func.min(columns.relay)).where(text(_IS_LIVE), columns.relay > names.c.name)
    names = names.union_all(select(following.scalar_subquery()).where(names.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name.is_not(None))


_LIVE_RELAYS = _live_relays()


_EXPIRE = (
    update(recipients)
    .where(recipients.c.id.in_(bindparam("expired", expanding=True)), may(Event.EXPIRE))
    .values(state=after(Event.EXPIRE), due_at=None, finished_at=bindparam("now"))
    .returning(recipients.c.id)
)
