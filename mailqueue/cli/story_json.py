"""The story of a message as JSON: the names of the tables, and instants as the views have them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mailqueue.cli.output import iso
from mailqueue.cli.rows import status
from mailqueue.cli.verdicts import explanation
from mailqueue.outbox.story import Action, Attempt, RecipientStory, Story


def as_object(told: Story) -> dict[str, Any]:
    """Return what `json.dumps` wants; keys may be added in later versions."""
    return {
        "id": told.id,
        "message_id": told.message_id,
        "sender": told.sender,
        "size": told.size,
        "eight_bit": told.eight_bit,
        "utf8_header": told.utf8_header,
        "relay": told.relay,
        "priority": told.priority,
        "on_doubt": str(told.on_doubt),
        "enqueued_at": iso(told.enqueued_at),
        "send_at": iso(told.send_at),
        "expires_at": iso(told.expires_at),
        "tags": dict(told.tags),
        "idempotency_key": told.idempotency_key,
        "has_content": told.has_content,
        "recipients": [_recipient(recipient) for recipient in told.recipients],
        "relays": {name: _dated(asdict(row)) for name, row in told.relays.items()},
    }


def _recipient(told: RecipientStory) -> dict[str, Any]:
    return {
        "address": told.status.address,
        **status(told.status),
        "attempt_log": [_attempt(attempt) for attempt in told.attempts],
        "actions": [_action(action) for action in told.actions],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {**_dated(asdict(attempt)), "explanation": explanation(attempt.rule)}


def _action(action: Action) -> dict[str, Any]:
    return _dated(asdict(action))


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    """Return ``row`` with its instants, which are known by their names, as text."""
    return {
        name: iso(value) if name in ("at", "since") or name.endswith("_at") else value
        for name, value in row.items()
    }
