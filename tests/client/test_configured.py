"""An outbox as the configuration names it, and by a path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mailqueue import AsyncOutbox, ConfigError, LimitError, Limits, Outbox
from mailqueue.clock import FakeClock
from tests.client.parts import RAW, Awaited, query

COUNT = "SELECT count(*) FROM mailqueue_messages"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine sets for a mailqueue of its own reaches a test."""
    for name in ("MAILQUEUE_CONFIG", "MAILQUEUE_DATABASE__URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path, url: str) -> Path:
    """A configuration with small limits, and a password that is out of reach."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[database]\nurl = "{url}"\nbusy_timeout = 0\n'
        '[limits]\nrecipients = 2\nmessage_size = "1kB"\n'
        '[relays.main]\nhost = "smtp.example.org"\nusername = "shop"\n'
        'password_file = "mailqueue_smtp_password"\n'
    )
    return file


@pytest.fixture(params=[Outbox, AsyncOutbox])
def kind(request: pytest.FixtureRequest) -> Any:
    """Each of the two doors."""
    return request.param


def awaited(outbox: Any) -> Any:
    """Return an outbox whose verbs are awaited."""
    return Awaited(outbox) if isinstance(outbox, Outbox) else outbox


async def test_the_limits_of_the_configuration_bind(kind: Any, file: Path, url: str) -> None:
    """An outbox from the configuration is where that says, and takes on no more than it says."""
    outbox = awaited(kind.from_config(file, clock=FakeClock()))
    await outbox.enqueue(RAW, recipients=["a@x.example", "b@x.example"])
    with pytest.raises(LimitError, match="3 recipients and the limit is 2"):
        await outbox.enqueue(RAW, recipients=[f"{one}@x.example" for one in "abc"])
    with pytest.raises(LimitError, match="the limit is 1,000"):
        await outbox.enqueue(RAW + b"x\r\n" * 500)
    await outbox.close()
    assert query(url, COUNT) == [(1,)]


async def test_the_file_is_found_as_by_the_daemon(
    kind: Any, file: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path it is the one that $MAILQUEUE_CONFIG names."""
    monkeypatch.setenv("MAILQUEUE_CONFIG", str(file))
    outbox = awaited(kind.from_config())
    await outbox.enqueue(RAW)
    await outbox.close()
    assert query(path, COUNT) == [(1,)]


def test_a_configuration_that_is_wrong(kind: Any, tmp_path: Path) -> None:
    """A missing or wrong file is an error of its own, with the file's name in it."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        kind.from_config(tmp_path / "nowhere.toml")


async def test_a_url_has_limits_of_its_own(
    kind: Any, file: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a URL is bound by what the code says, and not by the configuration."""
    monkeypatch.setenv("MAILQUEUE_CONFIG", str(file))
    outbox = awaited(kind(url))
    await outbox.enqueue(RAW, recipients=[f"{one}@x.example" for one in "abc"])
    await outbox.close()


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(message_size=10), "message_size"),
        (Limits(recipients=0), "recipients"),
        (Limits(queued_size=10), "queued_size"),
        pytest.param(Limits(free_disk=2**62), "free_disk", marks=pytest.mark.backend("sqlite")),
    ],
)
async def test_a_limit_says_where_it_stands(kind: Any, url: str, limits: Limits, name: str) -> None:
    """The error names both places where the limit can be changed."""
    outbox = awaited(kind(url, limits=limits))
    with pytest.raises(LimitError) as error:
        await outbox.enqueue(RAW)
    await outbox.close()
    assert f"Outbox(url, limits=Limits({name}=...))" in str(error.value)
    assert re.search(rf"Outbox\.from_config\(\) .* under \[limits\] .*{name}$", str(error.value))


@pytest.mark.parametrize("name", ["x.db", ":memory:", "file:x.db?mode=memory"])
async def test_a_path_is_a_file(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A path object is a SQLite file of that very name, wherever the process goes later."""
    monkeypatch.chdir(tmp_path)
    outbox = awaited(kind(Path(name)))
    monkeypatch.chdir("/")
    await outbox.enqueue(RAW)
    await outbox.close()
    assert query(tmp_path / name, COUNT) == [(1,)]
