"""The views: the documented interface for people with SQL.

Instants appear as ISO-8601 text in UTC with microseconds, so that they sort as text. A
view may gain columns; it does not lose or rename one without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailqueue.outbox.tables import PREFIX

# Written once for both dialects: iso(x) stands for an instant as text, now() for the
# present one in epoch microseconds.
_ISO = re.compile(r"\biso\(([a-z_.]+)\)")
_NOW = re.compile(r"\bnow\(\)")

DIALECTS: Final = {
    # strftime's own fractions and unixepoch('now', 'subsec') are missing before SQLite 3.42.
    "sqlite": (
        r"strftime('%Y-%m-%dT%H:%M:%S', \1 / 1000000, 'unixepoch')"
        r" || printf('.%06dZ', \1 % 1000000)",
        "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)",
    ),
    "postgresql": (
        r"to_char(timestamp 'epoch' + \1 * interval '1 microsecond',"
        r""" 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    ),
}

VIEWS: Final = {
    # Why a mail did not go: the last reply, and the attempt that it came from. Mail that
    # expired before it was ever tried has neither. What an operator gave up has his name.
    "failures": """
SELECT
    r.message_id, m.header_message_id, r.id AS recipient_id, m.sender, r.address AS recipient,
    r.state, iso(r.finished_at) AS failed_at,
    r.last_code AS code, r.last_enhanced AS enhanced, r.last_text AS text, a.stage, a.rule,
    r.attempts, r.relay, m.tags, iso(m.enqueued_at) AS enqueued_at,
    o.actor AS failed_by, o.reason AS failed_because
FROM mailqueue_recipients AS r
JOIN mailqueue_messages AS m ON m.id = r.message_id
LEFT JOIN mailqueue_attempts AS a ON a.id = (
    SELECT max(x.id) FROM mailqueue_attempts AS x
    WHERE x.recipient_id = r.id AND x.ended_at = r.last_at
)
LEFT JOIN mailqueue_actions AS o ON o.id = (
    SELECT max(x.id) FROM mailqueue_actions AS x
    WHERE x.recipient_id = r.id AND x.at = r.finished_at AND x.verb = 'fail-by-hand'
)
WHERE r.state IN ('failed', 'expired')
""",
    # What still waits, and for what. A leased recipient is due when its lease ends, so
    # its instant stands in a column of its own.
    "backlog": """
SELECT
    r.message_id, m.header_message_id, r.id AS recipient_id, m.sender, r.address AS recipient,
    r.state, r.relay, r.priority,
    CASE WHEN r.state <> 'sending' THEN iso(r.due_at) END AS due_at,
    CASE WHEN r.state <> 'sending' AND r.due_at < now()
         THEN (now() - r.due_at) / 1000000 ELSE 0 END AS overdue_seconds,
    CASE WHEN r.state = 'sending' THEN iso(r.due_at) END AS leased_until, r.worker,
    b.breaker, iso(b.since) AS breaker_since, iso(b.probe_at) AS probe_at,
    CASE WHEN b.breaker <> 'closed' THEN b.stage END AS relay_stage,
    CASE WHEN b.breaker <> 'closed' THEN b.code END AS relay_code,
    CASE WHEN b.breaker <> 'closed' THEN b.text END AS relay_text,
    r.attempts, r.doubts, iso(r.last_at) AS last_at, r.last_code, r.last_enhanced, r.last_text,
    iso(r.expires_at) AS expires_at, iso(m.enqueued_at) AS enqueued_at, m.tags,
    p.paused_by, iso(p.paused_at) AS paused_at, iso(p.paused_until) AS paused_until, p.pause_reason
FROM mailqueue_recipients AS r
JOIN mailqueue_messages AS m ON m.id = r.message_id
LEFT JOIN mailqueue_relays AS b ON b.name = coalesce(
    (SELECT x.name FROM mailqueue_relays AS x WHERE x.name = r.relay),
    (SELECT x.name FROM mailqueue_relays AS x WHERE x.is_default AND r.relay = 'default')
)
LEFT JOIN mailqueue_relays AS p ON p.name = b.name AND p.paused_at IS NOT NULL
    AND (p.paused_until IS NULL OR p.paused_until > now())
WHERE r.finished_at IS NULL
""",
    # Every time that a mail may have been sent without our knowing, and what became of it.
    "in_doubt": """
SELECT
    r.message_id, m.header_message_id, r.id AS recipient_id, m.sender, r.address AS recipient,
    a.number, iso(a.started_at) AS started_at, iso(a.ended_at) AS ended_at,
    a.relay, a.worker, a.session, a.peer, a.stage, a.rule, a.text,
    m.on_doubt, r.state, r.attempts, r.doubts, iso(r.due_at) AS due_at,
    iso(r.finished_at) AS finished_at, m.tags
FROM mailqueue_attempts AS a
JOIN mailqueue_recipients AS r ON r.id = a.recipient_id
JOIN mailqueue_messages AS m ON m.id = r.message_id
WHERE a.verdict = 'in-doubt'
""",
    # What was tried and what operators did. Order by "at".
    "history": """
SELECT
    iso(a.ended_at) AS at, r.message_id, m.header_message_id,
    r.id AS recipient_id, r.address AS recipient,
    'attempt' AS kind, a.verdict AS what, a.worker AS actor, a.number, a.charged,
    a.relay, a.session, a.peer, a.stage, a.command, a.code, a.enhanced, a.text, a.scope, a.rule,
    iso(a.started_at) AS started_at, iso(a.due_at) AS due_at,
    NULL AS from_state, NULL AS to_state
FROM mailqueue_attempts AS a
JOIN mailqueue_recipients AS r ON r.id = a.recipient_id
JOIN mailqueue_messages AS m ON m.id = r.message_id
UNION ALL
SELECT
    iso(o.at), r.message_id, m.header_message_id,
    r.id, r.address,
    'action', o.verb, o.actor, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, o.reason, NULL, NULL,
    NULL, NULL,
    o.from_state, o.to_state
FROM mailqueue_actions AS o
JOIN mailqueue_recipients AS r ON r.id = o.recipient_id
JOIN mailqueue_messages AS m ON m.id = r.message_id
""",
    # What relays say, alike reasons together, with the last recipient who heard it.
    "reasons": """
SELECT
    g.count, g.recipients, g.relay, g.verdict, g.stage, g.code, g.enhanced, g.reason,
    iso(g.first_at) AS first_at, iso(g.last_at) AS last_at,
    r.message_id AS example_message_id, r.address AS example_recipient, a.text AS example_text
FROM (
    SELECT
        count(*) AS count, count(DISTINCT x.recipient_id) AS recipients,
        x.relay, x.verdict, x.stage, x.code, x.enhanced, x.reason,
        min(x.ended_at) AS first_at, max(x.ended_at) AS last_at, max(x.id) AS last_id
    FROM mailqueue_attempts AS x
    WHERE x.verdict <> 'sent'
    GROUP BY x.relay, x.verdict, x.stage, x.code, x.enhanced, x.reason
) AS g
JOIN mailqueue_attempts AS a ON a.id = g.last_id
JOIN mailqueue_recipients AS r ON r.id = a.recipient_id
""",
}


def statements(dialect: str) -> Iterator[str]:
    """Yield the statements that create every view, in ``dialect`` (sqlite or postgresql)."""
    for name, query in VIEWS.items():
        yield f"CREATE VIEW {PREFIX}{name} AS{expanded(query, dialect)}".rstrip()


def expanded(query: str, dialect: str) -> str:
    """Return ``query`` with its instants written as ``dialect`` wants them."""
    iso, now = DIALECTS[dialect]
    return _ISO.sub(iso, _NOW.sub(now, query))
