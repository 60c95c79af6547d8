"""Results into the outbox: an attempt and a change of state for each leased recipient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Update, and_, bindparam, case, insert, select, update

from mailqueue.failpoint import reach
from mailqueue.mail.decision import Decision
from mailqueue.mail.lifecycle import Event, State, advance
from mailqueue.mail.reply import NoReply, Reply, mask
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.states import may
from mailqueue.outbox.tables import attempts, recipients

ASKED_AT_ONCE = 500
"""Recipients named in one statement. What gathers while the database is busy may be more than a
statement has parameters, and a transaction that can never succeed would be tried for ever."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The circumstances of an attempt, the same for all recipients of a transaction."""

    worker: str
    relay: str
    started_at: int
    ended_at: int
    session: str = ""
    peer: str = ""
    tls: str = ""


@dataclass(frozen=True, slots=True)
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
    held = _held(connection, results)
    accepted = [result for result in results if _key(result) in held]
    if accepted:
        for statement, rows in _updates(accepted):
            connection.execute(statement, rows)
        if rows := [_attempt(result) for result in accepted if result.decision.is_recorded]:
            connection.execute(insert(attempts), rows)
        reach("before", "record-commit")
    return [result for result in results if _key(result) not in held]


_Key = tuple[int, int, str]


def _key(result: Result) -> _Key:
    return result.lease.recipient, result.lease.token, result.trial.worker


def _held(connection: Connection, results: Sequence[Result]) -> set[_Key]:
    held: set[_Key] = set()
    leased = [result.lease.recipient for result in results]
    for start in range(0, len(leased), ASKED_AT_ONCE):
        rows = connection.execute(_HELD, {"leased": leased[start : start + ASKED_AT_ONCE]})
        held.update((row.id, row.lease, row.worker or "") for row in rows)
    return held


def _updates(
    results: Sequence[Result],
) -> list[tuple[Update, list[Mapping[str, Any]]]]:
    """Group the rows by which columns they set, so that each group is one batched statement."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault(_group(result.decision), []).append(_row(result))
    return [(_STATEMENTS[group], rows) for group, rows in groups.items()]


def _group(decision: Decision) -> str:
    if not decision.is_recorded:
        return "returned"
    return "silent" if isinstance(decision.finding.evidence.answer, NoReply) else "answered"


def _row(result: Result) -> Mapping[str, Any]:
    decision, lease = result.decision, result.lease
    charged = lease.history.attempts + decision.verdict.charged
    state = advance(State.SENDING, decision.event, attempts=charged)
    row: dict[str, Any] = {
        "row_id": lease.recipient,
        "row_lease": lease.token,
        "row_state": str(state),
        "row_due_at": decision.due_at,
    }
    if not decision.is_recorded:
        return row
    return row | {
        "row_finished_at": result.trial.ended_at if state.is_final else None,
        "row_charged": int(decision.verdict.charged),
        "row_doubts": int(decision.verdict.outcome is Outcome.IN_DOUBT),
        "row_last_at": result.trial.ended_at,
        **{f"row_last_{name}": value for name, value in _answer(decision).items()},
    }


def _answer(decision: Decision) -> dict[str, Any]:
    match decision.finding.evidence.answer:
        case Reply(code, text, enhanced):
            return {"code": code, "enhanced": _text(enhanced), "text": text}
        case NoReply() as silence:
            return {"code": None, "enhanced": None, "text": str(silence)}
        case unsendable:
            return {"code": None, "enhanced": str(unsendable.enhanced), "text": unsendable.text}


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _attempt(result: Result) -> dict[str, Any]:
    decision, trial = result.decision, result.trial
    verdict, evidence = decision.verdict, decision.finding.evidence
    answer = _answer(decision)
    return {
        "recipient_id": result.lease.recipient,
        "number": result.lease.history.attempts + verdict.charged,
        "charged": verdict.charged,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "relay": trial.relay,
        "worker": trial.worker,
        "session": trial.session,
        "peer": trial.peer,
        "tls": trial.tls,
        "stage": str(evidence.stage),
        "command": evidence.command,
        **answer,
        "reason": mask(answer["text"]),
        "rcpt_reply": _text(decision.finding.rcpt),
        "verdict": str(verdict.outcome),
        "scope": str(verdict.scope),
        "rule": str(verdict.rule),
        "due_at": decision.due_at,
    }


_HELD = select(recipients.c.id, recipients.c.lease, recipients.c.worker).where(
    recipients.c.id.in_(bindparam("leased", expanding=True)), may(Event.HAND_BACK)
)


def _returned() -> Update:
    return (
        update(recipients)
        .where(recipients.c.id == bindparam("row_id"), recipients.c.lease == bindparam("row_lease"))
        .values(state=bindparam("row_state"), due_at=bindparam("row_due_at"), worker=None)
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


_LAST = ("last_at", "last_code", "last_enhanced", "last_text")
_STATEMENTS: dict[str, Update] = {
    "returned": _returned(),
    "answered": _recorded(**{name: bindparam(f"row_{name}") for name in _LAST}),
    "silent": _recorded(**{name: _unless_answered(name) for name in _LAST}),
}
