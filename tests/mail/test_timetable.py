from __future__ import annotations

import pytest

from mailqueue.mail.schedule import Backoff, GiveUp, History, next_attempt
from mailqueue.mail.timetable import Step, left, timetable

POLICY = Backoff(initial=300, factor=2, maximum=1200, jitter=0.5, give_up=3600)


def test_a_timetable_is_the_schedule_laid_out() -> None:
    """Each attempt after the pause that the schedule gives, and the last a minute before the end.

    The pauses double to their maximum; what would come too late comes shortly before it instead.
    """
    assert timetable(POLICY) == (
        Step(1, 0, 0),
        Step(2, 300, 300),
        Step(3, 600, 900),
        Step(4, 1200, 2100),
        Step(5, 1200, 3300),
        Step(6, 240, 3540, is_last=True),
    )


def test_chance_shortens_pauses() -> None:
    """With jitter the attempts come earlier, and there may be more of them."""
    early = timetable(POLICY, jitter=0.999)
    assert early[1].at == pytest.approx(150, rel=0.01)
    assert len(early) > len(timetable(POLICY))


def test_no_schedule_is_laid_out_without_end() -> None:
    """A schedule with a million attempts is cut where nobody reads on."""
    restless = Backoff(initial=0.001, factor=1, maximum=0.001, give_up=1e6)
    assert len(timetable(restless, most=50)) == 50
    assert left(History(0, 1), restless, now=0, most=7) == 7


@pytest.mark.parametrize("attempts", range(1, 7))
def test_what_is_left_of_a_schedule(attempts: int) -> None:
    """After each attempt of the timetable, those that follow it are what is left."""
    step = timetable(POLICY)[attempts - 1]
    now = round(step.at * 1_000_000)
    assert left(History(0, attempts), POLICY, now=now) == 6 - attempts


def test_a_deadline_of_its_own_leaves_less() -> None:
    """Mail that expires sooner has fewer attempts left."""
    history = History(0, 1, expires_at=1_000_000_000)
    assert left(history, POLICY, now=0) == 3
    assert isinstance(next_attempt(history, POLICY, now=10**9, jitter=0), GiveUp)
