"""When a deferred recipient is tried again: as a table to be judged by eye, and by its bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.schedule import Backoff, GiveUp, History, Retry, next_attempt

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND

FIVE_DAYS = """
     1  0d 00:00:00           0:00:00
     2  0d 00:05:00  waited   0:05:00
     3  0d 00:15:00  waited   0:10:00
     4  0d 00:35:00  waited   0:20:00
     5  0d 01:15:00  waited   0:40:00
     6  0d 02:35:00  waited   1:20:00
     7  0d 05:15:00  waited   2:40:00
     8  0d 09:15:00  waited   4:00:00
     9  0d 13:15:00  waited   4:00:00
    10  0d 17:15:00  waited   4:00:00
    11  0d 21:15:00  waited   4:00:00
    12  1d 01:15:00  waited   4:00:00
    13  1d 05:15:00  waited   4:00:00
    14  1d 09:15:00  waited   4:00:00
    15  1d 13:15:00  waited   4:00:00
    16  1d 17:15:00  waited   4:00:00
    17  1d 21:15:00  waited   4:00:00
    18  2d 01:15:00  waited   4:00:00
    19  2d 05:15:00  waited   4:00:00
    20  2d 09:15:00  waited   4:00:00
    21  2d 13:15:00  waited   4:00:00
    22  2d 17:15:00  waited   4:00:00
    23  2d 21:15:00  waited   4:00:00
    24  3d 01:15:00  waited   4:00:00
    25  3d 05:15:00  waited   4:00:00
    26  3d 09:15:00  waited   4:00:00
    27  3d 13:15:00  waited   4:00:00
    28  3d 17:15:00  waited   4:00:00
    29  3d 21:15:00  waited   4:00:00
    30  4d 01:15:00  waited   4:00:00
    31  4d 05:15:00  waited   4:00:00
    32  4d 09:15:00  waited   4:00:00
    33  4d 13:15:00  waited   4:00:00
    34  4d 17:15:00  waited   4:00:00
    35  4d 21:15:00  waited   4:00:00
    36  4d 23:59:00  waited   2:44:00
"""

ONE_TIME_PASSWORD = """
     1  0d 00:00:00           0:00:00
     2  0d 00:05:00  waited   0:05:00
     3  0d 00:09:00  waited   0:04:00
"""

ONE_MINUTE = """
     1  0d 00:00:00           0:00:00
     2  0d 00:00:54  waited   0:00:54
"""


def timetable(policy: Backoff, *, expires_at: int | None = None, jitter: float = 0.0) -> list[int]:
    """When each attempt happens if all are deferred, each at once; enqueued and tried at 0."""
    attempts = [0]
    while len(attempts) < 1000:
        history = History(0, len(attempts), expires_at)
        following = next_attempt(history, policy, now=attempts[-1], jitter=jitter)
        if isinstance(following, GiveUp):
            return attempts
        attempts.append(following.at)
    raise AssertionError("there is no end of it")


def written(attempts: list[int]) -> str:
    """The attempts as a table: number, days and time since the first, time since the last."""
    lines = [
        f"    {number:2}  {_days(at)}  {'waited' if number > 1 else '':6}  {_clock(at - before):>8}"
        for number, (before, at) in enumerate(
            zip([0, *attempts[:-1]], attempts, strict=True), start=1
        )
    ]
    return "\n".join(["", *lines, ""])


def _days(duration: int) -> str:
    return f"{duration // DAY}d {_clock(duration % DAY):>08}"


def _clock(duration: int) -> str:
    return f"{duration // HOUR}:{duration % HOUR // MINUTE:02}:{duration % MINUTE // SECOND:02}"


def test_mail_that_is_always_deferred_is_tried_for_five_days() -> None:
    """By default: soon at first, then every four hours, once more at the end (RFC 5321 4.5.4.1)."""
    attempts = timetable(Backoff())

    assert written(attempts) == FIVE_DAYS
    assert attempts[-1] == 5 * DAY - MINUTE


def test_a_one_time_password_is_tried_three_times_in_its_ten_minutes() -> None:
    """Mail with a short life gets a last attempt while there is still time to read it."""
    assert written(timetable(Backoff(), expires_at=10 * MINUTE)) == ONE_TIME_PASSWORD


def test_mail_that_lives_for_a_minute_is_tried_twice() -> None:
    """For a life in seconds the last attempt keeps a tenth of it as distance to the end."""
    assert written(timetable(Backoff(), expires_at=MINUTE)) == ONE_MINUTE


def test_jitter_brings_attempts_forward_by_at_most_its_share() -> None:
    """With the default jitter the five minutes become at least four, and never more than five."""
    latest, middle, earliest = (timetable(Backoff(), jitter=x)[1] for x in (0.0, 0.5, 0.999999))

    assert (latest, middle) == (300 * SECOND, 270 * SECOND)
    assert 240 * SECOND <= earliest < 241 * SECOND


def test_the_earlier_of_two_deadlines_counts() -> None:
    """A message may end before the relay's patience does, but never outlives it."""
    policy = Backoff(give_up=3600.0)

    assert History(5 * SECOND, 1).deadline(policy) == 3605 * SECOND
    assert History(5 * SECOND, 1, expires_at=DAY).deadline(policy) == 3605 * SECOND
    assert History(5 * SECOND, 1, expires_at=MINUTE).deadline(policy) == MINUTE


