"""What the README shows is run, in the order in which a reader would."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailqueue.config import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """What the README's Python left behind."""

    outbox: Path
    printed: list[str]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    """Run the README's Python in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    names["outbox"].close()
    names["shop"].close()
    names["engine"].dispose()
    return Ran(tmp_path / "outbox.db", capsys.readouterr().out.splitlines())


def test_the_python_runs(ran: Ran) -> None:
    """Every Python block runs after the one before it, and prints what its comments say."""
    assert ran.printed[0].startswith("1 <")
    assert ran.printed[1:] == ["queued", "True"]


def test_the_sql_runs(ran: Ran) -> None:
    """Every statement of the SQL blocks is answered by the views as they are."""
    connection = sqlite3.connect(ran.outbox)
    statements = [one for block in blocks("sql") for one in block.split(";") if one.strip()]
    assert len(statements) == 5
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def test_the_configuration_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration that is shown is one that the daemon takes."""
    (tmp_path / "mailqueue_smtp_password").write_text("canary\n")
    (block,) = blocks("toml")
    file = tmp_path / "config.toml"
    file.write_text(block)
    loaded = load(file, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.config.default_relay.effective_port == 587


def test_what_is_named_exists() -> None:
    """Every file and directory that the README points to is there."""
    named = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`((?:tests|docs)/[^`]+)`", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
