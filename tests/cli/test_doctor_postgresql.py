"""What `mailqueue doctor` has to say about a PostgreSQL server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine, create_engine, text

from mailqueue.cli.doctor import postgresql
from mailqueue.cli.doctor.finding import Finding, Grade
from mailqueue.clock import SystemClock
from tests.cli.conftest import Invoke
from tests.support.rows import add_message

pytestmark = pytest.mark.backend("postgresql")


def findings(result: Result) -> dict[str, dict[str, Any]]:
    """Return the findings of a run by what they are about."""
    rows = map(json.loads, result.stdout.splitlines())
    return {row["what"]: row for row in rows}


@pytest.fixture
def found(engine: Engine) -> dict[str, Finding]:
    """What is found on the server."""
    with engine.connect() as connection:
        return {one.what: one for one in postgresql.server(connection)}


def test_a_server_is_looked_at(invoke: Invoke, url: str) -> None:
    """Version, durability, vacuum, transactions, connections and clocks, each in a line."""
    seen = findings(invoke("doctor", "--database", url, "--offline", "--json"))
    wanted = {"tables", "PostgreSQL", "durability", "vacuum", "old transactions", "connections"}
    assert wanted | {"clocks"} <= seen.keys()
    # The server of the tests is in a hurry, and the doctor notices.
    assert seen["durability"]["grade"] == "wrong"
    assert "fsync off" in seen["durability"]["text"]
    for what in wanted - {"durability"}:
        assert seen[what]["grade"] == "well", seen[what]


@pytest.mark.parametrize(("number", "grade"), [("180004", Grade.WELL), ("140020", Grade.WARNING)])
def test_a_server_that_is_old_is_named(number: str, grade: Grade) -> None:
    """What nobody has tried is a warning, and no reason to stop."""
    assert postgresql.version(number, "14.20").grade is grade


@pytest.mark.parametrize(
    ("settings", "grade"),
    [
        ({}, Grade.WELL),
        ({"fsync": "off"}, Grade.WRONG),
        ({"full_page_writes": "off"}, Grade.WRONG),
        ({"synchronous_commit": "off"}, Grade.WARNING),
        ({"synchronous_commit": "remote_apply"}, Grade.WELL),
    ],
)
def test_a_server_that_may_lose_mail_is_told(settings: dict[str, str], grade: Grade) -> None:
    """What was accepted is on the disk, or the doctor says that it is not."""
    kept = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    assert postgresql.durability(kept | settings).grade is grade


def test_the_servers_own_setting_counts_and_not_ours(engine: Engine) -> None:
    """An application's transactions have the default of its database, whatever ours are told."""
    with engine.begin() as connection:
        name = engine.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert postgresql._setting(connection, "synchronous_commit") == "off"


def test_a_transaction_that_holds_vacuum_back_is_named(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process and its name are there, and how to end it."""
    monkeypatch.setattr(postgresql, "LONG_SECONDS", 0.0)
    other = create_engine(url, connect_args={"application_name": "a report"})
    with other.begin() as forgotten:
        add_message(forgotten)
        pid = forgotten.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as connection:
            finding = {one.what: one for one in postgresql.server(connection)}["old transactions"]
    other.dispose()
    assert finding.grade is Grade.WARNING
    assert f"process {pid} (a report, idle in transaction)" in finding.text
    assert f"pg_terminate_backend({pid})" in finding.remedy


def test_too_few_connections_are_told_before_they_are_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a part of max_connections it is a warning."""
    monkeypatch.setattr(postgresql, "CROWDED", 0.0)
    with engine.connect() as connection:
        finding = {one.what: one for one in postgresql.server(connection)}["connections"]
    assert finding.grade is Grade.WARNING
    assert "of 100 are in use" in finding.text


def test_dead_rows_that_pile_up_are_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where vacuum does not keep up, claims get slower: that is said with the numbers."""
    monkeypatch.setattr(postgresql, "DEAD_LEAST", -1)
    monkeypatch.setattr(postgresql, "DEAD_SHARE", -1)
    with engine.connect() as connection:
        finding = {one.what: one for one in postgresql.server(connection)}["vacuum"]
    assert finding.grade is Grade.WARNING
    assert "VACUUM mailqueue_recipients" in finding.remedy


@pytest.mark.parametrize(
    ("apart", "grade", "said"),
    [(0, Grade.WELL, "agree"), (600, Grade.WARNING, "ahead of"), (-600, Grade.WARNING, "behind")],
)
def test_a_clock_that_is_off_is_told(apart: int, grade: Grade, said: str) -> None:
    """It costs mailqueue nothing, and the instants that applications compute are off by it."""
    now = SystemClock().now()
    finding = postgresql.clocks(now, now + apart * 1_000_000)
    assert finding.grade is grade
    assert said in finding.text


def test_backup_names_the_tool_for_it(invoke: Invoke, url: str, tmp_path: Any) -> None:
    """SQLite's way of copying is not offered where it cannot be gone."""
    result = invoke("backup", "--database", url, tmp_path / "copy.db")
    assert result.exit_code == 73
    assert "pg_dump" in result.output
    assert list(tmp_path.glob("copy*")) == []


def test_the_tables_can_be_checked_and_upgraded(invoke: Invoke, url: str) -> None:
    """`db` says and does what it does for a file."""
    for verb in ("upgrade", "current", "check"):
        result = invoke("db", verb, "--database", url)
        assert result.exit_code == 0, result.output
        assert "secret" not in result.output