@pytest.mark.parametrize(
    ("now", "following"),
    [
        (49 * MINUTE, Retry(54 * MINUTE)),
        (54 * MINUTE - 1, Retry(59 * MINUTE - 1)),
        (54 * MINUTE, Retry(59 * MINUTE, last=True)),
        (59 * MINUTE - 1, Retry(59 * MINUTE, last=True)),
        (59 * MINUTE, GiveUp()),
        (HOUR, GiveUp()),
        (DAY, GiveUp()),
    ],
)
def test_the_last_attempt_is_a_minute_before_the_deadline(
    now: int, following: Retry | GiveUp
) -> None:
    """What would come too late is tried a minute before the hour; after that, no more."""
    policy = Backoff(initial=300.0, give_up=3600.0)

    assert next_attempt(History(0, 1), policy, now=now, jitter=0.0) == following


@pytest.mark.parametrize("expires_at", [0, -DAY, 5 * SECOND])
def test_a_message_whose_deadline_has_passed_is_given_up(expires_at: int) -> None:
    """A deadline in the past, even before the message came, leaves no room for an attempt."""
    history = History(0, 1, expires_at)

    assert next_attempt(history, Backoff(), now=5 * SECOND, jitter=0.0) == GiveUp()


@pytest.mark.parametrize(
    "attempts", [1_000, 1_024, 1_025, 10**6, 10**9, pytest.param(10**400, id="beyond floats")]
)
def test_no_number_of_attempts_overflows(attempts: int) -> None:
    """However often a recipient was tried, it waits for the maximum."""
    assert Backoff().delay(attempts, 0.0) == 14_400.0
    assert next_attempt(History(0, attempts), Backoff(), now=0, jitter=0.0) == Retry(4 * HOUR)


@pytest.mark.parametrize("attempts", [-1, 0, 1])
def test_before_the_first_charged_attempt_the_first_wait_applies(attempts: int) -> None:
    """A deferral that was not charged waits like the first."""
    assert Backoff().delay(attempts, 0.0) == 300.0


SHARES = st.floats(0, 1, exclude_max=True)
POLICIES = st.builds(
    Backoff,
    initial=st.floats(1e-3, 1e4),
    factor=st.floats(1, 100),
    maximum=st.floats(1e4, 1e5),
    jitter=st.floats(0, 1),
    give_up=st.floats(0, 1e7),
)
INSTANTS = st.integers(0, 10**8).map(lambda seconds: seconds * SECOND + 123)
HISTORIES = st.builds(History, INSTANTS, st.integers(0, 10**6), expires_at=st.none() | INSTANTS)


