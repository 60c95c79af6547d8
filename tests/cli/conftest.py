"""The command line called in this process, and an outbox for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from mailqueue.cli.main import cli
from mailqueue.outbox.engine import write_engine
from tests.support.rows import make_tables

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine sets for a mailqueue of its own reaches a test."""
    for name in [*os.environ]:
        if name.startswith("MAILQUEUE_") or name in ("NO_COLOR", "JOURNAL_STREAM", "NOTIFY_SOCKET"):
            monkeypatch.delenv(name)


@pytest.fixture
def invoke() -> Invoke:
    """Return a function that calls `mailqueue` with arguments; output is no terminal."""
    runner = CliRunner()

    def call(*arguments: object, stdin: str | bytes | None = None) -> Result:
        return runner.invoke(cli, [*map(str, arguments)], input=stdin, prog_name="mailqueue")

    return call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the outbox, for tests of what only a file has."""
    return tmp_path / "outbox.db"


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str) -> str:
    """An outbox with tables and nothing in them; where a test asks for `path`, nothing yet."""
    if "path" in request.fixturenames:
        return f"sqlite:///{request.getfixturevalue('path')}"
    url: str = request.getfixturevalue("outbox_url")
    return url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The write engine of an outbox with its tables."""
    engine = write_engine(url)
    make_tables(engine)
    yield engine
    engine.dispose()
