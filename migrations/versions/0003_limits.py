"""What daemons share: each relay's limits, and how much of them each worker has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# STRICT tables know INTEGER, TEXT, BLOB, REAL and ANY alone.
WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "mailqueue_limits",
        sa.Column("relay", sa.Text, nullable=False),
        sa.Column("next_at", WIDE),
        sa.Column("prober", sa.Text),
        sa.PrimaryKeyConstraint("relay", name=op.f("pk_mailqueue_limits")),
        sqlite_strict=True,
    )
    op.create_table(
        "mailqueue_shares",
        sa.Column("relay", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("connections", sa.Integer, nullable=False),
        sa.Column("spacing", REAL),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("granted", sa.Integer, nullable=False),
        sa.Column("until_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("relay", "worker", name=op.f("pk_mailqueue_shares")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("mailqueue_shares")
    op.drop_table("mailqueue_limits")
