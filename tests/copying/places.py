"""Outboxes filled, copied and looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Table, create_engine, select, text

from mailqueue.clock import SystemClock
from mailqueue.failpoint import FailPointReached, arm
from mailqueue.mail.schedule import Backoff
from mailqueue.operate.copying import Copy, Report
from mailqueue.operate.copying.rows import COPIED, Form
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.fence import Fence, standing
from mailqueue.outbox.tables import relays


class Unwatched:
    """Nobody looks how it gets on; ``said`` keeps what was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    def total(self, rows: int) -> None:
        """Forget it."""

    def done(self, rows: int) -> None:
        """Forget it."""


def copying(source: str, target: str) -> Copy:
    """Return the copy from one URL to the other."""
    return Copy(
        source, target, busy_timeout=2.0, clock=SystemClock(), policies=lambda _relay: Backoff()
    )


def copy(source: str, target: str, *, wait: float = 5.0) -> Report | None:
    """Copy from one URL to the other."""
    with copying(source, target) as course:
        return course.run(Unwatched(), wait=wait)


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[Engine]:
    """Give the write engine of an outbox, with its tables made if that is asked for."""
    engine = write_engine(url, busy_timeout=2.0)
    try:
        if create:
            schema.create(engine)
        yield engine
    finally:
        engine.dispose()


def copy_up_to(source: str, target: str, point: str) -> None:
    """Copy until this fail point, where the program ends by a fault."""
    arm(f"{point}:1:raise")
    try:
        copy(source, target)
    except FailPointReached:
        return
    finally:
        arm("")
    raise AssertionError(f"{point} was not reached")


def mail_of(url: str) -> dict[str, list[Any]]:
    """Return all rows of what is copied, flags as such, in the order of their keys."""
    with opened(url) as engine, engine.connect() as connection:
        return {table.name: rows_of(connection, table) for table in COPIED}


def rows_of(connection: Any, table: Table) -> list[Any]:
    """Return the rows of a table, in the order of their keys."""
    found = connection.execute(select(table).order_by(*table.primary_key.columns))
    return [Form(table)(tuple(row)) for row in found]


def fence_of(url: str) -> Fence | None:
    """Return the fence round an outbox."""
    with opened(url) as engine, engine.connect() as connection:
        return standing(connection)


def pauses_of(url: str) -> list[Any]:
    """Return who paused which relay, and why."""
    columns = relays.c
    with opened(url) as engine, engine.connect() as connection:
        found = select(columns.name, columns.paused_by, columns.pause_reason).order_by(columns.name)
        return [tuple(row) for row in connection.execute(found)]


def ask(url: str, sql: str) -> Any:
    """Return the only value that ``sql`` finds, by a driver that knows nothing of mailqueue."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")))) as shell:
            return shell.execute(sql).fetchone()[0]
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(sql)).scalar()
    finally:
        engine.dispose()
