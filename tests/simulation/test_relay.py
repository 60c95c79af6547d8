"""The simulated relay as a server: groups of commands, answered in order and in any segments."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.simulation.ledger import Ledger
from tests.simulation.mood import CLOSE, SILENCE, Mood
from tests.simulation.relay import SimulatedRelay

_MAIL, _NEXT = b"MAIL FROM:<from+1@example.org>\r\n", b"MAIL FROM:<from+2@example.org>\r\n"
_OK, _GONE = b"RCPT TO:<ok-1@example.net>\r\n", b"RCPT TO:<gone-1@example.net>\r\n"
_DATA, _CONTENT = b"DATA\r\n", b"Subject: hello\r\n\r\n..two\r\n.\r\n"
_SEEDS = range(30)


class _Link:
    """Keeps what a relay sends."""

    def __init__(self) -> None:
        self.sent: list[bytes | None] = []

    def send_to_process(self, parcel: bytes | None, *, after: float = 0.0) -> None:
        assert after >= 0
        self.sent.append(parcel)

    @property
    def codes(self) -> list[str]:
        return [line[:3].decode() for line in b"".join(filter(None, self.sent)).splitlines()]


class _Visit:
    """One session with a relay of some seed and mood; the greeting is heard already."""

    def __init__(self, seed: int = 0, *, pipelining: bool = True, **habits: Any) -> None:
        self.ledger = Ledger()
        relay = SimulatedRelay("main", self.ledger, random.Random(seed), pipelining=pipelining)
        self.link = _Link()
        self._server = relay.answer(self.link)  # type: ignore[arg-type]
        relay.mood = Mood("some", habits)
        self.link.sent.clear()

    def say(self, *blocks: bytes) -> list[str]:
        """Say something in one segment; returns the codes of the answers."""
        self.link.sent.clear()
        self._server.received(b"".join(blocks))
        return self.link.codes


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_group_is_answered_in_its_order(seed: int) -> None:
    """Each command of a group gets its reply, also the next MAIL right behind a final dot."""
    visit = _Visit(seed)
    assert visit.say(_MAIL, _OK, _GONE, _DATA) == ["250", "250", "550", "354"]
    assert visit.say(_CONTENT, _NEXT, _OK, _DATA) == ["250", "250", "250", "354"]
    assert visit.ledger.delivered == {("<1@example.org>", "ok-1@example.net"): 1}
    assert visit.ledger.refused == {("<1@example.org>", "gone-1@example.net")}


def test_replies_come_apart_together_and_cut_anywhere() -> None:
    """The same replies come in segments of every kind, drawn from the seed."""
    kinds, words = set(), set()
    for seed in _SEEDS:
        visit = _Visit(seed)
        visit.say(_MAIL, _OK, _OK, _DATA)
        words.add(b"".join(filter(None, visit.link.sent)))
        at_ends = all(segment and segment.endswith(b"\r\n") for segment in visit.link.sent)
        kinds.add((len(visit.link.sent), at_ends))
    assert len(words) == 1
    assert {(4, True), (1, True), (2, False)} <= kinds


def test_what_follows_a_refused_mail_is_refused() -> None:
    """RCPT and DATA behind a MAIL that was not taken belong to no transaction."""
    visit = _Visit(mail={"451 4.3.0 later": 1.0})
    assert visit.say(_MAIL, _OK, _DATA) == ["451", "503", "503"]
    assert not visit.ledger.delivered


def test_data_for_nobody_is_refused_now_or_at_the_dot() -> None:
    """Where every RCPT was refused, some relays refuse DATA, and some a lone dot; none takes it."""
    answers = set()
    for seed in _SEEDS:
        visit = _Visit(seed)
        *_, answer = visit.say(_MAIL, _GONE, _DATA)
        answers.add(answer)
        if answer == "354":
            assert visit.say(b".\r\n") == ["554"]
        assert visit.say(b"RSET\r\n", _NEXT, _OK) == ["250", "250", "250"]
        assert not visit.ledger.delivered
    assert answers == {"354", "503"}


def test_a_cut_between_replies_leaves_the_rest_unsaid() -> None:
    """A relay that hangs up in the middle of a group answers nothing behind that."""
    visit = _Visit(rcpt={CLOSE: 1.0})
    assert visit.say(_MAIL, _OK, _DATA) == ["250"]
    assert visit.link.sent[-1] is None


def test_who_falls_silent_stays_so() -> None:
    """A relay that does not answer one command answers none behind it, and does not hang up."""
    visit = _Visit(rcpt={SILENCE: 1.0})
    assert visit.say(_MAIL, _OK, _DATA) == ["250"]
    assert visit.say(b"NOOP\r\n") == []


def test_a_second_reply_is_left_out_where_nobody_could_notice_it() -> None:
    """Behind pipelined commands it would pass for the reply to the next one."""
    doubled: dict[str, Any] = {"rcpt": {"250 ok\r\n250 ok": 1.0}}
    assert _Visit(**doubled).say(_MAIL, _OK) == ["250", "250"]
    visit = _Visit(pipelining=False, **doubled)
    assert [visit.say(_MAIL), visit.say(_OK)] == [["250"], ["250", "250"]]


@pytest.mark.parametrize("pipelining", [False, True])
def test_it_is_offered_where_it_is_understood(pipelining: bool) -> None:
    """EHLO tells of PIPELINING exactly where the relay has it."""
    visit = _Visit(pipelining=pipelining)
    visit.say(b"EHLO client.example.org\r\n")
    assert (b"PIPELINING" in b"".join(filter(None, visit.link.sent))) is pipelining
