from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mailqueue
from mailqueue import errors

CHECKOUT = Path(__file__).parents[2]
HEAVY = ("aiosmtplib", "alembic", "pydantic", "click", "rich", "email_validator", "tenacity")


def loaded(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=CHECKOUT
    )
    return set(ran.stdout.split())


def test_the_door_is_light() -> None:
    """`import mailqueue` loads no wire, no migrations, no validation and no terminal."""
    everything = f"import mailqueue\nfor name in {mailqueue.__all__!r}: getattr(mailqueue, name)"
    assert not loaded(everything) & set(HEAVY)


def test_the_pure_floor_brings_nothing_with_it() -> None:
    """Importing the mail floor passes the door, and loads no database for that."""
    assert not loaded("import mailqueue.mail.verdict") & {"sqlalchemy", *HEAVY}


def test_enqueue_is_light(tmp_path: Path) -> None:
    """A process that enqueues into an existing outbox stays light as well."""
    url = f"sqlite:///{tmp_path}/outbox.db"
    enqueue = (
        "from mailqueue import Outbox\nfrom tests.client.parts import RAW\n"
        f"with Outbox({url!r}) as outbox: outbox.enqueue(RAW)"
    )
    loaded(enqueue)
    assert not loaded(enqueue) & set(HEAVY)


@pytest.mark.parametrize("name", mailqueue.__all__)
def test_everything_promised_is_there(name: str) -> None:
    """Every public name can be imported from the door, and is listed."""
    assert getattr(mailqueue, name) is not None
    assert name in dir(mailqueue)


def test_what_is_not_there() -> None:
    """A name that is not public is an AttributeError like in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Mailer'"):
        mailqueue.Mailer  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(mailqueue, "_nothing")


def test_errors_of_the_producer_are_public() -> None:
    """Whatever an outbox raises on purpose can be caught by a name from the door."""
    daemons_own = {"AlreadyRunningError"}
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MailqueueError)
    }
    assert ours - daemons_own <= set(mailqueue.__all__)
