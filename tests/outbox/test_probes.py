"""Who probes a paused relay: one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.outbox.probes import claim, probers, release
from mailqueue.outbox.relays import RelayRow, load, save
from tests.support.rows import NOW, SECOND

OPEN = RelayRow("main", "open", NOW, probe_at=NOW + SECOND, troubles=1)


@pytest.fixture
def connection(outbox_engine: Engine) -> Iterator[Connection]:
    """One write transaction in which a relay is paused."""
    with outbox_engine.connect() as connection:
        save(connection, OPEN)
        yield connection


def test_the_first_one_has_it(connection: Connection) -> None:
    """The others do not, for as long as it lives."""
    assert claim(connection, "a", seen=OPEN, living=["b"])
    assert not claim(connection, "b", seen=OPEN, living=["a"])
    assert probers(connection) == {"main": "a"}


def test_a_dead_one_is_replaced(connection: Connection) -> None:
    """Nobody waits for a probe that never comes back."""
    claim(connection, "a", seen=OPEN, living=["b"])
    assert claim(connection, "b", seen=OPEN, living=["c"])
    assert probers(connection) == {"main": "b"}


def test_a_relay_that_moved_meanwhile_is_not_probed(connection: Connection) -> None:
    """Somebody has been there since it was read, and brought an answer."""
    save(connection, replace(OPEN, probe_at=NOW + 9 * SECOND, troubles=2))
    assert not claim(connection, "a", seen=OPEN, living=[])
    save(connection, RelayRow("main", "closed", NOW))
    assert not claim(connection, "a", seen=OPEN, living=[])
    assert not claim(connection, "a", seen=replace(OPEN, name="other"), living=[])


def test_only_the_prober_gives_it_back(connection: Connection) -> None:
    """Then another may go."""
    claim(connection, "a", seen=OPEN, living=["b"])
    release(connection, "b", "main")
    assert probers(connection) == {"main": "a"}
    release(connection, "a", "main")
    assert probers(connection) == {}
    assert claim(connection, "b", seen=OPEN, living=["a"])


def test_without_news_only_the_last_success_is_written(connection: Connection) -> None:
    """What another daemon has found stays; a relay without a row gets one all the same."""
    save(connection, RelayRow("main", "closed", NOW, last_success_at=NOW), is_news=False)
    assert load(connection)["main"] == replace(OPEN, last_success_at=NOW)
    save(connection, RelayRow("main", "closed", NOW), is_news=False)
    assert load(connection)["main"].last_success_at == NOW
    save(connection, RelayRow("new", "closed", NOW), is_news=False)
    assert load(connection)["new"].breaker == "closed"
