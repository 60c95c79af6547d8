from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine

from mailqueue.outbox.engine import read_engine
from mailqueue.outbox.location import database_path, describe, opened_path, sidecar


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/outbox.db", "/var/lib/outbox.db"),
        ("sqlite+aiosqlite:////var/lib/outbox.db", "/var/lib/outbox.db"),
        ("sqlite:///outbox.db", f"{os.getcwd()}/outbox.db"),
        ("sqlite:///file:/var/lib/a%2520b.db?mode=rw&uri=true", "/var/lib/a b.db"),
        ("sqlite:///file:outbox.db?uri=true", f"{os.getcwd()}/outbox.db"),
    ],
)
def test_every_way_to_name_a_file_leads_to_its_path(url: str, path: str) -> None:
    """Applications write their URLs in many ways; the file is one."""
    assert database_path(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:shared?mode=memory&cache=shared&uri=true",
        "sqlite:///file::memory:?uri=true",
        "postgresql://db/mail",
    ],
)
def test_what_is_no_file_has_no_path(url: str) -> None:
    """Nothing is looked for beside a database that is not a file."""
    assert database_path(url) is None


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "a#b.db", "what?.db"])
def test_the_url_of_our_engines_leads_back_to_the_path(tmp_path: Path, name: str) -> None:
    """What an engine opens is what was asked for, whatever is in the name."""
    engine = read_engine(URL.create("sqlite", database=str(tmp_path / name)))

    assert database_path(engine.url) == tmp_path / name
    engine.dispose()


def test_links_are_resolved(tmp_path: Path) -> None:
    """Whoever comes by a link finds the same files beside the database as everybody else."""
    (tmp_path / "link.db").symlink_to(tmp_path / "outbox.db")
    url = f"sqlite:///{tmp_path / 'link.db'}"

    assert database_path(url) == tmp_path / "outbox.db"
    assert sidecar(tmp_path / "link.db", "bell", "w1") == tmp_path / "outbox.db.bell-w1"


def test_the_open_file_is_known_whatever_the_url_said(tmp_path: Path) -> None:
    """An engine whose connections are made by a function of the application's has a file too."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(tmp_path / "their.db"))
    with engine.connect() as connection:
        assert opened_path(connection) == tmp_path / "their.db"
    engine.dispose()


def test_a_description_has_no_password() -> None:
    """What people read names the database and no secret."""
    assert describe("sqlite:////var/lib/outbox.db") == "/var/lib/outbox.db"
    assert describe("postgresql://mail:secret@db/mail") == "postgresql://mail:***@db/mail"


@pytest.mark.parametrize("worker", ["w1", "mail-2.example.org_1", "A" * 64])
def test_workers_may_have_plain_names(worker: str) -> None:
    """Host names, numbers and what joins them are fit to name a worker."""
    assert sidecar(Path("/var/lib/outbox.db"), "worker", worker) == Path(
        f"/var/lib/outbox.db.worker-{worker}"
    )
