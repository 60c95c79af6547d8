import stat
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.cli.conftest import Invoke


def test_upgrade_creates_an_outbox(invoke: Invoke, path: Path, url: str) -> None:
    """Where there is no file, file and tables are made, and the group may write."""
    result = invoke("db", "upgrade", "--database", url)
    assert (result.exit_code, result.stdout) == (0, f"{path}: version {schema.HEAD}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert invoke("db", "check", "--database", url).exit_code == 0
    assert invoke("db", "upgrade", "--database", url).exit_code == 0


def test_current(invoke: Invoke, engine: Engine, url: str) -> None:
    """The version that is there and the one that is needed."""
    stdout = invoke("db", "current", "--database", url).stdout
    assert f"version {schema.HEAD}, needed is {schema.HEAD}" in stdout


def test_current_of_an_empty_database(invoke: Invoke, path: Path, url: str) -> None:
    """A database without our tables has no version."""
    path.touch()
    assert "version none, needed is" in invoke("db", "current", "--database", url).stdout


def test_check_refuses_newer_tables(invoke: Invoke, engine: Engine, url: str) -> None:
    """Tables of a later version are for a person: EX_CONFIG and what to do."""
    _set_version(engine, "9999")
    for command in (("db", "check"), ("list",), ("show", "1"), ("cancel", "1")):
        result = invoke(*command, "--database", url)
        assert result.exit_code == 78
        assert "newer" in result.stderr
        assert "install the version of mailqueue that made them" in result.stderr


def test_check_refuses_older_tables(invoke: Invoke, engine: Engine, url: str) -> None:
    """Tables of an earlier version name the command that brings them on."""
    _set_version(engine, "0000")
    result = invoke("db", "check", "--database", url)
    assert result.exit_code == 78
    assert "mailqueue db upgrade" in result.stderr


def test_a_file_that_is_no_database(invoke: Invoke, path: Path, url: str) -> None:
    """Something else in the place of the outbox is bad data, and is left as it is."""
    path.write_bytes(b"this is a letter\n" * 100)
    for command in (("db", "check"), ("db", "upgrade"), ("list",)):
        result = invoke(*command, "--database", url)
        assert result.exit_code == 65
        assert "is not a SQLite database" in result.stderr
    assert path.read_bytes() == b"this is a letter\n" * 100


def test_check_finds_damage(invoke: Invoke, engine: Engine, path: Path, url: str) -> None:
    """A damaged file is found before a mail is lost in it."""
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    engine.dispose()
    content = bytearray(path.read_bytes())
    content[4096 * 6 :] = b"\xff" * (len(content) - 4096 * 6)
    path.write_bytes(content)
    result = invoke("db", "check", "--database", url)
    assert result.exit_code == 65
    assert "damaged" in result.stderr


def test_a_locked_database(invoke: Invoke, engine: Engine, path: Path, tmp_path: Path) -> None:
    """Behind a writer that does not end, a command gives up after the busy timeout with 75."""
    file = tmp_path / "config.toml"
    file.write_text(f'[database]\nurl = "sqlite:///{path}"\nbusy_timeout = 0.1\n')
    with engine.begin():
        result = invoke("db", "upgrade", "--config", file)
        reading = invoke("list", "--config", file)
    assert result.exit_code == 75
    assert "trying again is safe" in result.stderr
    assert reading.exit_code == 0


@pytest.mark.backend("sqlite")
def test_a_file_that_may_not_be_written(
    invoke: Invoke, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to write, a decision ends in EX_NOPERM."""
    from tests.support import rows

    with engine.begin() as connection:
        rows.add_message(connection)

    def read_only(place: str, *, busy_timeout: float) -> Engine:
        opened = write_engine(place, busy_timeout=busy_timeout)
        with opened.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")
        return opened

    # Tests may run as root, to whom no file mode says no.
    monkeypatch.setattr("mailqueue.operate.access.write_engine", read_only)
    result = invoke("hold", 1, "--database", url)
    assert result.exit_code == 77
    assert "cannot be written by this user" in result.stderr


def _set_version(engine: Engine, version: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"))
