"""A mail as the wire needs it: the envelope, and the content with what it asks of a relay."""

from __future__ import annotations

from mailqueue.mail.value import value


@value
class Envelope:
    """Who it is from and who it goes to (RFC 5321 section 2.3.1).

    Bare addresses, domains as A-labels; the null sender is the empty string. Kept apart
    from the header fields: what the header says decides nothing on the wire.
    """

    sender: str
    recipients: tuple[str, ...]


@value
class Content:
    """The RFC 5322 bytes exactly as they go on the wire, before dot-stuffing.

    ``eight_bit``: some octet is above 127, so 8BITMIME is needed (RFC 6152).
    ``utf8_header``: one of them stands in a header field, so SMTPUTF8 is needed (RFC 6531).
    """

    raw: bytes
    message_id: str
    eight_bit: bool = False
    utf8_header: bool = False

    @property
    def size(self) -> int:
        """Octets as SIZE counts them: with CRLF, without stuffing (RFC 1870 section 5)."""
        return len(self.raw)
