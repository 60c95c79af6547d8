"""A copy that is killed at each of its steps, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mailqueue.failpoint import POINTS, VARIABLE
from tests.copying.conftest import MakeUrl
from tests.copying.places import ask, fence_of, mail_of, opened, pauses_of
from tests.copying.test_copy import fill
from tests.support import rows
from tests.support.process import ROOT

pytestmark = pytest.mark.slow

_UNDOING = ("copy-undo-commit", "copy-open-commit")
COPYING = [
    point
    for point in POINTS
    if point.split("-", 1)[1].startswith("copy-") and not point.endswith(_UNDOING)
]
# Each table takes a batch, or several, and one more that finds nothing left.
PLACES = [
    *(f"{point}:1" for point in COPYING),
    *(
        f"{moment}-copy-batch-commit:{nth}"
        for nth in (2, 3, 5, 7)
        for moment in ("before", "after")
    ),
]
MANY = 2_100
"""More messages than a batch has rows."""


@pytest.mark.parametrize("place", PLACES)
def test_a_copy_that_was_killed_goes_on_and_doubles_nothing(
    make_url_of: MakeUrl, place: str
) -> None:
    """Until it has ended nothing can be sent from either side; then all is there, once."""
    source, target = make_url_of("sqlite"), make_url_of("postgresql")
    _fill(source)
    before = mail_of(source)
    assert _run("--database", source, "--to", target, fail=f"{place}:kill") == -signal.SIGKILL
    assert _is_closed(source) or (place.startswith("before-copy-fence") and not _is_closed(source))
    assert _is_closed(target) or _holds_nothing(target) or place.startswith("after-copy-release")
    assert _run("--database", source, "--to", target) == 0
    assert mail_of(target) == mail_of(source) == before
    assert pauses_of(target) == pauses_of(source)
    assert (_is_closed(source), _is_closed(target)) == (True, False)
    last = ask(source, "SELECT seq FROM sqlite_sequence WHERE name = 'mailqueue_messages'")
    assert ask(target, "SELECT last_value FROM mailqueue_messages_id_seq") == last


@pytest.mark.parametrize("step", _UNDOING)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_giving_up_can_be_killed_too(make_url_of: MakeUrl, moment: str, step: str) -> None:
    """The target is never open with mail in it, and in the end only the source has any."""
    source, target = make_url_of("sqlite"), make_url_of("postgresql")
    _fill(source)
    before = mail_of(source)
    ends = ("--database", source, "--to", target)
    _run(*ends, fail="before-copy-release-commit:1:kill")
    assert _run(*ends, "--undo", fail=f"{moment}-{step}:1:kill") == -signal.SIGKILL
    assert _is_closed(target) or _holds_nothing(target)
    if (moment, step) != ("after", "copy-open-commit"):
        assert _run(*ends, "--undo") == 0
    assert (_is_closed(source), _is_closed(target)) == (False, False)
    assert mail_of(source) == before
    assert _holds_nothing(target)


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_ctrl_c_says_how_to_go_on(make_url_of: MakeUrl, nth: int) -> None:
    """It ends with 130, loses nothing, and the next run finishes it."""
    source, target = make_url_of("sqlite"), make_url_of("sqlite")
    _fill(source)
    code = (
        "import os, signal, mailqueue.failpoint as points\n"
        "interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "points._ACTIONS = {**points._ACTIONS, 'int': interrupt}\n"
        f"points.arm('before-copy-batch-commit:{nth}:int')\n"
        "from mailqueue.cli.main import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "db", "copy", "--database", source, "--to", target],
        env=_environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 130
    assert b"Run it again to go on" in ended.stderr
    assert _run("--database", source, "--to", target) == 0
    assert mail_of(target) == mail_of(source)


def _fill(url: str) -> None:
    fill(url)
    with opened(url) as engine, engine.begin() as connection:
        for number in range(MANY):
            rows.add_message(connection, f"r{number}@example.net")


def _run(*arguments: str, fail: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-m", "mailqueue", "db", "copy", *arguments],
        env=_environment() | ({VARIABLE: fail} if fail else {}),
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=60,
    ).returncode


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILQUEUE_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def _is_closed(url: str) -> bool:
    return fence_of(url) is not None


def _holds_nothing(url: str) -> bool:
    there = "SELECT count(*) FROM pg_class WHERE relname = 'mailqueue_messages'"
    if ask(url, there) == 0:
        return True
    return bool(ask(url, "SELECT count(*) FROM mailqueue_messages") == 0)
