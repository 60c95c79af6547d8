"""The story of a message as text."""

from __future__ import annotations

from collections.abc import Iterator

from mailqueue.cli.output import duration, one_line
from mailqueue.cli.verdicts import WORDS, explanation
from mailqueue.cli.waiting import Surroundings, in_order, waits_for
from mailqueue.clock import MICROSECONDS
from mailqueue.mail.lifecycle import OPERATOR_EVENTS
from mailqueue.mail.priority import Priority
from mailqueue.outbox.story import Action, Attempt, RecipientStory, Story

_PRIORITIES = {priority.value: priority.name.lower() for priority in Priority}
_VERBS = {str(event): event.verb for event in OPERATOR_EVENTS}
_VERDICTS = {str(outcome): word for outcome, (word, _) in WORDS.items()}


def tell(told: Story, around: Surroundings) -> str:
    """Return the story of one message: the envelope, then each recipient from first to last."""
    lines = [f"message {told.id}  {told.message_id}"]
    lines += [f"  {name:<9} {value}" for name, value in _facts(told, around)]
    for recipient in told.recipients:
        lines += ["", *_recipient(recipient, around)]
    # Here and for all, so that no column of any row can be forgotten.
    return "\n".join(map(one_line, lines))


def _facts(told: Story, around: Surroundings) -> Iterator[tuple[str, str]]:
    yield "sender", told.sender or "<>"
    yield "enqueued", around.when(told.enqueued_at)
    yield "content", _content(told)
    yield "relay", around.relay_name(told.relay)
    yield "priority", _PRIORITIES.get(told.priority, str(told.priority))
    yield "on doubt", str(told.on_doubt)
    if told.send_at is not None:
        yield "send at", around.when(told.send_at)
    if told.expires_at is not None:
        yield "expires", around.when(told.expires_at)
    if told.idempotency_key is not None:
        yield "key", told.idempotency_key
    if told.tags:
        yield (
            "tags",
            ", ".join(f"{name}={tag}" for name, tag in told.tags.items()),
        )


def _content(told: Story) -> str:
    needs = {"8BITMIME": told.eight_bit, "SMTPUTF8": told.utf8_header}
    needed = " and ".join(name for name, is_needed in needs.items() if is_needed)
    parts = (
        f"{told.size} octets",
        f"needs {needed}" if needed else "",
        "" if told.has_content else "pruned",
    )
    return ", ".join(filter(None, parts))


def _recipient(told: RecipientStory, around: Surroundings) -> Iterator[str]:
    status = told.status
    yield f"{status.address}: {status.state}{_finished(told, around)}"
    yield f"  {_counts(told)}"
    yield from (f"  {sentence}" for sentence in waits_for(told, around))
    for event in in_order(told):
        yield from _attempt(event, around) if isinstance(event, Attempt) else _action(event, around)


def _finished(told: RecipientStory, around: Surroundings) -> str:
    at = told.status.finished_at
    return "" if at is None else f" since {around.when(at)}"


def _counts(told: RecipientStory) -> str:
    status = told.status
    attempts = f"{status.attempts} {'attempt' if status.attempts == 1 else 'attempts'} charged"
    doubts = f", in doubt {status.doubts} times" if status.doubts > 1 else ", in doubt once"
    return attempts + (doubts if status.doubts else "")


def _attempt(attempt: Attempt, around: Surroundings) -> Iterator[str]:
    name = f"attempt {attempt.number}" if attempt.charged else "an attempt that is not charged"
    seconds = (attempt.ended_at - attempt.started_at) / MICROSECONDS
    took = f"{seconds:.2f}s" if seconds < 1 else duration(seconds)
    yield f"  {name}: {around.when(attempt.ended_at)}, took {took}"
    yield f"    {_session(attempt, around)}"
    if attempt.rcpt_reply:
        yield from _quoted("rcpt", attempt.rcpt_reply)
    if attempt.command:
        yield f"    {attempt.stage} -> {attempt.command}"
    yield from _quoted(attempt.stage, _said(attempt))
    yield f"    {_decision(attempt)}"
    if attempt.due_at is not None:
        yield f"    put off until {around.when(attempt.due_at)}"


def _session(attempt: Attempt, around: Surroundings) -> str:
    parts = (
        f"relay {around.relay_name(attempt.relay)}",
        f"at {attempt.peer}" if attempt.peer else "",
        attempt.tls or ("without TLS" if attempt.session else ""),
        f"session {attempt.session}" if attempt.session else "",
        f"worker {attempt.worker}",
    )
    return ", ".join(filter(None, parts))


def _said(attempt: Attempt) -> str:
    return " ".join(filter(None, (str(attempt.code or ""), attempt.enhanced, attempt.text)))


def _quoted(stage: str, said: str) -> Iterator[str]:
    first, *more = said.split("\n")
    yield f"    {stage} <- {first}"
    yield from (f"    {' ' * len(stage)}    {line}" for line in more)


def _decision(attempt: Attempt) -> str:
    # A later version has more of both.
    verdict = _VERDICTS.get(attempt.verdict, attempt.verdict)
    why = explanation(attempt.rule) or "this mailqueue does not know it"
    return f"{verdict}, scope {attempt.scope}, by rule {attempt.rule}: {why}"


def _action(action: Action, around: Surroundings) -> Iterator[str]:
    what = f"{_VERBS.get(action.verb, action.verb)} by {action.actor}"
    moved = f"{action.from_state} to {action.to_state}"
    yield f"  {what}: {around.when(action.at)}, {moved}"
    if action.reason:
        yield f"    {action.reason}"
