"""What holds for an outbox at any time, measured against what the relays really took."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

Key = tuple[str, str]
"""A message, by its Message-ID, and one of its recipients."""

FINAL = frozenset({"sent", "failed", "expired", "cancelled"})
_DUE = frozenset({"queued", "deferred", "sending"})
_MAX_TEXT_OCTETS = 1024

_EARLY = """
SELECT recipient_id, started_at, planned_at FROM (
    SELECT recipient_id, started_at,
           lag(due_at) OVER (PARTITION BY recipient_id ORDER BY id) AS planned_at
    FROM mailqueue_attempts
    WHERE recipient_id NOT IN (SELECT recipient_id FROM mailqueue_actions))
WHERE started_at < planned_at
"""


@dataclass(frozen=True, slots=True)
class Observed:
    """One recipient as the outbox has it, and how often relays took the message for it.

    ``tried`` to ``sent`` count its attempts on record, ``retried`` and ``freed`` what operators
    did. The other names are those of the columns.
    """

    id: int
    message_id: int
    address: str
    state: str
    due_at: int | None
    finished_at: int | None
    worker: str | None
    lease: int
    attempts: int
    doubts: int
    header_message_id: str
    on_doubt: str
    tried: int
    charged: int
    doubted: int
    sent: int
    last_verdict: str
    retried: int
    freed: int
    delivered: int

    @property
    def key(self) -> Key:
        """Message and recipient, as a relay knows them."""
        return self.header_message_id, self.address

    @property
    def is_final(self) -> bool:
        """Whether only an operator can move it."""
        return self.state in FINAL


RULES: Mapping[str, Callable[[Observed], bool]] = {
    "a recipient is finished exactly when its state is final": (
        lambda one: (one.finished_at is not None) == one.is_final
    ),
    "a recipient is due exactly when a daemon is to look at it": (
        lambda one: (one.due_at is not None) == (one.state in _DUE)
    ),
    "a recipient has a worker exactly when it is leased": (
        lambda one: (one.worker is not None) == (one.state == "sending")
    ),
    "each charged attempt is on record": (
        lambda one: one.attempts == one.charged if not one.retried else one.attempts <= one.charged
    ),
    "each doubt is on record": lambda one: one.doubts == one.doubted,
    "a recipient is sent by exactly one attempt, which is its last": (
        lambda one: (
            (one.state == "sent") == (one.last_verdict == "sent")
            and one.sent == (one.state == "sent")
        )
    ),
    "a recipient that failed did so by its last attempt": (
        lambda one: one.state != "failed" or one.last_verdict == "fail"
    ),
    "a refusal for good is not followed by anything but an operator's retry": (
        lambda one: one.last_verdict != "fail" or one.state == "failed" or one.retried > 0
    ),
    "what is recorded as sent was taken by a relay": (
        lambda one: one.state != "sent" or one.delivered >= 1
    ),
    "each time that a relay took it, beyond the one that is recorded, is covered by a doubt": (
        lambda one: one.delivered <= one.doubts + (one.state in ("sent", "sending"))
    ),
    "where doubt is held, nothing is sent twice unless an operator releases it": (
        lambda one: one.on_doubt != "hold" or one.delivered <= 1 + one.freed
    ),
}
"""What holds for every recipient at every instant."""


def assert_sound(observed: Collection[Observed]) -> None:
    """Assert what holds for each recipient by itself."""
    for rule, holds in RULES.items():
        exceptions = [one for one in observed if not holds(one)]
        assert not exceptions, f"{rule}: {exceptions[:3]}"


def assert_followed(
    seen: Mapping[int, Observed], changed: Mapping[int, Observed], gone: Collection[Observed]
) -> None:
    """Assert what may not have happened between two looks at an outbox."""
    for one in gone:
        assert one.is_final, f"a recipient vanished before it was final: {one}"
    for number, new in changed.items():
        if (old := seen.get(number)) is not None:
            _assert_followed(old, new)


def _assert_followed(old: Observed, new: Observed) -> None:
    assert new.lease >= old.lease, f"a token was given twice: {old}, then {new}"
    assert new.tried >= old.tried, f"an attempt was taken off the record: {old}, then {new}"
    if old.is_final and new.state != old.state:
        assert new.retried > old.retried, f"nobody retried it, but: {old}, then {new}"
    if (old.state, new.state, old.lease) == ("sending", "sending", new.lease):
        assert new.worker == old.worker, f"a lease changed hands: {old}, then {new}"


def assert_never_early(connection: sqlite3.Connection) -> None:
    """Assert that no attempt began before its time; holds where nobody set the clock back."""
    early = connection.execute(_EARLY).fetchall()
    assert not early, f"attempts were begun before they were due: {early[:3]}"


def assert_texts_fit(connection: sqlite3.Connection, secrets: Collection[str]) -> None:
    """Assert that what relays said is stored printable and bounded, and without secrets."""
    texts = connection.execute(
        "SELECT text FROM mailqueue_attempts UNION SELECT command FROM mailqueue_attempts"
        " UNION SELECT coalesce(last_text, '') FROM mailqueue_recipients"
        " UNION SELECT coalesce(text, '') FROM mailqueue_relays"
    )
    for (text,) in texts:
        assert all(line.isprintable() for line in text.split("\n")), repr(text)
        assert len(text.encode()) <= _MAX_TEXT_OCTETS, repr(text)
        assert not any(secret in text for secret in secrets), repr(text)
