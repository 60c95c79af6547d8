"""pytest fixtures: the same test on SQLite and on PostgreSQL.

A test that asks for `outbox_url` or `outbox_engine`, by itself or through a fixture of its folder,
runs twice, as "sqlite" and as "postgresql". It runs once where `@pytest.mark.backend("sqlite")`
says so, or where it asks for `path`, which only a file has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer

BACKENDS = ("sqlite", "postgresql")

# Read at once: tests of the command line take every variable of ours away.
_NAMED = os.environ.get("MAILQUEUE_TEST_POSTGRES")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what depends on a database once for each that it is meant for."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _meant(metafunc), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases that are marked for another database than that of their turn."""
    left_out = [item for item in items if not _is_meant(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _is_meant(item)]


def _is_meant(item: pytest.Item) -> bool:
    turn = getattr(getattr(item, "callspec", None), "params", {}).get("backend")
    return turn is None or all(turn in mark.args for mark in item.iter_markers("backend"))


def _meant(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    if (marker := metafunc.definition.get_closest_marker("backend")) is not None:
        return marker.args
    return BACKENDS[:1] if "path" in metafunc.fixturenames else BACKENDS


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Which of `BACKENDS` this test runs on."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The PostgreSQL server of this process, started for whoever asks first.

    That which MAILQUEUE_TEST_POSTGRES names, if it is set; its role may create databases.
    """
    with contextlib.ExitStack() as stack:
        server = _NAMED or stack.enter_context(PostgresServer()).url
        databases = Databases(server, hurried=not _NAMED)
        stack.callback(databases.close)
        yield databases


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite outbox with nothing in it: it is copied faster than made."""
    path = tmp_path_factory.mktemp("empty") / "outbox.db"
    engine = write_engine(f"sqlite:///{path}")
    schema.create(engine)
    engine.dispose()
    return path


LendOutbox = Callable[[], contextlib.AbstractContextManager[str]]


@pytest.fixture(scope="session")
def lend_outbox(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LendOutbox:
    """What lends outboxes in the database of this turn, for fixtures that outlive a test."""

    @contextlib.contextmanager
    def in_postgresql() -> Iterator[str]:
        databases: Databases = request.getfixturevalue("databases")
        url = databases.outbox()
        yield url
        databases.give_back(url)

    @contextlib.contextmanager
    def in_file() -> Iterator[str]:
        path = tmp_path_factory.mktemp("outbox") / "outbox.db"
        shutil.copy(request.getfixturevalue("empty_file"), path)
        yield f"sqlite:///{path}"

    return in_postgresql if backend == "postgresql" else in_file


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """An outbox with tables and nothing in them, in PostgreSQL."""
    url = databases.outbox()
    yield url
    databases.give_back(url)


@pytest.fixture
def outbox_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An outbox with tables and nothing in them, in the database of this turn."""
    if backend == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    path = tmp_path / "outbox.db"
    shutil.copy(request.getfixturevalue("empty_file"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def outbox_engine(outbox_url: str) -> Iterator[Engine]:
    """The write engine of `outbox_url`."""
    engine = write_engine(outbox_url)
    yield engine
    engine.dispose()
