"""What relays say and do in these tests, and to whom the mail goes."""

from __future__ import annotations

from collections.abc import Callable

from mailqueue.testing import Rule

ANN, BOB, CEE = "ann@example.net", "bob@example.net", "cee@example.net"

Play = Callable[[Rule], Rule]


def says(*lines: str) -> Play:
    """Answer this in place of the usual."""
    return lambda rule: rule.reply(*lines)


def takes_and(play: Play) -> Play:
    """Take the mail, whatever is answered."""
    return lambda rule: play(rule.accept())


def left_over(rule: Rule) -> Rule:
    """Send another reply behind the usual one."""
    return rule.then(extra=b"250 more\r\n")
