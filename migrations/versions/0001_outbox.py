"""The outbox: messages, contents, recipients, attempts, actions, relays, workers, five views.

A migration is history. What stands here says what version 0001 was, and does not follow
the tables and views of later code.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives only a column declared INTEGER the row id, and STRICT tables know
# INTEGER, TEXT, BLOB, REAL and ANY alone.
WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")

TABLES = ("workers", "relays", "actions", "attempts", "recipients", "contents", "messages")


def upgrade() -> None:
    _create_messages()
    _create_contents()
    _create_recipients()
    _create_attempts()
    _create_actions()
    _create_relays()
    _create_workers()
    for name, query in VIEWS.items():
        # Not a string, in which Alembic would take a colon for a parameter.
        op.execute(sa.text(f"CREATE VIEW mailqueue_{name} AS{_in_dialect(query)}".rstrip()))


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW mailqueue_{name}")
    for name in TABLES:
        op.drop_table(f"mailqueue_{name}")


def _create_messages() -> None:
    op.create_table(
        "mailqueue_messages",
        sa.Column("id", WIDE, autoincrement=True, nullable=False),
        sa.Column("enqueued_at", WIDE, nullable=False),
        sa.Column("header_message_id", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("size", WIDE, nullable=False),
        sa.Column("recipient_count", sa.Integer, nullable=False),
        sa.Column("eight_bit", FLAG, nullable=False),
        sa.Column("utf8_header", FLAG, nullable=False),
        sa.Column("relay", sa.Text, nullable=False),
        sa.Column("priority", SMALL, nullable=False),
        sa.Column("on_doubt", sa.Text, nullable=False),
        sa.Column("send_at", WIDE),
        sa.Column("expires_at", WIDE),
        sa.Column("tags", sa.Text, server_default="{}", nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("digest", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailqueue_messages")),
        sa.CheckConstraint(
            "on_doubt IN ('retry', 'hold')", name=op.f("ck_mailqueue_messages_on_doubt")
        ),
        sa.CheckConstraint("priority IN (0, 1, 2)", name=op.f("ck_mailqueue_messages_priority")),
        sqlite_strict=True,
        # Without it SQLite would give the id of a pruned message to a new one.
        sqlite_autoincrement=True,
    )
    _create_index("messages", "idempotency_key", where="idempotency_key IS NOT NULL", unique=True)
    _create_index("messages", "header_message_id")


def _create_contents() -> None:
    op.create_table(
        "mailqueue_contents",
        sa.Column("message_id", WIDE, autoincrement=False, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_mailqueue_contents")),
        _belongs_to("messages", "message_id", of="contents"),
        sqlite_strict=True,
    )


def _create_recipients() -> None:
    op.create_table(
        "mailqueue_recipients",
        sa.Column("id", WIDE, autoincrement=True, nullable=False),
        sa.Column("message_id", WIDE, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("relay", sa.Text, nullable=False),
        sa.Column("priority", SMALL, nullable=False),
        sa.Column("due_at", WIDE),
        sa.Column("lifetime_from", WIDE, nullable=False),
        sa.Column("expires_at", WIDE),
        sa.Column("finished_at", WIDE),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("doubts", sa.Integer, server_default="0", nullable=False),
        sa.Column("lease", sa.Integer, server_default="0", nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("dot_at", WIDE),
        sa.Column("last_at", WIDE),
        sa.Column("last_code", SMALL),
        sa.Column("last_enhanced", sa.Text),
        sa.Column("last_text", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailqueue_recipients")),
        sa.CheckConstraint(
            "state IN ('queued', 'deferred', 'sending', 'held', "
            "'sent', 'failed', 'expired', 'cancelled')",
            name=op.f("ck_mailqueue_recipients_state"),
        ),
        sa.CheckConstraint("priority IN (0, 1, 2)", name=op.f("ck_mailqueue_recipients_priority")),
        sa.CheckConstraint(
            "(state IN ('queued', 'deferred', 'sending')) = (due_at IS NOT NULL)",
            name=op.f("ck_mailqueue_recipients_due_at"),
        ),
        _belongs_to("messages", "message_id", of="recipients"),
        sqlite_strict=True,
        # With the id of a pruned recipient a stalled worker's token could fit a new one.
        sqlite_autoincrement=True,
    )
    _create_index(
        "recipients", "relay", "priority", "due_at", name="due", where="due_at IS NOT NULL"
    )
    _create_index("recipients", "due_at", name="leased", where="state = 'sending'")
    _create_index("recipients", "relay", "lifetime_from", name="live", where="finished_at IS NULL")
    _create_index(
        "recipients",
        "expires_at",
        name="expiring",
        where="finished_at IS NULL AND expires_at IS NOT NULL",
    )
    _create_index("recipients", "message_id", name="message")


def _create_attempts() -> None:
    op.create_table(
        "mailqueue_attempts",
        sa.Column("id", WIDE, autoincrement=True, nullable=False),
        sa.Column("recipient_id", WIDE, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("charged", FLAG, nullable=False),
        sa.Column("started_at", WIDE, nullable=False),
        sa.Column("ended_at", WIDE, nullable=False),
        sa.Column("relay", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("session", sa.Text, server_default="", nullable=False),
        sa.Column("peer", sa.Text, server_default="", nullable=False),
        sa.Column("tls", sa.Text, server_default="", nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("command", sa.Text, server_default="", nullable=False),
        sa.Column("code", SMALL),
        sa.Column("enhanced", sa.Text),
        sa.Column("text", sa.Text, server_default="", nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("rcpt_reply", sa.Text),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("due_at", WIDE),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailqueue_attempts")),
        _belongs_to("recipients", "recipient_id", of="attempts"),
        sqlite_strict=True,
    )
    _create_index("attempts", "recipient_id", name="recipient")
    _create_index("attempts", "ended_at", name="doubt", where="verdict = 'in-doubt'")


def _create_actions() -> None:
    op.create_table(
        "mailqueue_actions",
        sa.Column("id", WIDE, autoincrement=True, nullable=False),
        sa.Column("recipient_id", WIDE, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("from_state", sa.Text, nullable=False),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailqueue_actions")),
        _belongs_to("recipients", "recipient_id", of="actions"),
        sqlite_strict=True,
    )
    _create_index("actions", "recipient_id", name="recipient")


def _create_relays() -> None:
    op.create_table(
        "mailqueue_relays",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("is_default", FLAG, server_default=sa.false(), nullable=False),
        sa.Column("breaker", sa.Text, nullable=False),
        sa.Column("since", WIDE, nullable=False),
        sa.Column("probe_at", WIDE),
        sa.Column("troubles", sa.Integer, server_default="0", nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("code", SMALL),
        sa.Column("enhanced", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("last_trouble_at", WIDE),
        sa.Column("last_success_at", WIDE),
        sa.Column("paused_at", WIDE),
        sa.Column("paused_until", WIDE),
        sa.Column("paused_by", sa.Text),
        sa.Column("pause_reason", sa.Text),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mailqueue_relays")),
        sa.CheckConstraint(
            "breaker IN ('closed', 'open', 'probing')", name=op.f("ck_mailqueue_relays_breaker")
        ),
        sqlite_strict=True,
    )
    _create_index("relays", "is_default", where="is_default", unique=True)


def _create_workers() -> None:
    op.create_table(
        "mailqueue_workers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", WIDE, nullable=False),
        sa.Column("heartbeat_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailqueue_workers")),
        sqlite_strict=True,
    )


def _belongs_to(parent: str, column: str, *, of: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"mailqueue_{parent}.id"],
        name=op.f(f"fk_mailqueue_{of}_{column}"),
        ondelete="CASCADE",
    )


def _create_index(
    table: str, *columns: str, name: str = "", where: str = "", unique: bool = False
) -> None:
    condition = sa.text(where) if where else None
    kind = "uq" if unique else "ix"
    op.create_index(
        op.f(f"{kind}_mailqueue_{table}_{name or columns[0]}"),
        f"mailqueue_{table}",
        list(columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _in_dialect(query: str) -> str:
    iso, now = DIALECTS[op.get_context().dialect.name]
    return re.sub(r"\biso\(([a-z_.]+)\)", iso, query.replace("now()", now))


DIALECTS = {
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

VIEWS = {
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
