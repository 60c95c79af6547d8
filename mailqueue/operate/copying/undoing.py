"""A copy given up, and a fence lifted by hand."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete

from mailqueue.errors import SchemaMissingError
from mailqueue.failpoint import reach
from mailqueue.operate.access import Access
from mailqueue.operate.copying.refusals import CopyError
from mailqueue.operate.copying.rows import COPIED
from mailqueue.outbox.engine import BUSY_TIMEOUT
from mailqueue.outbox.fence import Fence, Phase, passing, put_up, standing, take_away
from mailqueue.outbox.location import describe


def undo(source: Access, target: Access, source_url: str, target_url: str) -> int:
    """Empty the target of an unfinished copy, open it, and open the source; returns rows removed.

    Raises `CopyError` where the target was let go: its mail may have been sent from there.
    """
    here, there = describe(source_url), describe(target_url)
    with source.reading() as connection:
        fence = standing(connection)
    arrival = _arrival(target)
    if fence is None and arrival is None:
        raise CopyError(f"no copy from {here} to {there} is under way; there is nothing to undo")
    if fence is not None and fence.phase is Phase.ARRIVING:
        raise CopyError(f"{here} {fence}; undo that copy from its own source")
    if arrival is None and fence is not None and fence.phase is Phase.MOVED:
        raise CopyError(
            f"{here} {fence}, and the mail is sent from there now. To go back, copy that outbox "
            "into a new database"
        )
    if fence is not None and fence.phase is Phase.MOVED:
        _take_back(source, fence)
    removed = 0 if arrival is None else _empty(target, _own(arrival, fence, here, there))
    if fence is not None:
        _open(source)
    return removed


def lift(outbox: Access, url: str, *, anyway: bool) -> Fence:
    """Take the fence of ``outbox`` away and return it, as it was.

    Raises `CopyError` where there is none, and unless ``anyway`` where mail could be sent from two
    places then: from one that has moved, or is being filled.
    """
    with outbox.writing() as connection:
        fence = standing(connection)
        if fence is None:
            raise CopyError(f"there is no fence round {describe(url)}")
        if fence.phase in (Phase.MOVED, Phase.ARRIVING) and not anyway:
            raise CopyError(
                f"{describe(url)} {fence}: open, it would send mail that is sent from there as "
                "well. If you know that nothing is, say --anyway"
            )
        take_away(connection)
    return fence


def _arrival(target: Access) -> Fence | None:
    try:
        with target.reading() as connection:
            return standing(connection)
    except SchemaMissingError:
        return None


def _own(arrival: Fence, fence: Fence | None, here: str, there: str) -> Fence:
    """Return ``arrival`` if it is that of a copy from here."""
    is_own = arrival.place == here if fence is None else arrival.id == fence.id
    if arrival.phase is not Phase.ARRIVING or not is_own:
        raise CopyError(f"{there} {arrival}, by another copy, which is not undone from here")
    return arrival


def _empty(target: Access, arrival: Fence) -> int:
    removed = 0
    with target.writing() as connection, passing(connection, arrival.id):
        for table in reversed(COPIED):
            removed += connection.execute(delete(table)).rowcount
    # Emptied first: one that is opened with mail in it would send that.
    with target.writing() as connection:
        take_away(connection)
        reach("before", "copy-undo-commit")
    reach("after", "copy-undo-commit")
    return removed


def _take_back(source: Access, fence: Fence) -> None:
    """Say that it has not moved: a crash after the target was opened would leave it closed."""
    with source.writing() as connection:
        put_up(connection, replace(fence, phase=Phase.COPYING), patience=BUSY_TIMEOUT)


def _open(source: Access) -> None:
    with source.writing() as connection:
        take_away(connection)
        reach("before", "copy-open-commit")
    reach("after", "copy-open-commit")
