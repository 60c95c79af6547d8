"""The fail points themselves: silent unless armed, and obedient then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailqueue import failpoint
from mailqueue.failpoint import POINTS, VARIABLE, FailPointReached, arm, reach
from mailqueue.mail.stage import Stage
from tests.support.daemon import ROOT, OutboxFile

ENQUEUE = """
import sys
from mailqueue import Outbox
Outbox(sys.argv[1]).enqueue(b"From: a@example.org\\r\\nTo: b@example.net\\r\\n\\r\\n")
print("returned")
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Whatever a test arms does not outlive it."""
    arm("")
    yield
    arm("")


def test_no_place_does_anything_unless_it_is_armed() -> None:
    """Passing every place changes nothing where the variable is not set."""
    for point in POINTS:
        reach(*point.split("-", 1))


def test_the_armed_place_fails_at_its_nth_passing_and_only_then() -> None:
    """Others do not count, and what was passed before or comes after goes on."""
    arm("before-mail:2:raise")
    reach("before", Stage.MAIL)
    reach("after", Stage.MAIL)
    with pytest.raises(FailPointReached):
        reach("before", Stage.MAIL)
    reach("before", Stage.MAIL)


@pytest.mark.parametrize(
    "text",
    ["before-lunch:1:kill", "before-mail:0:kill", "before-mail:1:sing", "before-mail", "x:y:z"],
)
def test_what_names_no_place_time_or_action_is_refused(text: str) -> None:
    """A misspelt fail point must not look like one that was survived."""
    with pytest.raises(ValueError, match=r".+"):
        arm(text)


@pytest.mark.parametrize(
    ("point", "action", "status", "stored"),
    [
        ("before-enqueue-commit", "kill", -signal.SIGKILL, 0),
        ("before-enqueue-commit", "exit", 70, 0),
        ("after-enqueue-commit", "kill", -signal.SIGKILL, 1),
    ],
)
def test_the_environment_arms_a_process(
    tmp_path: Path, point: str, action: str, status: int, stored: int
) -> None:
    """A producer dies where the variable says: before its commit with nothing stored, or after."""
    outbox = OutboxFile(tmp_path / "outbox.db")
    process = subprocess.run(
        [sys.executable, "-c", ENQUEUE, outbox.url],
        env={**os.environ, VARIABLE: f"{point}:1:{action}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (status, b"")
    assert outbox.value("SELECT count(*) FROM mailqueue_messages") == stored
    outbox.close()


def test_every_place_in_the_code_can_be_armed() -> None:
    """A place that the table does not name could never be armed, and would prove nothing."""
    package = Path(failpoint.__file__).parent
    code = "\n".join(path.read_text() for path in package.rglob("*.py"))
    places = re.findall(r'\breach\("(\w+)", (?:"([\w-]+)"|Stage\.(\w+)|stage)\)', code)
    assert len(places) == code.count(' reach("')
    for moment, step, stage in places:
        for name in [step or Stage[stage]] if step or stage else ("mail", "rset", "quit"):
            assert f"{moment}-{name}" in POINTS
