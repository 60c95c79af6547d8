import re

import pytest

from mailqueue.cli.table import WIDE, table
from mailqueue.cli.waiting import Surroundings
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.lookup import LastReply, Listed, RecipientStatus
from tests.support.rows import NOW, SECOND

AROUND = Surroundings({}, None, now=NOW)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def _listed(text: str = "try later", address: str = "anna@example.net") -> Listed:
    last = LastReply(NOW, 451, "4.7.1", text)
    recipient = RecipientStatus(
        7, address, State.DEFERRED, "default", 1, 0, NOW + 252 * SECOND, None, None, None, last
    )
    return Listed(1, "<1@example.org>", "", NOW, {}, 512, recipient)


def test_a_row_says_what_waits_and_until_when() -> None:
    """On a terminal the time is told from now, and the null sender is written as such."""
    heading, row = table([_listed()], AROUND, width=120, colour=False).splitlines()
    assert " ".join(heading.split()) == "ID State Due Tries Relay From To Reason"
    assert row.split("  ")[0] == "1"
    for word in ("deferred", "in 4m 12s", "<>", "anna@example.net", "451 4.7.1 try later"):
        assert word in row


def test_colour_only_where_it_is_wanted() -> None:
    """Without colour there is no escape sequence in the table at all."""
    assert "\x1b[33m" in table([_listed()], AROUND, width=120, colour=True)
    assert "\x1b" not in table([_listed()], AROUND, width=120, colour=False)


@pytest.mark.parametrize("hostile", ["[bold red]x[/]", "[link=http://e.example]x", "[/nonsense]"])
def test_a_reply_is_no_markup(hostile: str) -> None:
    """What a relay puts in brackets is shown in brackets."""
    drawn = table([_listed(text=hostile)], AROUND, width=200, colour=True)
    assert hostile in _ESCAPE.sub("", drawn)


def test_a_reply_brings_no_escape_sequence() -> None:
    """Only colours of our own reach the terminal."""
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b2J"
    drawn = table([_listed(text=hostile, address=f"{hostile}@x")], AROUND, width=200, colour=True)
    rest = _ESCAPE.sub("", drawn)
    assert all(line.isprintable() for line in rest.splitlines())


def test_a_narrow_terminal_loses_nothing() -> None:
    """Cells are folded and never cut: each character is still there."""
    long = "long." * 20 + "anna@example.net"
    lines = table([_listed(address=long)], AROUND, width=WIDE, colour=False).splitlines()
    assert all(len(line) <= WIDE for line in lines)
    column = lines[0].index("To")
    cells = [line[column : lines[0].index("Reason")].strip() for line in lines[1:]]
    assert "".join(cells) == long


@pytest.mark.parametrize("width", [40, 60, 80, WIDE - 1])
def test_a_narrower_one_has_two_lines_for_each(width: int) -> None:
    """Who it is and how it stands, then where it goes and why it waits."""
    shown = table([_listed(), _listed("no user", "bob@example.net")], AROUND, width=width,
                  colour=False)  # fmt: skip
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    words = " ".join(shown.split())
    for address, why in (("anna@example.net", "try later"), ("bob@example.net", "no user")):
        assert f"1 deferred in 4m 12s 1 try {address} default, from <>: 451 4.7.1 {why}" in words
    if width > 60:
        assert len(shown.splitlines()) == 4
