"""The invariants themselves: each is broken by something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.simulation.invariants import RULES, Observed, assert_followed, assert_sound

_WAITING = Observed(
    id=1,
    message_id=1,
    address="a@example.net",
    state="deferred",
    due_at=5,
    finished_at=None,
    worker=None,
    lease=1,
    attempts=1,
    doubts=0,
    header_message_id="<1@example.org>",
    on_doubt="retry",
    tried=1,
    charged=1,
    doubted=0,
    sent=0,
    last_verdict="defer",
    retried=0,
    freed=0,
    delivered=0,
)
_SENT = replace(
    _WAITING, state="sent", due_at=None, finished_at=4, last_verdict="sent", sent=1, delivered=1
)
_LEASED = replace(_WAITING, state="sending", worker="w", lease=2)


@pytest.mark.parametrize("one", [_WAITING, _SENT, _LEASED])
def test_what_is_in_order_breaks_no_rule(one: Observed) -> None:
    """A recipient as it should be passes all rules."""
    assert_sound([one])


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (replace(_WAITING, finished_at=4), "finished exactly when"),
        (replace(_SENT, due_at=4), "due exactly when"),
        (replace(_LEASED, worker=None), "has a worker exactly when"),
        (replace(_WAITING, attempts=2), "each charged attempt"),
        (replace(_WAITING, attempts=2, retried=1), "each charged attempt"),
        (replace(_WAITING, doubts=1), "each doubt is on record"),
        (replace(_SENT, sent=2), "by exactly one attempt"),
        (replace(_WAITING, last_verdict="sent"), "by exactly one attempt"),
        (replace(_WAITING, state="failed", due_at=None, finished_at=4), "failed did so"),
        (replace(_WAITING, last_verdict="fail"), "refusal for good"),
        (replace(_SENT, delivered=0), "was taken by a relay"),
        (replace(_SENT, delivered=2), "covered by a doubt"),
        (replace(_WAITING, delivered=1), "covered by a doubt"),
        (
            replace(_SENT, delivered=2, doubts=1, doubted=1, on_doubt="hold"),
            "unless an operator releases",
        ),
    ],
)
def test_what_is_not_in_order_breaks_its_rule(one: Observed, rule: str) -> None:
    """Each rule is broken by a recipient that contradicts it."""
    with pytest.raises(AssertionError, match=rule):
        assert_sound([one])


def test_every_rule_is_broken_somewhere_above() -> None:
    """No rule is there that nothing was shown to break."""
    marks: Any = test_what_is_not_in_order_breaks_its_rule.pytestmark  # type: ignore[attr-defined]
    shown = {rule for _, rule in marks[0].args[1]}
    assert all(any(part in rule for part in shown) for rule in RULES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_LEASED, replace(_LEASED, lease=1)),
        (_WAITING, replace(_WAITING, tried=0)),
        (_SENT, _WAITING),
        (_LEASED, replace(_LEASED, worker="v")),
    ],
)
def test_what_may_not_follow_is_found(before: Observed, after: Observed) -> None:
    """Tokens, attempts and final states never go back, and a lease has one holder."""
    with pytest.raises(AssertionError):
        assert_followed({1: before}, {1: after}, [])


def test_only_the_final_may_vanish() -> None:
    """Pruning takes what is final, and nothing else."""
    assert_followed({}, {}, [_SENT])
    with pytest.raises(AssertionError, match="vanished"):
        assert_followed({}, {}, [_WAITING])
