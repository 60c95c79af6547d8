"""`db copy` and `db unfence`: what they say, and with which status they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from mailqueue.outbox.fence import standing
from mailqueue.outbox.tables import recipients
from tests.cli.conftest import Invoke
from tests.support import rows


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A place with nothing in it."""
    return f"sqlite:///{tmp_path / 'other.db'}"


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """An outbox with two messages and an attempt."""
    with engine.begin() as connection:
        rows.add_message(connection)
        rows.add_attempt(connection, 1)
        rows.add_message(connection, "bob@example.net")
    return engine


def test_a_dry_run_counts_and_leaves_everything_open(
    invoke: Invoke, filled: Engine, url: str, other: str
) -> None:
    """It shows both sides, and makes nothing."""
    result = invoke("db", "copy", "--database", url, "--to", other, "--dry-run")
    assert result.exit_code == 0
    assert "mailqueue_recipients     2      0" in result.stdout
    assert "would be copied to" in result.stdout
    assert not Path(other.removeprefix("sqlite:///")).exists()
    with filled.connect() as connection:
        assert standing(connection) is None


def test_a_copy_prints_what_is_the_same_on_both_sides(
    invoke: Invoke, filled: Engine, url: str, other: str
) -> None:
    """Rows and checksum of each table, and where to let the URL point; a second time it is done."""
    result = invoke("db", "copy", "--database", url, "--to", other)
    assert result.exit_code == 0, result.output
    assert "mailqueue_attempts       1  " in result.stdout
    assert "let [database] url" in result.stdout
    again = invoke("db", "copy", "--database", url, "--to", other)
    assert (again.exit_code, again.stdout) == (
        0,
        "it was copied already, and the mail is sent from there\n",
    )
    with filled.connect() as connection:
        assert connection.scalar(select(recipients.c.state).limit(1)) == "queued"


@pytest.mark.usefixtures("filled")
def test_json_has_whole_checksums(invoke: Invoke, url: str, other: str) -> None:
    """One object, for scripts."""
    looked = invoke("db", "copy", "--database", url, "--to", other, "--dry-run", "--json")
    assert json.loads(looked.stdout)["rows"]["mailqueue_messages"] == 2
    result = invoke("db", "copy", "--database", url, "--to", other, "--json")
    table = json.loads(result.stdout)["tables"]["mailqueue_messages"]
    assert (table["rows"], len(table["sha256"])) == (2, 64)


def test_the_status_tells_what_to_do(invoke: Invoke, filled: Engine, url: str, other: str) -> None:
    """69 where it cannot be, 75 where it can be later, 64 for a URL that is none."""
    assert invoke("db", "copy", "--database", url, "--to", "nonsense").exit_code == 64
    assert invoke("db", "copy", "--database", url, "--to", url).exit_code == 69
    assert invoke("db", "copy", "--database", url, "--to", other, "--undo").exit_code == 69
    with filled.begin() as connection:
        connection.execute(update(recipients).values(state="sending", worker="w1", due_at=2**62))
    waiting = invoke("db", "copy", "--database", url, "--to", other, "--wait", "1ms")
    assert waiting.exit_code == 75
    assert "still leased, by w1" in waiting.stderr
    refused = invoke("db", "upgrade", "--database", url)
    assert refused.exit_code == 75
    assert "is being moved to" in refused.stderr
    undone = invoke("db", "copy", "--database", url, "--to", other, "--undo")
    assert (undone.exit_code, undone.stdout[:8]) == (0, "given up")


def test_a_fence_is_lifted_by_hand(invoke: Invoke, filled: Engine, url: str, other: str) -> None:
    """Without one it ends with 69, and one that has moved takes --anyway."""
    assert invoke("db", "unfence", "--database", url).exit_code == 69
    invoke("db", "copy", "--database", url, "--to", other)
    refused = invoke("db", "unfence", "--database", url)
    assert refused.exit_code == 69
    assert "--anyway" in refused.stderr
    lifted = invoke("db", "unfence", "--database", url, "--anyway")
    assert lifted.exit_code == 0
    assert "is open again" in lifted.stdout
    with filled.connect() as connection:
        assert standing(connection) is None


def test_whoever_looks_is_told_of_a_fence(
    invoke: Invoke, filled: Engine, url: str, other: str
) -> None:
    """Monitoring, the doctor and the check of the tables, with what to do."""
    with filled.connect() as connection:
        assert standing(connection) is None
    invoke("db", "copy", "--database", url, "--to", other)
    moved = f"has moved to {other.removeprefix('sqlite:///')}"
    assert f"is closed: it {moved}" in invoke("db", "check", "--database", url).stdout
    examined = invoke("doctor", "--database", url, "--offline").stdout
    assert f"the outbox {moved}" in examined
    assert "let [database] url name that place" in examined
    said = invoke("check", "--database", url).stdout
    assert "paused: all relays" in said
    assert f", the outbox {moved}" in said


def test_an_unfinished_copy_is_told_by_a_dry_run(
    invoke: Invoke, filled: Engine, url: str, other: str
) -> None:
    """Whoever comes next sees that it was begun."""
    with filled.begin() as connection:
        connection.execute(update(recipients).values(state="sending", worker="w1", due_at=2**62))
    invoke("db", "copy", "--database", url, "--to", other, "--wait", "1ms")
    result = invoke("db", "copy", "--database", url, "--to", other, "--dry-run")
    assert "(begun, and not ended)" in result.stdout
    assert "2 recipients are leased" in result.stdout
