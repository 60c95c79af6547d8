"""The tables of the outbox.

Instants are integer epoch microseconds. What never changes (`messages`, `contents`) is
kept apart from what does (`recipients`), so that a change of state rewrites a narrow
row and drags no content through the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.types import TypeEngine

from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority

PREFIX: Final = "mailqueue_"
DEFAULT_RELAY: Final = "default"
"""What `relay` says where the producer named none; the daemon's configuration resolves it."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    },
)

# SQLite gives only a column declared INTEGER the row id; elsewhere ids outgrow 32 bits.
_Id = BigInteger().with_variant(Integer(), "sqlite")
# STRICT tables know INTEGER, TEXT, BLOB, REAL and ANY alone.
_Instant = BigInteger().with_variant(Integer(), "sqlite")
_Small = SmallInteger().with_variant(Integer(), "sqlite")
_Flag = Boolean(create_constraint=False).with_variant(Integer(), "sqlite")
_Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")


def _table(name: str, *parts: Any, **options: Any) -> Table:
    return Table(f"{PREFIX}{name}", metadata, *parts, sqlite_strict=True, **options)


def _id() -> Column[Any]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


def _message() -> Column[Any]:
    return Column(
        "message_id", _Id, ForeignKey(f"{PREFIX}messages.id", ondelete="CASCADE"), nullable=False
    )


def _one_of(column: str, values: Iterable[object]) -> CheckConstraint:
    listed = ", ".join(str(value) if type(value) is int else f"'{value}'" for value in values)
    return CheckConstraint(text(f"{column} IN ({listed})"), name=column)


# By default PostgreSQL vacuums when a fifth of a table is dead. These are pruned by and by.
_PRUNED: Final = {"autovacuum_vacuum_scale_factor": "0.05", "autovacuum_vacuum_cost_delay": "1"}
# A row here changes a few times in its life: its next version finds room in the same page, and
# the dead are cleared away before a claim has many to step over.
_CHANGING: Final = {
    "fillfactor": "75",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_cost_delay": "1",
    "autovacuum_vacuum_cost_limit": "1000",
    "autovacuum_analyze_scale_factor": "0.02",
}

