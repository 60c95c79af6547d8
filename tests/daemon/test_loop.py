"""Which event loop is taken."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import closing

import pytest

from mailqueue.daemon.loop import loop_factory, spare_collector
from mailqueue.errors import ConfigError


@pytest.fixture
def without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra."""
    monkeypatch.setitem(sys.modules, "uvloop", None)


def test_uvloop_is_taken_where_it_is_installed() -> None:
    """It is faster, and nobody has to ask for it."""
    uvloop = pytest.importorskip("uvloop")
    assert loop_factory("uvloop") is loop_factory("auto") is uvloop.new_event_loop


def test_asyncios_own_loop_is_taken_where_it_is_named() -> None:
    """For whoever suspects the other one."""
    with closing(loop_factory("asyncio")()) as loop:
        assert isinstance(loop, asyncio.SelectorEventLoop)


def test_without_it_asyncios_own_loop_does(without_uvloop: None) -> None:
    """An extra that is not there is not missed, unless it was asked for by name."""
    assert loop_factory("auto") is asyncio.new_event_loop
    with pytest.raises(ConfigError, match=r"mailqueue\[fast\]"):
        loop_factory("uvloop")


def test_the_collector_looks_less_often_and_not_at_what_is_there() -> None:
    """What the daemon is made of stays for its life; what a message is made of is gone at once."""
    try:
        spare_collector()
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold()[0] > 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(700, 10, 10)
