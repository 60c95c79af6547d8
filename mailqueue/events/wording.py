"""The words of the log: one line for each event, recipients in Postfix's word order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from mailqueue import events
from mailqueue.mail.decision import Decision
from mailqueue.mail.lifecycle import Event as Move
from mailqueue.mail.reply import Reply, Unsendable
from mailqueue.mail.verdict import Outcome

_STATUS = {
    Move.SEND: "sent",
    Move.DEFER: "deferred",
    Move.FAIL: "failed",
    Move.GIVE_UP: "expired",
    Move.HOLD_DOUBT: "held",
    Move.HAND_BACK: "requeued",
}
_DSN = {Outcome.SENT: "2.0.0", Outcome.FAIL: "5.0.0"}


@dataclass(frozen=True, slots=True)
class Line:
    """A log line: its level (as in `logging`), its text, and the same as fields for JSON."""

    level: int
    text: str
    fields: dict[str, object] = field(default_factory=dict)


def word(event: events.Event) -> Line:
    """Return the line for ``event``: one line that can be printed, whatever is in the event.

    Replies come from relays, addresses and names from rows that anybody may have written:
    none of them may forge a line of the log or steer the terminal of who reads it.
    """
    line = _worded(event)
    if line.text.isprintable():
        return line
    return replace(line, text=_one_line(line.text))


def _worded(event: events.Event) -> Line:
    match event:
        case events.RecipientAnswered():
            return _answered(event)
        case (
            events.RelayPaused()
            | events.RelayPausedElsewhere()
            | events.RelayResumed()
            | events.RelayUnknown()
            | events.PipeliningSuspended()
        ):
            return _relay(event)
        case (
            events.PauseBegun()
            | events.PauseEnded()
            | events.FencePutUp()
            | events.FenceTakenAway()
        ):
            return _pause(event)
        case events.Started() | events.Stopping() | events.Stopped():
            return _lifetime(event)
        case events.Reloaded() | events.ReloadRefused():
            return _configuration(event)
        case events.DatabaseTrouble() | events.DatabaseRecovered():
            return _database(event)
        case events.DiskLow() | events.DiskRecovered() | events.LogPinned():
            return _space(event)
        case events.PartFailed(part, error):
            text = f"{part}: unexpected {type(error).__name__}: {error}; it goes on"
            return Line(logging.ERROR, text, {"part": part, "error": repr(error)})
        case events.ProcessEnded(name, status, pause):
            text = f"process {name} ended with {status}; another begins in {pause:.0f} s"
            return Line(logging.ERROR, text, {"process": name, "status": status, "pause": pause})
        case _:
            return _housekeeping(event)


def _answered(event: events.RecipientAnswered) -> Line:
    decision = event.decision
    status = _STATUS[decision.event]
    if decision.verdict.outcome is Outcome.IN_DOUBT:
        status += ", in doubt"
    dsn, answer = _dsn(decision), str(decision.finding.evidence.answer)
    relay = f"{event.relay}[{event.peer}]" if event.peer else event.relay
    text = (
        f"{event.message}: to=<{event.recipient}>, relay={relay}, delay={event.delay:.2f}, "
        f"dsn={dsn}, status={status} ({answer})"
    )
    return Line(level_of(event), text, _answered_fields(event, status, dsn))


def level_of(event: events.RecipientAnswered) -> int:
    """Return the level of its line without wording it: doubt is a warning."""
    in_doubt = event.decision.verdict.outcome is Outcome.IN_DOUBT
    return logging.WARNING if in_doubt else logging.INFO


def _answered_fields(event: events.RecipientAnswered, status: str, dsn: str) -> dict[str, object]:
    decision = event.decision
    answer = decision.finding.evidence.answer
    return {
        "message": event.message,
        "message_id": event.header_message_id,
        "from": event.sender,
        "to": event.recipient,
        "relay": event.relay,
        "peer": event.peer,
        "delay": round(event.delay, 6),
        "dsn": dsn,
        "status": status,
        "stage": str(decision.finding.evidence.stage),
        "code": answer.code if isinstance(answer, Reply) else None,
        "reply": str(answer),
        "rule": str(decision.verdict.rule),
        "due_at": decision.due_at,
    }


def _dsn(decision: Decision) -> str:
    answer = decision.finding.evidence.answer
    if isinstance(answer, Reply | Unsendable) and answer.enhanced is not None:
        return str(answer.enhanced)
    return _DSN.get(decision.verdict.outcome, "4.0.0")


def _relay(
    event: events.RelayPaused
    | events.RelayPausedElsewhere
    | events.RelayResumed
    | events.RelayUnknown
    | events.PipeliningSuspended,
) -> Line:
    fields: dict[str, object] = {"relay": event.relay}
    match event:
        case events.RelayPaused(relay, evidence, pause):
            answer = str(evidence.answer)
            text = (
                f"relay={relay} paused at {evidence.stage}: {answer}; no mail is charged, "
                f"next probe in {pause:.0f} s"
            )
            return Line(
                logging.WARNING,
                text,
                fields | {"stage": str(evidence.stage), "reply": answer, "pause": pause},
            )
        case events.RelayPausedElsewhere(relay, stage, answer, pause):
            text = (
                f"relay={relay} paused, because another daemon met trouble at {stage}: {answer}; "
                f"next probe in {pause:.0f} s"
            )
            fields |= {"stage": stage, "reply": answer, "pause": pause}
            return Line(logging.WARNING, text, fields)
        case events.RelayResumed(relay, paused):
            text = f"relay={relay} resumed after {paused:.0f} s"
            return Line(logging.INFO, text, fields | {"paused": paused})
        case events.RelayUnknown(relay):
            text = (
                f"mail waits for relay={relay}, which is not configured: add [relays.{relay}] "
                "to the configuration and reload"
            )
            return Line(logging.WARNING, text, fields)
        case events.PipeliningSuspended(relay, pause):
            text = (
                f"relay={relay} goes without PIPELINING for {pause:.0f} s: sessions kept ending "
                "over groups of commands; pipelining = false in its section would say so for good"
            )
            return Line(logging.WARNING, text, fields | {"pause": pause})


def _pause(
    event: events.PauseBegun | events.PauseEnded | events.FencePutUp | events.FenceTakenAway,
) -> Line:
    match event:
        case events.FencePutUp(fence):
            text = f"nothing is claimed: the outbox {fence}"
            return Line(logging.WARNING, text, {"fence": fence})
        case events.FenceTakenAway():
            return Line(logging.INFO, "mail may be claimed again: the outbox has no fence any more")
        case events.PauseBegun(relay, by, reason, until):
            why = f": {reason}" if reason else ""
            text = f"relay={relay} paused by {by}{why}; its mail waits"
            fields: dict[str, object] = {"relay": relay, "by": by, "reason": reason}
            fields["until"] = until
            return Line(logging.WARNING, text, fields)
        case events.PauseEnded(relay):
            return Line(
                logging.INFO, f"relay={relay} is no longer paused by hand", {"relay": relay}
            )


def _lifetime(event: events.Started | events.Stopping | events.Stopped) -> Line:
    match event:
        case events.Started(worker, database, relays, reaped):
            text = f"worker {worker} sends from {database} through {', '.join(relays)}"
            if reaped:
                text += f"; {reaped} leases of dead workers were settled"
            return Line(logging.INFO, text, {"worker": worker, "reaped": reaped})
        case events.Stopping(reason, waiting):
            text = f"stopping: {reason}; waiting for the replies to {waiting} final dots"
            return Line(logging.INFO, text, {"reason": reason, "waiting": waiting})
        case events.Stopped():
            return Line(logging.INFO, "stopped")


def _configuration(event: events.Reloaded | events.ReloadRefused) -> Line:
    match event:
        case events.Reloaded(source):
            return Line(logging.INFO, f"configuration reloaded: {source}", {"source": source})
        case events.ReloadRefused(problem):
            text = f"the new configuration is refused and the old one stays: {problem}"
            return Line(logging.ERROR, text, {"problem": problem})


def _database(
    event: events.DatabaseTrouble | events.DatabaseRecovered,
) -> Line:
    match event:
        case events.DatabaseTrouble(what, error):
            text = f"{what} failed and will be tried again: {error}"
            return Line(logging.ERROR, text, {"what": what, "error": error})
        case events.DatabaseRecovered(trouble):
            text = f"the outbox can be written again after {trouble:.1f} s"
            return Line(logging.INFO, text, {"trouble": trouble})


def _space(event: events.DiskLow | events.DiskRecovered | events.LogPinned) -> Line:
    match event:
        case events.DiskLow(free, floor):
            text = (
                f"{free} bytes are free on the outbox's disk, less than the floor of {floor}: "
                "nothing is claimed until there is more"
            )
            return Line(logging.ERROR, text, {"free": free, "floor": floor})
        case events.DiskRecovered(free):
            text = f"the outbox's disk has room again, {free} bytes are free: mail is claimed"
            return Line(logging.INFO, text, {"free": free})
        case events.LogPinned(size):
            text = (
                f"the outbox's log has grown to {size} bytes and cannot be emptied: somebody has "
                "been reading for long, such as a database shell; `mailqueue doctor` says who"
            )
            return Line(logging.WARNING, text, {"size": size})


def _housekeeping(event: events.Event) -> Line:
    fields: dict[str, object]
    match event:
        case events.RecipientExpired(message, recipient, relay):
            text = f"{message}: to=<{recipient}>, relay={relay}, dsn=4.4.7, status=expired"
            fields = {"message": message, "to": recipient, "relay": relay, "status": "expired"}
            return Line(logging.INFO, text, fields)
        case events.LeaseReaped(message, recipient, worker, decision):
            status = _STATUS[decision.event]
            text = (
                f"{message}: to=<{recipient}>, status={status}: the lease of worker {worker} ended "
                f"without a result ({decision.verdict.rule.explanation})"
            )
            fields = {"message": message, "to": recipient, "worker": worker, "status": status}
            return Line(logging.WARNING, text, fields)
        case events.ResultRefused(message, recipient, relay, decision):
            answer = str(decision.finding.evidence.answer)
            text = (
                f"{message}: to=<{recipient}>, relay={relay}: the lease had ended before this "
                f"reply came, nothing was changed ({answer})"
            )
            fields = {"message": message, "to": recipient, "relay": relay}
            return Line(logging.WARNING, text, fields)
        case events.Pruned(contents, messages):
            text = f"pruned {contents} contents and {messages} messages past their retention"
            return Line(logging.INFO, text, {"contents": contents, "messages": messages})
        case _:
            return Line(logging.INFO, repr(event))


def _one_line(text: str) -> str:
    joined = text.replace("\n", " / ")
    return "".join(one if one.isprintable() else "?" for one in joined)
