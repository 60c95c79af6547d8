"""How PostgreSQL keeps the tables: room in the pages of recipients, and vacuum that comes often.

Changes no row, and nothing on SQLite. The locks it takes let everybody read and write.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A row of recipients changes a few times in its life; the others are written once and pruned.
# By default a vacuum begins when a fifth of a table is dead, which a claim would have to step over.
_PRUNED = {"autovacuum_vacuum_scale_factor": "0.05", "autovacuum_vacuum_cost_delay": "1"}
STORAGE = {
    "recipients": {
        "fillfactor": "75",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "1",
        "autovacuum_vacuum_cost_limit": "1000",
        "autovacuum_analyze_scale_factor": "0.02",
    },
    "messages": _PRUNED,
    "contents": _PRUNED,
    "attempts": _PRUNED,
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, parameters in STORAGE.items():
        settings = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        op.execute(f"ALTER TABLE mailqueue_{table} SET ({settings})")


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, parameters in STORAGE.items():
        op.execute(f"ALTER TABLE mailqueue_{table} RESET ({', '.join(parameters)})")
