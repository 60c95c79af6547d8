"""Results into the outbox: an attempt and a change of state for each leased recipient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Update, and_, bindparam, case, insert, null, or_, select, update

from mailqueue.failpoint import reach
from mailqueue.mail.decision import Decision
from mailqueue.mail.lifecycle import Event, State, advance
from mailqueue.mail.reply import NoReply, Reply, mask
from mailqueue.mail.value import value
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.clauses import among, listed
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.prepared import Prepared, Savepoint, Values
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


def record(connection: Connection, results: Sequence[Result]) -> list[Result]:
    """Write ``results`` and return those that were refused.

    A result is refused where the lease is no longer its worker's: somebody else has
    taken the recipient over, and what is written then is for the new holder to say.
    """
    # As a rule all leases are held: so nobody asks before it shows that one is not.
    with Savepoint(connection) as savepoint:
        if _write(connection, results) == len(results):
            return []
        savepoint.rollback()
    held = _held(connection, results)
    _write(connection, [result for result in results if _key(result) in held], is_held=True)
    return [result for result in results if _key(result) not in held]


_Key = tuple[int, int, str]


def _key(result: Result) -> _Key:
    return result.lease.recipient, result.lease.token, result.trial.worker


def _held(connection: Connection, results: Sequence[Result]) -> set[_Key]:
    leased = listed(connection, [result.lease.recipient for result in results])
    return {
        (number, token, worker or "") for number, token, worker in _HELD.all(connection, leased)
    }


def _write(connection: Connection, results: Sequence[Result], *, is_held: bool = False) -> int:
    """Write what can be written; returns how many leases were ended by it.

    ``is_held``: that the leases are the workers' own has been looked at. A name that is NULL or
    no UTF-8, as only another hand can have written it, is equal to nothing in SQL.
    """
    ended = 0
    groups: dict[Prepared, list[Values]] = {}
    trials: list[Values] = []
    for result in results:
        answer = _answer(result.decision)
        worker = None if is_held else result.trial.worker
        statement, row = _change(result, answer, worker)
        groups.setdefault(statement, []).append(row)
        if result.decision.is_recorded:
            trials.append(_attempt(result, answer))
    for statement, rows in groups.items():
        ended += statement.run_each(connection, rows)
    if not is_held and ended != len(results):
        return ended  # all of it is taken back
    if trials:
        _TRIED.run_each(connection, trials)
    if results:
        reach("before", "record-commit")
    return ended


def _change(result: Result, answer: _Answer, worker: str | None) -> tuple[Prepared, Values]:
    """Return the statement that ends the lease, and its row."""
    decision, lease, trial = result.decision, result.lease, result.trial
    verdict = decision.verdict
    charged = int(verdict.charged)
    state = advance(State.SENDING, decision.event, attempts=lease.history.attempts + charged)
    fence = (lease.recipient, lease.token, worker)
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
    match decision.finding.evidence.answer:
        case Reply(code, text, enhanced):
            return code, _text(enhanced), text
        case NoReply() as silence:
            return None, None, str(silence)
        case unsendable:
            return None, str(unsendable.enhanced), unsendable.text


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


_HELD = Prepared(
    select(recipients.c.id, recipients.c.lease, recipients.c.worker).where(
        among(recipients.c.id, "leased"), may(Event.HAND_BACK)
    ),
    "leased",
)


_WORKER = bindparam("row_worker", type_=recipients.c.worker.type)


def _returned() -> Update:
    columns = recipients.c
    return (
        update(recipients)
        .where(
            columns.id == bindparam("row_id"),
            columns.lease == bindparam("row_lease"),
            or_(columns.worker == _WORKER, _WORKER.is_(None)),
            may(Event.HAND_BACK),
        )
        .values(state=bindparam("row_state"), due_at=bindparam("row_due_at"), worker=null())
    )


def _recorded(**last: Any) -> Update:
    columns = recipients.c
    return _returned().values(
        finished_at=bindparam("row_finished_at"),
        attempts=columns.attempts + bindparam("row_charged"),
        doubts=columns.doubts + bindparam("row_doubts"),
        **last,
    )


def _unless_answered(name: str) -> Any:
    # An expired recipient keeps its last real reply: silence never replaces one.
    column = recipients.c[name]
    answered = and_(recipients.c.last_text.is_not(None), recipients.c.last_code.is_not(None))
    return case((answered, column), else_=bindparam(f"row_{name}", type_=column.type))


_FENCED = ("row_id", "row_lease", "row_worker", "row_state", "row_due_at")
_COUNTED = (*_FENCED, "row_finished_at", "row_charged", "row_doubts")
_LAST = ("last_at", "last_code", "last_enhanced", "last_text")
_OF_LAST = tuple(f"row_{name}" for name in _LAST)

_RETURNED = Prepared(_returned(), *_FENCED)
_ANSWERED = Prepared(
    _recorded(**{name: bindparam(f"row_{name}") for name in _LAST}), *_COUNTED, *_OF_LAST
)
_SILENT = Prepared(
    _recorded(**{name: _unless_answered(name) for name in _LAST}), *_COUNTED, *_OF_LAST
)

_OF_TRIAL = tuple(column.name for column in attempts.c if column.name != "id")
_TRIED = Prepared(
    insert(attempts).values({name: bindparam(f"row_{name}") for name in _OF_TRIAL}),
    *(f"row_{name}" for name in _OF_TRIAL),
)
