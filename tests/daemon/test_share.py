"""What one of several processes has of every limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.config import Loaded
from mailqueue.daemon.share import Share
from tests.daemon.parts import config_for


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_all_parts_together_are_the_whole_and_none_is_much_larger(total: int, count: int) -> None:
    """No connection is lost between the processes, and none is opened twice."""
    parts = [Share(index, count).of(total) for index in range(count)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_each_relays_connections_and_the_messages_in_all_are_shared_out() -> None:
    """A limit holds for the processes together."""
    here = {"host": "127.0.0.1", "tls": "none"}
    config = config_for(
        {"main": here | {"connections": 5}, "spare": here | {"connections": 1}},
        daemon={"default_relay": "main", "deliveries": 7},
    )
    found = [Share(index, 2).applied(Loaded(config, "a test")).config for index in range(2)]
    assert [one.relays["main"].connections for one in found] == [3, 2]
    assert [one.relays["spare"].connections for one in found] == [1, 0]
    assert [one.daemon.deliveries for one in found] == [4, 3]


def test_it_is_written_as_a_person_would() -> None:
    """The second of four is 2/4, in the process list and in the log."""
    assert Share.parse("2/4") == Share(1, 4)
    assert str(Share(1, 4)) == "2/4"
    for wrong in ("", "0/4", "5/4", "a/b", "2", "1/0"):
        with pytest.raises(ValueError, match=r"share|int"):
            Share.parse(wrong)
