"""Octets to begin with, and a way to go on from them that one number decides."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_ROOT = Path(__file__).parents[2]
_MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: =?utf-8?q?B=C3=B6b?= <bob@example.net>,\r\n"
    b' "c, d"@example.net\r\nBcc: e@example.net\r\nSubject: a\r\n\tb\r\n\r\n.\r\n..hello\r\n'
)
_PARTS = (
    b"From: a@example.org\r\nTo: b@example.net\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\n\xc3\xa9\r\n--x--\r\n'
)
_REPLIES = (b"250 2.1.0 ok\r\n", b"550-5.1.1 no\r\n550 5.1.1 such\r\n", b"421\r\n250 x\r\n")
_TEXTS = (b"<a@example.org>: rate 17 exceeded, id 4XyZ9", b"\x1b[31mred\x07\xff\xed\xa0\x80\n\tx")
_TOML = ((_ROOT / "config.example.toml").read_bytes()[:4000], b'[relays.main]\nhost = "x"\n')

SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "reply": _REPLIES,
    "text": _TEXTS,
    "address": (b"a@example.org", b'"a b"@[IPv6:::1]', b"a@b>\r\nDATA", "ö@xn--a.example".encode()),
    "content": (_MAIL, _PARTS),
    "upload": (b"\x03a\n.\n..\n.b\n", b"\x00.\n"),
    "message": (_MAIL, _PARTS),
    "field": (b"X-Note:a\r\nBcc: x@y", b"To:a@example.org", b"References:" + b"<a@b> " * 40),
    "offer": (b"relay\nSIZE 1000\nAUTH PLAIN LOGIN\nSTARTTLS\n8BITMIME",),
    "toml": _TOML,
    "secret": _TOML,
    "transcript": (*_REPLIES, b"MAIL FROM:<a@b>\x00250 ok\x00\x1b]0;x\x07"),
    "lines": _TEXTS,
}
"""For each target some octets that it knows what to do with."""

_TELLING: Final = (b"\r", b"\n", b"\r\n", b"\0", b".", b"\r\n.\r\n", b"\n.\n", b"=?", b"\xff", b":")
_MOST = 2000


def mutations(name: str, chance: random.Random) -> Iterator[bytes]:
    """Yield octets for the target of this name, without end; ``chance`` alone decides which."""
    while True:
        octets = bytearray(chance.choice(SEEDS[name]))
        for _ in range(chance.randint(1, 8)):
            _mutate(octets, name, chance)
        yield bytes(octets[:_MOST])


def _mutate(octets: bytearray, name: str, chance: random.Random) -> None:
    at = chance.randint(0, len(octets))
    match chance.randrange(5):
        case 0:
            octets[at:at] = chance.choice(_TELLING)
        case 1:
            octets[at : at + chance.randint(1, 8)] = b""
        case 2:
            octets[at : at + 1] = bytes([chance.randrange(256)])
        case 3:
            octets[at:at] = octets[at : at + chance.randint(1, 40)]
        case _:
            octets[at:] = chance.choice(SEEDS[name])[at:]
