"""`prune`, `backup`, `sql` and `config backoff`."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from mailqueue.clock import SystemClock
from tests.cli.conftest import Invoke
from tests.support import rows

DAY = 86_400_000_000


@pytest.fixture
def old(engine: Engine) -> Engine:
    """Mail that was sent ten days ago and a hundred days ago, and mail that still waits."""
    now = SystemClock().now()
    with engine.begin() as connection:
        for days in (10, 100):
            ended = {"state": "sent", "finished_at": now - days * DAY}
            rows.add_message(
                connection, raw=b"x" * 3_000_000, enqueued_at=now - days * DAY, recipient=ended
            )
        rows.add_message(connection, enqueued_at=now - 500 * DAY)
    return engine


def _left(engine: Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        counted = "SELECT (SELECT count(*) FROM mailqueue_messages), count(*)"
        return tuple(connection.execute(text(f"{counted} FROM mailqueue_contents")).one())


def test_pruning_goes_by_the_retention(invoke: Invoke, old: Engine, url: str, path: Path) -> None:
    """Without options as [retention] says; the space goes back to the file system."""
    with closing(sqlite3.connect(path)) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    result = invoke("prune", "--database", url)
    assert result.exit_code == 0
    assert result.stdout.startswith("removed 1 contents and 1 whole messages\ngave ")
    assert _left(old) == (2, 1)
    with closing(sqlite3.connect(path)) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < before - 5_000_000


def test_a_dry_run_removes_nothing(invoke: Invoke, old: Engine, url: str) -> None:
    """It says what would go, and everything is still there."""
    result = invoke("prune", "--dry-run", "--database", url)
    assert result.stdout == "would remove 1 contents and 1 whole messages\n"
    assert _left(old) == (3, 3)


def test_pruning_more_once(invoke: Invoke, old: Engine, url: str) -> None:
    """--messages and --contents go before the configuration, and what waits stays in any case."""
    result = invoke("prune", "--messages", "5d", "--contents", "0s", "--json", "--database", url)
    told = json.loads(result.stdout)
    assert (told["messages"], told["contents"], told["dry_run"]) == (2, 0, False)
    assert _left(old) == (1, 1)


@pytest.mark.backend("sqlite")
def test_a_backup_can_be_restored(invoke: Invoke, old: Engine, url: str, tmp_path: Path) -> None:
    """The copy is an outbox: moved into the place it is in order, and holds every mail."""
    copy = tmp_path / "copy.db"
    result = invoke("backup", copy, "--database", url)
    assert result.exit_code == 0
    assert f"{copy}: " in result.stdout
    assert invoke("db", "check", "--database", f"sqlite:///{copy}").exit_code == 0
    again = invoke("backup", copy, "--database", url)
    assert again.exit_code == 73
    assert "exists already" in again.stderr
    assert "To restore it:" in invoke("backup", "--help").stdout


@pytest.mark.backend("sqlite")
def test_a_backup_comes_before_the_upgrade(
    invoke: Invoke, old: Engine, url: str, tmp_path: Path
) -> None:
    """Tables of an older version, which every other command refuses, can be copied as they are."""
    with old.begin() as connection:
        connection.exec_driver_sql("UPDATE mailqueue_schema_version SET version_num = '0000'")
        connection.exec_driver_sql("DROP TABLE mailqueue_shares")
    assert invoke("list", "--database", url).exit_code == 78
    copy = tmp_path / "copy.db"
    assert invoke("backup", copy, "--database", url).exit_code == 0
    current = invoke("db", "current", "--database", f"sqlite:///{copy}")
    assert "version 0000" in current.stdout
    with old.begin() as connection:
        connection.exec_driver_sql("DROP TABLE mailqueue_schema_version")
    missing = invoke("backup", tmp_path / "other.db", "--database", url)
    assert (missing.exit_code, "there is no outbox" in missing.stderr) == (78, True)


@pytest.mark.backend("sqlite")
def test_sql_as_table_json_and_csv(invoke: Invoke, old: Engine, url: str) -> None:
    """Three forms of one answer; octets are hexadecimal, and nothing is nothing."""
    ask = "SELECT 1 AS n, 'a,b' AS t, NULL AS z, x'ff00' AS o"
    shown = invoke("sql", ask, "--database", url).stdout.splitlines()
    assert [line.split() for line in shown] == [["N", "T", "Z", "O"], ["1", "a,b", "-", "ff00"]]
    told = json.loads(invoke("sql", "--json", ask, "--database", url).stdout)
    assert told == {"n": 1, "t": "a,b", "z": None, "o": "ff00"}
    written = invoke("sql", "--csv", ask, "--database", url).stdout
    assert [*csv.reader(written.splitlines())] == [["n", "t", "z", "o"], ["1", "a,b", "", "ff00"]]


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize(
    ("statement", "status", "said"),
    [
        ("DELETE FROM mailqueue_messages", 77, "this only reads"),
        ("PRAGMA query_only = OFF", 77, "this only reads"),
        ("SELECT nonsense", 65, "no such column: nonsense"),
        (" ; ", 64, "there is no statement"),
    ],
)
def test_sql_that_is_refused(
    invoke: Invoke, old: Engine, url: str, statement: str, status: int, said: str
) -> None:
    """Changes, mistakes and nothing at all are told apart by the exit status."""
    result = invoke("sql", statement, "--database", url)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
    assert _left(old) == (3, 3)


def test_sql_from_standard_input(invoke: Invoke, old: Engine, url: str) -> None:
    """A recipe in a file is piped in."""
    result = invoke("sql", "-", "--json", "--database", url, stdin="SELECT 1 AS one;\n")
    assert json.loads(result.stdout) == {"one": 1}


def test_looking_waits_for_no_writer(invoke: Invoke, old: Engine, url: str, path: Path) -> None:
    """Commands that read take no lock: a forgotten shell that writes keeps none of them out."""
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        for command in ("stats", "shape", "reasons", "explain 1", "top", "sql SELECT(1)"):
            assert invoke(*command.split(), "--database", url).exit_code == 0
        assert invoke("check", "--database", url).exit_code in (0, 1, 2)
        assert invoke("prune", "--dry-run", "--database", url).exit_code == 0


@pytest.mark.parametrize(
    "command", ["stats", "shape", "reasons", "explain 1", "top", "sql SELECT(1)", "prune"]
)
def test_tables_of_another_version(invoke: Invoke, old: Engine, url: str, command: str) -> None:
    """Whoever looks with another mailqueue is told so, and nothing else."""
    with old.begin() as connection:
        connection.exec_driver_sql("UPDATE mailqueue_schema_version SET version_num = '9999'")
    result = invoke(*command.split(), "--database", url)
    assert (result.exit_code, result.stdout) == (78, "")
    assert "newer than" in result.stderr


def test_a_schedule_that_can_be_judged(invoke: Invoke, tmp_path: Path) -> None:
    """Each attempt with its pause and when it comes; relays of one schedule stand together."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[daemon]\ndefault_relay = "main"\n[backoff]\njitter = 0\ngive_up = "1h"\n'
        '[relays.main]\nhost = "localhost"\ntls = "none"\n'
        '[relays.spare]\nhost = "localhost"\ntls = "none"\n'
        '[relays.slow]\nhost = "localhost"\ntls = "none"\n'
        '[relays.slow.backoff]\ninitial = "30m"\n'
    )
    first, second = invoke("config", "backoff", "--config", file).stdout.split("\n\n")
    lines = [line.split() for line in first.splitlines()]
    assert lines[0] == ["mail", "for", "main,", "spare:"]
    assert lines[2:-1] == [
        ["1", "-", "at", "once"],
        ["2", "5m", "5m"],
        ["3", "10m", "15m"],
        ["4", "20m", "35m"],
        ["5", "(the", "last)", "24m", "59m"],
    ]
    assert lines[-1][:4] == ["given", "up", "after", "1h;"]
    assert second.startswith("mail for slow:")
    only = invoke("config", "backoff", "--relay", "slow", "--json", "--config", file).stdout
    steps = [json.loads(line) for line in only.splitlines()]
    assert [step["at_seconds"] for step in steps] == [0, 1800, 3540]
    assert steps[-1]["is_last"]
    assert invoke("config", "backoff", "--relay", "no", "--config", file).exit_code == 64
