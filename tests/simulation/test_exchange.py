"""What is read along on a connection, with commands one by one and in groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.exchange import Begun, Dotted, Exchange

_FIRST = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n"
_OVERLAP = (
    b"Subject: .\r\n\r\n..\r\nRCPT TO:<no@x>\r\n.\r\nMAIL FROM:<d@x>\r\nRCPT TO:<e@x>\r\nDATA\r\n"
)


def _greeted() -> Exchange:
    exchange = Exchange()
    assert exchange.awaits
    exchange.heard(b"220 ready\r\n")
    assert not exchange.awaits
    return exchange


def _cut(octets: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % len(octets) for place in at})
    return [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]


@given(st.lists(st.integers(0, 200), max_size=4), st.lists(st.integers(0, 200), max_size=4))
def test_a_dot_has_the_envelope_of_its_data(spoken: list[int], heard: list[int]) -> None:
    """However both directions are cut, each dot is paired with whom the relay accepted for it."""
    exchange = _greeted()
    steps = [step for block in _cut(_FIRST, spoken) for step in exchange.wrote(block)]
    for part in _cut(b"250 ok\r\n250-o\r\n250 k\r\n550 no\r\n354 go\r\n", heard):
        exchange.heard(part)
    steps += [step for block in _cut(_OVERLAP, spoken) for step in exchange.wrote(block)]
    for part in _cut(b"250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n", heard):
        exchange.heard(part)
    steps += exchange.wrote(b".\r\n")
    first, dot, second, lone = steps
    assert (type(first), type(second)) == (Begun, Begun)
    assert isinstance(dot, Dotted)
    assert isinstance(lone, Dotted)
    assert (dot.envelope.sender, dot.envelope.accepted) == ("a@x", ["b@x"])
    assert (lone.envelope.sender, lone.envelope.accepted) == ("d@x", ["e@x"])


def test_commands_after_a_refused_data_are_no_content() -> None:
    """Only a 354 lets content follow."""
    exchange = _greeted()
    list(exchange.wrote(b"MAIL FROM:<a@x>\r\nDATA\r\n"))
    exchange.heard(b"250 ok\r\n503 no recipients\r\n")
    assert list(exchange.wrote(b"RSET\r\nMAIL FROM:<b@x>\r\n")) == [Begun()]


def test_a_goodbye_awaits_nothing() -> None:
    """A session that has said QUIT is not counted among those at work."""
    exchange = _greeted()
    list(exchange.wrote(b"QUIT\r\n"))
    assert not exchange.awaits
    list(exchange.wrote(b"NOOP\r\n"))
    assert exchange.awaits
