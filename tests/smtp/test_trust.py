"""When a relay is not taken at its word any more."""

from __future__ import annotations

from mailqueue.smtp.trust import SECONDS, TROUBLES, Trust


def test_some_trouble_is_bad_luck() -> None:
    """It takes several sessions in a row."""
    trust = Trust()
    for _ in range(TROUBLES - 1):
        assert not trust.trouble(0.0)
    assert trust.allows(0.0)
    assert trust.trouble(0.0)
    assert not trust.allows(0.0)


def test_success_in_between_begins_anew() -> None:
    """Sessions that end well show that groups are understood."""
    trust = Trust()
    for _ in range(10 * TROUBLES):
        assert not trust.trouble(0.0)
        trust.well()
    assert trust.allows(0.0)


def test_one_more_trouble_is_enough_after_the_pause() -> None:
    """A relay that is tried again after an hour does not get three more sessions to spoil."""
    trust = Trust()
    for _ in range(TROUBLES):
        trust.trouble(10.0)
    assert not trust.allows(10.0 + SECONDS - 1)
    assert trust.allows(10.0 + SECONDS)
    assert trust.trouble(10.0 + SECONDS)
    assert not trust.allows(10.0 + SECONDS)


def test_what_began_before_the_pause_does_not_prolong_it() -> None:
    """Sessions that were open already may still come to grief, and that is no news."""
    trust = Trust()
    for _ in range(TROUBLES):
        trust.trouble(0.0)
    assert not trust.trouble(1.0)
    assert trust.allows(SECONDS)
