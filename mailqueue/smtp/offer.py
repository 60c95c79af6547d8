"""What a relay offers in its answer to EHLO, and whether a mail can do with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiosmtplib.esmtp import parse_esmtp_extensions

from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import EnhancedStatus, Unsendable

_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9-]*")
_NUMBER = re.compile(r"[0-9]{1,20}")
"""RFC 1870 section 4; a longer one could not be turned into a number at all."""

TOO_BIG = EnhancedStatus(5, 3, 4)
NO_EIGHT_BIT = EnhancedStatus(5, 6, 3)
NO_UTF8 = EnhancedStatus(5, 6, 7)


@dataclass(frozen=True, slots=True)
class Offer:
    """The service extensions of a session (RFC 5321 section 4.1.1.1); none after HELO.

    ``extensions`` and ``mechanisms`` (of AUTH) in capitals; ``size_limit`` in octets, None
    where none is declared (RFC 1870 section 4: SIZE 0 declares none).
    """

    extensions: frozenset[str] = frozenset()
    mechanisms: frozenset[str] = frozenset()
    size_limit: int | None = None

    @classmethod
    def read(cls, lines: Sequence[str]) -> Offer:
        """Read the lines of the reply to EHLO, without their codes."""
        found, mechanisms = parse_esmtp_extensions("\n".join(lines))
        extensions = {keyword.upper(): value for keyword, value in found.items()}
        return cls(
            frozenset(filter(_KEYWORD.fullmatch, extensions)),
            frozenset(mechanism.upper() for mechanism in mechanisms),
            _size(extensions.get("SIZE", "")),
        )

    def lacks(self, envelope: Envelope, content: Content) -> Unsendable | None:
        """Return what keeps this mail from going here at all, whoever it is for.

        Oversize (RFC 1870 section 6.1), 8-bit content without 8BITMIME (RFC 6152), a UTF-8
        header or sender without SMTPUTF8 (RFC 6531). Asking would not change it.
        """
        if self.size_limit is not None and content.size > self.size_limit:
            text = f"the message has {content.size} octets, the relay takes {self.size_limit}"
            return Unsendable(TOO_BIG, text)
        if content.eight_bit and "8BITMIME" not in self.extensions:
            return Unsendable(NO_EIGHT_BIT, "the content is 8-bit, the relay offers no 8BITMIME")
        if (content.utf8_header or not envelope.sender.isascii()) and not self._takes_utf8:
            what = "the header" if content.utf8_header else "the sender's address"
            return Unsendable(NO_UTF8, f"{what} is in UTF-8, the relay offers no SMTPUTF8")
        return None

    def lacks_for(self, recipient: str) -> Unsendable | None:
        """Return what keeps mail from going here for this recipient."""
        if recipient.isascii() or self._takes_utf8:
            return None
        return Unsendable(NO_UTF8, "the address is in UTF-8, the relay offers no SMTPUTF8")

    def mail_parameters(self, envelope: Envelope, content: Content) -> tuple[str, ...]:
        """Return the parameters of MAIL: SIZE where offered, others only where needed."""
        parameters = []
        if "SIZE" in self.extensions:
            parameters.append(f"SIZE={content.size}")
        if content.eight_bit:
            parameters.append("BODY=8BITMIME")
        addresses = (envelope.sender, *envelope.recipients)
        if content.utf8_header or (self._takes_utf8 and not all(map(str.isascii, addresses))):
            parameters.append("SMTPUTF8")
        return tuple(parameters)

    @property
    def pipelining(self) -> bool:
        """Whether commands may be sent in groups (RFC 2920)."""
        return "PIPELINING" in self.extensions

    @property
    def _takes_utf8(self) -> bool:
        return "SMTPUTF8" in self.extensions


def _size(parameter: str) -> int | None:
    return int(parameter) or None if _NUMBER.fullmatch(parameter) else None
