"""What there is to copy, and whether it can be: looked at, and nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, exists, func, select

from mailqueue.errors import SchemaMissingError, SchemaOutdatedError
from mailqueue.operate.access import Access
from mailqueue.operate.copying.drain import leased
from mailqueue.operate.copying.refusals import CopyError
from mailqueue.operate.copying.rows import COPIED, count
from mailqueue.outbox import schema
from mailqueue.outbox.engine import read_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.fence import Fence, Phase, standing
from mailqueue.outbox.location import database_path, describe
from mailqueue.outbox.tables import actions, attempts, contents, messages, recipients


@dataclass(frozen=True, slots=True)
class Survey:
    """How things stand on both sides.

    ``rows``: of each table of the source; ``there``: of the target; ``leased``: recipients of the
    source that a worker has; ``fence`` and ``arrival``: the fence of the source and of the target.
    """

    source: str
    target: str
    rows: dict[str, int]
    there: dict[str, int]
    leased: int
    fence: Fence | None
    arrival: Fence | None

    @property
    def is_done(self) -> bool:
        """Whether everything was copied, and the target let go."""
        has_moved = self.fence is not None and self.fence.phase is Phase.MOVED
        return has_moved and self.arrival is None

    @property
    def is_begun(self) -> bool:
        """Whether a copy from here to there was begun, and not ended."""
        return self.fence is not None and not self.is_done


def survey(source: Access, source_url: str, target_url: str) -> Survey:
    """Look at both sides. Raises `CopyError` where this source cannot go to this target."""
    here, there = describe(source_url), describe(target_url)
    _refuse_same(source_url, target_url)
    with source.reading() as connection:
        fence, out = standing(connection), leased(connection)
        rows = {table.name: count(connection, table) for table in COPIED}
        if fence is None:
            _refuse_orphans(connection)
    arrival, present = _look_at_target(target_url)
    found = Survey(here, there, rows, present, out, fence, arrival)
    _refuse(found)
    return found


def _look_at_target(url: str) -> tuple[Fence | None, dict[str, int]]:
    nothing = dict.fromkeys((table.name for table in COPIED), 0)
    path = database_path(url)
    if path is not None and not path.exists():
        return None, nothing
    with translating(url, reading=True):
        engine: Engine = read_engine(url)
        try:
            with engine.begin() as connection:
                _refuse_encoding(connection, describe(url))
                if schema.current(connection) is None:
                    return None, nothing
                schema.check(connection)
                rows = {table.name: count(connection, table) for table in COPIED}
                return standing(connection), rows
        except (SchemaMissingError, SchemaOutdatedError) as error:
            raise CopyError(f"the target is not ready: {error}") from None
        finally:
            engine.dispose()


def _refuse_same(source_url: str, target_url: str) -> None:
    one, other = database_path(source_url), database_path(target_url)
    same = one == other if one or other else describe(source_url) == describe(target_url)
    if same:
        raise CopyError(f"{describe(target_url)} is the outbox that is to be copied; name another")


def _refuse_encoding(connection: Connection, where: str) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise CopyError(
            f"{where} keeps text in {encoding}, which has no room for every address and reply; "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


_BELONGING: Final = (
    (contents, contents.c.message_id, messages),
    (recipients, recipients.c.message_id, messages),
    (attempts, attempts.c.recipient_id, recipients),
    (actions, actions.c.recipient_id, recipients),
)


def _refuse_orphans(connection: Connection) -> None:
    """A shell without foreign keys may have left rows that PostgreSQL would not take."""
    if connection.dialect.name != "sqlite":
        return
    for table, column, parent in _BELONGING:
        orphan = ~exists().where(parent.c.id == column)
        left = connection.scalar(select(func.count()).select_from(table).where(orphan))
        if left:
            raise CopyError(
                f"{left} rows of {table.name} have a {column.name} that is not in {parent.name}: "
                "somebody has deleted without PRAGMA foreign_keys. Delete them too, and copy again"
            )


def _refuse(found: Survey) -> None:
    fence, arrival = found.fence, found.arrival
    if fence is not None and fence.phase is Phase.ARRIVING:
        raise CopyError(f"{found.source} {fence}, and can be copied once that has ended")
    if arrival is not None and (fence is None or arrival.id != fence.id):
        raise CopyError(
            f"{found.target} {arrival}, by another copy; let that end, or give it up with --undo"
        )
    if arrival is None and fence is not None and fence.place != found.target:
        raise CopyError(f"{found.source} {fence}, and not to {found.target}")
    if arrival is None and not found.is_done:
        refuse_mail(found.target, found.there[messages.name])


def refuse_mail(target: str, held: int) -> None:
    """Raise `CopyError` where ``target`` holds messages that are not of this copy."""
    if held:
        raise CopyError(
            f"{target} holds other mail, {held} messages, which a copy would mix with this; name a "
            "database without, or lift the fence of the source with --undo"
        )