@given(HISTORIES, POLICIES, INSTANTS, SHARES)
def test_an_attempt_is_neither_in_the_past_nor_past_the_deadline(
    history: History, policy: Backoff, now: int, jitter: float
) -> None:
    """Whatever policy and history, the next attempt is from now on and before the deadline."""
    following = next_attempt(history, policy, now=now, jitter=jitter)
    deadline = history.deadline(policy)

    if isinstance(following, Retry):
        assert now <= following.at <= deadline
        assert following.at < deadline or deadline - history.enqueued_at < 10
    else:
        assert now >= deadline - MINUTE


@given(POLICIES, st.integers(1, 100), INSTANTS, SHARES)
def test_a_regular_attempt_waits_for_its_step_less_the_jitter(
    policy: Backoff, attempts: int, now: int, jitter: float
) -> None:
    """No wait is longer than its step or the maximum, nor shorter than the step less the jitter."""
    patient = replace(policy, give_up=1e9)
    following = next_attempt(History(0, attempts), patient, now=now, jitter=jitter)
    assert isinstance(following, Retry)
    waited = (following.at - now) / SECOND
    step = min(policy.initial * policy.factor ** (attempts - 1), policy.maximum)

    assert step * (1 - policy.jitter) - 1e-6 <= waited <= step + 1e-6
    assert not following.last


@st.composite
def near_the_end(draw: st.DrawFn) -> tuple[History, Backoff, int]:
    """A recipient deferred while there is time for one more attempt, but not for a whole wait."""
    lifetime = draw(st.integers(1, 10**6))
    wait = draw(st.floats(2, 100)) * lifetime
    policy = Backoff(wait, maximum=wait, jitter=draw(st.floats(0, 0.5)), give_up=lifetime)
    born = draw(INSTANTS)
    # The margin is at most a tenth of the lifetime, so that before nine tenths there is time.
    spent = draw(st.integers(0, lifetime * SECOND * 9 // 10 - 1))
    return History(born, draw(st.integers(0, 100))), policy, born + spent


@given(near_the_end(), SHARES)
def test_the_last_attempt_is_shortly_before_the_deadline(
    moment: tuple[History, Backoff, int], jitter: float
) -> None:
    """Its distance to the deadline is a minute, or a tenth of a life that is shorter than ten."""
    history, policy, now = moment
    lifetime = policy.give_up * SECOND
    margin = round(min(MINUTE, lifetime / 10))
    last = history.deadline(policy) - margin

    assert next_attempt(history, policy, now=now, jitter=jitter) == Retry(last, last=True)


@given(near_the_end(), SHARES, st.integers(0, DAY), SHARES)
def test_after_the_last_attempt_there_is_no_other(
    moment: tuple[History, Backoff, int], jitter: float, late: int, another: float
) -> None:
    """An attempt announced as the last is the last, whenever it is made."""
    history, policy, now = moment
    following = next_attempt(history, policy, now=now, jitter=jitter)
    assert isinstance(following, Retry)
    then = History(history.enqueued_at, history.attempts + 1)

    assert next_attempt(then, policy, now=following.at + late, jitter=another) == GiveUp()


@given(POLICIES, st.integers(1, 2000))
def test_waits_never_become_shorter(policy: Backoff, attempts: int) -> None:
    """Without jitter, each wait is at least as long as the one before it."""
    assert policy.delay(attempts, 0.0) <= policy.delay(attempts + 1, 0.0)


@given(POLICIES, st.floats(-1e6, 1e6))
def test_an_aged_policy_begins_with_the_age(policy: Backoff, age: float) -> None:
    """Its first pause is the age, but no shorter than the first and no longer than the longest."""
    begins = sorted((policy.initial, age, policy.maximum))[1]
    aged = policy.aged(age)

    assert aged.delay(1, 0.0) == begins
    assert replace(aged, initial=policy.initial) == policy
