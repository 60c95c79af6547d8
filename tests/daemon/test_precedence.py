"""The loop stands aside for whoever has SQLite's lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection

from mailqueue.daemon import database as written
from mailqueue.daemon.database import Database
from mailqueue.daemon.precedence import precedence
from tests.daemon.parts import PATIENCE
from tests.support.rows import add_message

LOOKS = 1000
FOR_EVER = 60.0


class Busy:
    """Something that always has another step to do in the loop."""

    def __init__(self) -> None:
        self.steps = 0
        self.is_wanted = True

    def step(self) -> None:
        self.steps += 1
        if self.is_wanted:
            asyncio.get_running_loop().call_soon(self.step)

    def stands_still(self) -> bool:
        """Whether it comes to a halt, as another thread sees it."""
        looks, before = threading.Event(), -1
        for _ in range(LOOKS):
            if self.steps == before:
                return True
            before = self.steps
            looks.wait(0.001)
        return False


async def beside(busy: Busy, ask: Callable[[], bool]) -> bool:
    """Return what ``ask`` says in a thread, while ``busy`` keeps the loop busy."""
    busy.step()
    try:
        return await asyncio.to_thread(ask)
    finally:
        busy.is_wanted = False


async def test_the_loop_does_nothing_while_somebody_has_precedence() -> None:
    """Every wait for the interpreter would be one of all who wait for the lock."""
    busy, loop = Busy(), asyncio.get_running_loop()

    def ask() -> bool:
        with precedence(loop, most=FOR_EVER):
            return busy.stands_still()

    assert await beside(busy, ask)


async def test_the_loop_goes_on_when_it_is_over() -> None:
    """It stands still for as long as the lock is held, and no longer, also after an error."""
    busy, loop, has_gone_on = Busy(), asyncio.get_running_loop(), threading.Event()

    def ask() -> bool:
        try:
            with precedence(loop, most=FOR_EVER):
                raise ZeroDivisionError
        except ZeroDivisionError:
            loop.call_soon_threadsafe(has_gone_on.set)
        return has_gone_on.wait(PATIENCE)

    assert await beside(busy, ask)


async def test_the_loop_waits_for_no_disk() -> None:
    """Whoever holds the lock for longer than usual has the sessions go on beside it."""
    busy, loop, has_gone_on = Busy(), asyncio.get_running_loop(), threading.Event()

    def ask() -> bool:
        with precedence(loop, most=0.001):
            loop.call_soon_threadsafe(has_gone_on.set)
            return has_gone_on.wait(PATIENCE)

    assert await beside(busy, ask)


async def test_a_loop_that_is_closed_is_in_nobodys_way() -> None:
    """What has begun is finished, whoever has gone meanwhile."""
    closed = asyncio.new_event_loop()
    closed.close()
    with precedence(closed):
        done = True
    assert done


async def test_a_transaction_on_a_file_has_precedence(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's own writer is the one that all producers wait for."""
    monkeypatch.setattr(written, "precedence", partial(precedence, most=FOR_EVER))
    busy = Busy()

    def look(connection: Connection) -> bool:
        add_message(connection)
        return busy.stands_still()

    busy.step()
    try:
        assert await database.write(look)
    finally:
        busy.is_wanted = False


async def test_a_loop_with_nothing_to_do_is_not_disturbed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To have it stand aside costs a tenth of a millisecond, for which a mail would wait."""
    monkeypatch.setattr(written, "precedence", pytest.fail)
    database.is_loop_busy = lambda: False
    await database.write(add_message)
