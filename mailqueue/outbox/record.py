"""Results into the outbox: an attempt and a change of state for each leased recipient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Subquery,
    Table,
    Update,
    and_,
    bindparam,
    case,
    insert,
    null,
    or_,
    select,
    union_all,
    update,
)

from mailqueue.failpoint import reach
from mailqueue.mail.decision import Decision
from mailqueue.mail.lifecycle import Event, State, advance
from mailqueue.mail.reply import NoReply, Reply, mask
from mailqueue.mail.value import value
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.clauses import among, listed
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.prepared import Batch, Prepared, Savepoint, Values
from mailqueue.outbox.states import may
from mailqueue.outbox.tables import attempts, recipients


@value
class Trial:
    """The circumstances of an attempt, the same for all recipients of a transaction."""

    worker: str
    relay: str
    started_at: int
    ended_at: int
    session: str = ""
    peer: str = ""
    tls: str = ""


@value
class Result:
    """What became of one lease."""

    lease: Lease
    decision: Decision
    trial: Trial


@value
class Entry:
    """A result, and the rows that it becomes.

    They are made before the transaction begins: what Python does while it lasts, all other writers
    of a SQLite file wait for. ``change`` is a row of ``statement``, and ``trial`` one of the
    attempts, or None where there was none.
    """

    result: Result
    statement: Batch
    change: Values
    trial: Values | None


def entry_of(result: Result) -> Entry:
    """Return the rows of ``result``."""
    answer = _answer(result.decision)
    statement, change = _change(result, answer)
    trial = _attempt(result, answer) if result.decision.is_recorded else None
    return Entry(result, statement, change, trial)


def record(connection: Connection, results: Sequence[Result]) -> list[Result]:
    """Write ``results`` and return those that were refused, see `record_entries`."""
    return record_entries(connection, [entry_of(result) for result in results])


def record_entries(connection: Connection, entries: Sequence[Entry]) -> list[Result]:
    """Write ``entries`` and return the results that were refused.

    A result is refused where the lease is no longer its worker's: somebody else has
    taken the recipient over, and what is written then is for the new holder to say.
    """
    # As a rule all leases are held: so nobody asks before it shows that one is not.
    with Savepoint(connection) as savepoint:
        if _write(connection, entries) == len(entries):
            return []
        savepoint.rollback()
    held = _held(connection, entries)
    ending: dict[_Key, Entry] = {}
    for entry in entries:
        if (key := _key(entry.result)) in held:
            ending.setdefault(key, entry)
    _write(connection, tuple(ending.values()), is_held=True)
    return [one.result for one in entries if ending.get(_key(one.result)) is not one]


_Key = tuple[int, int, str]


def _key(result: Result) -> _Key:
    return result.lease.recipient, result.lease.token, result.trial.worker


def _held(connection: Connection, entries: Sequence[Entry]) -> set[_Key]:
    leased = listed(connection, [entry.result.lease.recipient for entry in entries])
    return {
        (number, token, worker or "") for number, token, worker in _HELD.all(connection, leased)
    }


def _write(connection: Connection, entries: Sequence[Entry], *, is_held: bool = False) -> int:
    """Write what can be written; returns how many leases were ended by it.

    ``is_held``: that the leases are the workers' own has been looked at. A name that is NULL or
    no UTF-8, as only another hand can have written it, is equal to nothing in SQL.
    """
    ended = 0
    groups: dict[Batch, list[Values]] = {}
    for entry in entries:
        change = _of_anybody(entry.change) if is_held else entry.change
        groups.setdefault(entry.statement, []).append(change)
    for statement, rows in groups.items():
        ended += statement.run(connection, rows)
    if not is_held and ended != len(entries):
        return ended  # all of it is taken back
    if trials := [entry.trial for entry in entries if entry.trial is not None]:
        _TRIED.run(connection, trials)
    if entries:
        reach("before", "record-commit")
    return ended


def _of_anybody(change: Values) -> Values:
    recipient, token, _, *rest = change
    return (recipient, token, None, *rest)


def _change(result: Result, answer: _Answer) -> tuple[Batch, Values]:
    """Return the statement that ends the lease, and its row."""
    decision, lease, trial = result.decision, result.lease, result.trial
    verdict = decision.verdict
    charged = int(verdict.charged)
    state = advance(State.SENDING, decision.event, attempts=lease.history.attempts + charged)
    fence = (lease.recipient, lease.token, trial.worker)
    if not decision.is_recorded:
        return _RETURNED, (*fence, str(state), decision.due_at)
    finished_at = trial.ended_at if state.is_final else None
    doubts = int(verdict.outcome is Outcome.IN_DOUBT)
    silent = isinstance(decision.finding.evidence.answer, NoReply)
    return _SILENT if silent else _ANSWERED, (
        *fence,
        str(state),
        decision.due_at,
        finished_at,
        charged,
        doubts,
        trial.ended_at,
        *answer,
    )


_Answer = tuple[int | None, str | None, str]
"""Code, enhanced status code, text."""


def _answer(decision: Decision) -> _Answer:
    answer = decision.finding.evidence.answer
    if isinstance(answer, Reply):
        return answer.code, _text(answer.enhanced), answer.text
    if isinstance(answer, NoReply):
        return None, None, str(answer)
    return None, str(answer.enhanced), answer.text


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _attempt(result: Result, answer: _Answer) -> Values:
    decision, trial, lease = result.decision, result.trial, result.lease
    verdict, evidence = decision.verdict, decision.finding.evidence
    return (
        lease.recipient,
        lease.history.attempts + verdict.charged,
        verdict.charged,
        trial.started_at,
        trial.ended_at,
        trial.relay,
        trial.worker,
        trial.session,
        trial.peer,
        trial.tls,
        str(evidence.stage),
        evidence.command,
        *answer,
        # Thanks are not grouped with thanks, and there are many of them.
        "" if verdict.outcome is Outcome.SENT else mask(answer[2]),
        _text(decision.finding.rcpt),
        str(verdict.outcome),
        str(verdict.scope),
        str(verdict.rule),
        decision.due_at,
    )


# Locked, because what is found is written without another look: on PostgreSQL somebody might reap
# it in between.
_HELD = Prepared(
    select(recipients.c.id, recipients.c.lease, recipients.c.worker)
    .where(among(recipients.c.id, "leased"), may(Event.HAND_BACK))
    .with_for_update(),
    "leased",
)


_FENCED = ("id", "lease", "worker", "state", "due_at")
_COUNTED = (*_FENCED, "finished_at", "attempts", "doubts")
_LAST = ("last_at", "last_code", "last_enhanced", "last_text")


def _rows_of(table: Table, names: Sequence[str], count: int) -> Subquery:
    """Return so many rows of parameters for columns of ``table``, as something to select from."""
    columns = [table.c[name] for name in names]
    rows = [
        select(
            *(
                bindparam(f"{one.name}_{row}", type_=one.type).label(f"new_{one.name}")
                for one in columns
            )
        )
        for row in range(count)
    ]
    # Not VALUES: before it stood WITH, and of such a statement the driver counts no changes.
    return union_all(*rows).subquery("result")


def _ending(row: Subquery) -> Update:
    columns, new = recipients.c, row.c
    return (
        update(recipients)
        .where(
            columns.id == new.new_id,
            columns.lease == new.new_lease,
            or_(columns.worker == new.new_worker, new.new_worker.is_(None)),
            may(Event.HAND_BACK),
        )
        .values(state=new.new_state, due_at=new.new_due_at, worker=null())
    )


def _counting(row: Subquery, last: Callable[[str], Any]) -> Update:
    columns, new = recipients.c, row.c
    return _ending(row).values(
        finished_at=new.new_finished_at,
        attempts=columns.attempts + new.new_attempts,
        doubts=columns.doubts + new.new_doubts,
        **{name: last(name) for name in _LAST},
    )


def _returned(count: int) -> Update:
    return _ending(_rows_of(recipients, _FENCED, count))


def _answered(count: int) -> Update:
    row = _rows_of(recipients, (*_COUNTED, *_LAST), count)
    return _counting(row, lambda name: row.c[f"new_{name}"])


def _silent(count: int) -> Update:
    # An expired recipient keeps its last real reply: silence never replaces one.
    row = _rows_of(recipients, (*_COUNTED, *_LAST), count)
    answered = and_(recipients.c.last_text.is_not(None), recipients.c.last_code.is_not(None))
    return _counting(
        row, lambda name: case((answered, recipients.c[name]), else_=row.c[f"new_{name}"])
    )


_OF_TRIAL = tuple(one.name for one in attempts.c if one.name != "id")


def _tried(count: int) -> Insert:
    return insert(attempts).values(
        [{name: bindparam(f"{name}_{number}") for name in _OF_TRIAL} for number in range(count)]
    )


_RETURNED = Batch(_returned, *_FENCED)
_ANSWERED = Batch(_answered, *_COUNTED, *_LAST)
_SILENT = Batch(_silent, *_COUNTED, *_LAST)
_TRIED = Batch(_tried, *_OF_TRIAL)
