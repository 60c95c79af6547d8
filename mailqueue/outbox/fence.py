"""The fence round an outbox that is being copied to another database, or was.

It stands in the database itself and not in the daemons, so that neither a process of an older
version nor an INSERT by hand gets past it. See docs/decisions/0055-a-fence-of-triggers.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)

from mailqueue.errors import OutboxFencedError
from mailqueue.outbox import barrier
from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.tables import PREFIX

TABLE: Final = f"{PREFIX}fence"

# In no migration: there is none until an outbox is copied, and what is not there costs nothing.
_fence = Table(
    TABLE,
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("phase", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("since", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    # What PostgreSQL's triggers say; those of SQLite hold it themselves.
    Column("said", Text, nullable=False),
    # Other than 0 in the transactions of who fills this outbox, and never committed so.
    Column("passes", Integer, nullable=False, server_default="0"),
    sqlite_strict=True,
)


class Phase(StrEnum):
    """What the fence lets through."""

    DRAINING = "draining"
    """Results, and what operators decide. Nothing new comes in, and nothing is claimed."""
    COPYING = "copying"
    """Nothing: what stands here is being copied."""
    MOVED = "moved"
    """Nothing, for good: the mail is sent from somewhere else."""
    ARRIVING = "arriving"
    """Only what the copy writes: this outbox is the one that is being filled."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence that stands.

    ``id`` names the copy, on both sides; ``place`` is the other outbox, without a password;
    ``since`` in epoch microseconds.
    """

    id: str
    phase: Phase
    place: str
    since: int

    def __str__(self) -> str:
        """Say why nothing goes here."""
        return f"{_WORDS[self.phase]} {self.place}"


_PATIENCE: Final = text("SELECT set_config('lock_timeout', :wait, true)")
_WORDS: Final = {
    Phase.DRAINING: "is being moved to",
    Phase.COPYING: "is being moved to",
    Phase.MOVED: "has moved to",
    Phase.ARRIVING: "is being filled from",
}


def standing(connection: Connection) -> Fence | None:
    """Return the fence of this outbox; None where there is none, as a rule."""
    if not inspect(connection).has_table(TABLE):
        return None
    columns = _fence.c
    row = connection.execute(
        select(columns.id, columns.phase, columns.place, columns.since)
    ).one_or_none()
    return None if row is None else Fence(row.id, Phase(row.phase), row.place, row.since)


def check(connection: Connection) -> None:
    """Do nothing where there is no fence; raises `OutboxFencedError` where one stands."""
    if (fence := standing(connection)) is not None:
        raise error_of(fence)


def put_up(connection: Connection, fence: Fence, *, patience: float) -> None:
    """Put ``fence`` up, in place of the one that may stand, once the transaction is committed.

    Who has written before commits before: SQLite lets one in at a time, and PostgreSQL gives the
    locks that this takes when it is alone with the tables. It waits ``patience`` seconds for that.
    Daemons are woken by the commit.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_PATIENCE, {"wait": f"{max(1, round(patience * 1000))}ms"})
    _fence.create(connection, checkfirst=True)
    connection.execute(delete(_fence))
    said = f"{_SIGN} {fence}"
    connection.execute(
        insert(_fence).values(**{**asdict(fence), "phase": str(fence.phase), "said": said})
    )
    barrier.build(connection, said, is_open=fence.phase is Phase.DRAINING)
    ring_after_commit(connection)


def take_away(connection: Connection) -> None:
    """Take the fence away, with all that belongs to it; daemons are woken by the commit."""
    barrier.remove(connection)
    _fence.drop(connection, checkfirst=True)
    ring_after_commit(connection)


@contextmanager
def passing(connection: Connection, copy: str) -> Iterator[None]:
    """Let this transaction write behind the fence of the copy ``copy``, and no other with it.

    Until it ends, another one that means to pass waits. Raises `OutboxFencedError` where another
    fence stands, and `LookupError` where none does.
    """
    _let_pass(connection, copy, 1)
    yield
    _let_pass(connection, copy, 0)


def _let_pass(connection: Connection, copy: str, passes: int) -> None:
    done = connection.execute(update(_fence).where(_fence.c.id == copy).values(passes=passes))
    if done.rowcount != 1:
        check(connection)
        raise LookupError(f"the fence of the copy {copy} has been taken away")


# What the triggers say, to whoever writes: an older version and a shell show it as it is.
_SIGN: Final = "mailqueue: nothing was written, this outbox"
_SAID: Final = re.compile(
    rf"{_SIGN} (?:{'|'.join(sorted(set(_WORDS.values())))}) (?P<place>.*)", re.DOTALL
)


def refusal(error: BaseException | None) -> OutboxFencedError | None:
    """Return our error for one that a trigger of the fence has raised; None for all others."""
    said: Any = getattr(getattr(error, "diag", None), "message_primary", None) or error
    if error is None or (found := _SAID.fullmatch(str(said))) is None:
        return None
    return _error(found[0].removeprefix("mailqueue: "), found["place"])


def error_of(fence: Fence) -> OutboxFencedError:
    """Return the error for who meets ``fence`` before it has tried to write."""
    return _error(f"nothing was written, this outbox {fence}", fence.place)


def _error(text: str, place: str) -> OutboxFencedError:
    if _WORDS[Phase.ARRIVING] in text:
        return OutboxFencedError(f"{text}; trying again is safe, once the copy has ended", place)
    return OutboxFencedError(
        f"{text}; trying again is safe, there: let [database] url name that place", place
    )
