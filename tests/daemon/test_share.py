"""What one of several processes has of every limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.daemon.share import Share


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_all_parts_together_are_the_whole_and_none_is_much_larger(total: int, count: int) -> None:
    """No connection is lost between the processes, and none is opened twice."""
    parts = [Share(index, count).of(total) for index in range(count)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_it_is_written_as_a_person_would() -> None:
    """The second of four is 2/4, in the process list and in the log."""
    assert Share.parse("2/4") == Share(1, 4)
    assert str(Share(1, 4)) == "2/4"
    for wrong in ("", "0/4", "5/4", "a/b", "2", "1/0"):
        with pytest.raises(ValueError, match=r"share|int"):
            Share.parse(wrong)