messages = _table(
    "messages",
    _id(),
    Column("enqueued_at", _Instant, nullable=False),
    Column("header_message_id", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("size", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    Column("recipient_count", Integer, nullable=False),
    Column("eight_bit", _Flag, nullable=False),
    Column("utf8_header", _Flag, nullable=False),
    Column("relay", Text, nullable=False),
    Column("priority", _Small, nullable=False),
    Column("on_doubt", Text, nullable=False),
    Column("send_at", _Instant),
    Column("expires_at", _Instant),
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("idempotency_key", Text),
    Column("digest", LargeBinary),
    _one_of("on_doubt", ("retry", "hold")),
    _one_of("priority", map(int, Priority)),
    Index(
        "uq_mailqueue_messages_idempotency_key",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index("ix_mailqueue_messages_header_message_id", "header_message_id"),
    postgresql_with=_PRUNED,
    # Without it SQLite would give the id of a pruned message to a new one.
    sqlite_autoincrement=True,
)

contents = _table(
    "contents",
    Column(
        "message_id",
        _Id,
        ForeignKey(f"{PREFIX}messages.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("raw", LargeBinary, nullable=False),
    postgresql_with=_PRUNED,
)

_WAITS = text("due_at IS NOT NULL")
_LIVE = text("finished_at IS NULL")
_EXPIRES = text("finished_at IS NULL AND expires_at IS NOT NULL")
_LEASED = text("state = 'sending'")

recipients = _table(
    "recipients",
    _id(),
    _message(),
    Column("address", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("relay", Text, nullable=False),
    Column("priority", _Small, nullable=False),
    # When the dispatcher should look: the next attempt, or while leased the end of the
    # lease, so that a crash needs no repair. NULL for whoever waits for no daemon.
    Column("due_at", _Instant),
    # The give-up age counts from here: enqueue, send_at, or an operator's retry.
    Column("lifetime_from", _Instant, nullable=False),
    Column("expires_at", _Instant),
    Column("finished_at", _Instant),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("doubts", Integer, nullable=False, server_default="0"),
    Column("lease", Integer, nullable=False, server_default="0"),
    Column("worker", Text),
    # Set before the final dot is written, for messages whose doubt is held and not retried.
    Column("dot_at", _Instant),
    Column("last_at", _Instant),
    Column("last_code", _Small),
    Column("last_enhanced", Text),
    Column("last_text", Text),
    _one_of("state", State),
    _one_of("priority", map(int, Priority)),
    # A row that waits without a due time is one that nobody would ever look at.
    CheckConstraint(
        text("(state IN ('queued', 'deferred', 'sending')) = (due_at IS NOT NULL)"), name="due_at"
    ),
    # An index of the whole queue would be walked past every waiting row; these hold only
    # the rows that their question is about (see tests/outbox/test_plans.py).
    Index(
        "ix_mailqueue_recipients_due",
        "relay",
        "priority",
        "due_at",
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    ),
    Index(
        "ix_mailqueue_recipients_leased",
        "due_at",
        sqlite_where=_LEASED,
        postgresql_where=_LEASED,
    ),
    Index(
        "ix_mailqueue_recipients_live",
        "relay",
        "lifetime_from",
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    ),
    Index(
        "ix_mailqueue_recipients_expiring",
        "expires_at",
        sqlite_where=_EXPIRES,
        postgresql_where=_EXPIRES,
    ),
    Index("ix_mailqueue_recipients_message", "message_id"),
    postgresql_with=_CHANGING,
    # With the id of a pruned recipient a stalled worker's token could fit a new one.
    sqlite_autoincrement=True,
)

_DOUBTFUL = text("verdict = 'in-doubt'")

attempts = _table(
    "attempts",
    _id(),
    Column(
        "recipient_id",
        _Id,
        ForeignKey(f"{PREFIX}recipients.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("number", Integer, nullable=False),
    Column("charged", _Flag, nullable=False),
    Column("started_at", _Instant, nullable=False),
    Column("ended_at", _Instant, nullable=False),
    Column("relay", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("session", Text, nullable=False, server_default=""),
    Column("peer", Text, nullable=False, server_default=""),
    Column("tls", Text, nullable=False, server_default=""),
    Column("stage", Text, nullable=False),
    Column("command", Text, nullable=False, server_default=""),
    Column("code", _Small),
    Column("enhanced", Text),
    Column("text", Text, nullable=False, server_default=""),
    # The text with addresses and numbers masked: what `mailqueue_reasons` groups by.
    Column("reason", Text, nullable=False, server_default=""),
    Column("rcpt_reply", Text),
    Column("verdict", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("due_at", _Instant),
    Index("ix_mailqueue_attempts_recipient", "recipient_id"),
    Index(
        "ix_mailqueue_attempts_doubt",
        "ended_at",
        sqlite_where=_DOUBTFUL,
        postgresql_where=_DOUBTFUL,
    ),
    postgresql_with=_PRUNED,
)

actions = _table(
    "actions",
    _id(),
    Column(
        "recipient_id",
        _Id,
        ForeignKey(f"{PREFIX}recipients.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("at", _Instant, nullable=False),
    Column("verb", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Index("ix_mailqueue_actions_recipient", "recipient_id"),
)

relays = _table(
    "relays",
    Column("name", Text, primary_key=True),
    # Takes the mail whose relay is "default".
    Column("is_default", _Flag, nullable=False, server_default=false()),
    Column("breaker", Text, nullable=False),
    Column("since", _Instant, nullable=False),
    Column("probe_at", _Instant),
    Column("troubles", Integer, nullable=False, server_default="0"),
    Column("stage", Text),
    Column("code", _Small),
    Column("enhanced", Text),
    Column("text", Text),
    Column("last_trouble_at", _Instant),
    Column("last_success_at", _Instant),
    # An operator's pause, which the daemon reads and never writes. Without an end it lasts until
    # somebody ends it.
    Column("paused_at", _Instant),
    Column("paused_until", _Instant),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    _one_of("breaker", ("closed", "open", "probing")),
    Index(
        "uq_mailqueue_relays_is_default",
        "is_default",
        unique=True,
        sqlite_where=text("is_default"),
        postgresql_where=text("is_default"),
    ),
)

workers = _table(
    "workers",
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", _Instant, nullable=False),
    Column("heartbeat_at", _Instant, nullable=False),
)

# What all daemons together may do at a relay; whoever changes a share of it locks this row.
limits = _table(
    "limits",
    Column("relay", Text, primary_key=True),
    # When the next recipient may be offered, where its rate is limited.
    Column("next_at", _Instant),
    # The worker that is on its way to see whether a paused relay is well again.
    Column("prober", Text),
)

shares = _table(
    "shares",
    Column("relay", Text, primary_key=True),
    Column("worker", Text, primary_key=True),
    # As configured where this worker runs; of all that differ the smallest holds.
    Column("connections", Integer, nullable=False),
    # Microseconds from one recipient to the next, by the rate configured there.
    Column("spacing", _Real),
    Column("wanted", Integer, nullable=False),
    # How many connections it may have. It rises only by what the others have given up.
    Column("granted", Integer, nullable=False),
    Column("until_at", _Instant, nullable=False),
)
