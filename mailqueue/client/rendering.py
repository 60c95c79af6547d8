"""A message object as bytes, written once and with nothing slipped in."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from email.generator import BytesGenerator
from email.headerregistry import Address, Group, UnstructuredHeader
from email.message import Message
from email.policy import EmailPolicy
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mailqueue.client.mailbox import as_a_labels
from mailqueue.errors import ContentError

if TYPE_CHECKING:
    AnyMessage: TypeAlias = Message[Any, Any]
else:
    AnyMessage = Message  # it cannot be subscripted when it runs

_BREAK = re.compile(r"\0|\r(?!\n)|\n(?![ \t])")
"""What no header value may hold: a line break that no blank follows would begin a new field."""
_NAME = re.compile(r"[!-9;-~]+")
_FIELD = re.compile(rb"[!-9;-~]+:(?:[^\r\n\0]|\r\n(?=[ \t]+[^ \t\r\n]))*\r\n")
_PLAIN = re.compile(r"[\t -~]*")
_WORD = re.compile(r"[\t ]*[^\t ]+")
_LINE_OCTETS: Final = 998
_LINE_OCTETS_WISHED: Final = 78
"""Without their CRLF (RFC 5322 section 2.1.1)."""


def render(message: AnyMessage) -> bytes:
    """Return the bytes of ``message`` with CRLF line ends, in seven bits wherever that can be.

    The message itself is not touched. Bcc is still there. Header fields are written by our
    policy, whatever the message's own one is. Raises `ContentError` for whatever the
    standard library cannot write, and for a header value that would become more than one field.
    """
    try:
        octets = BytesIO()
        policy = WirePolicy() if all(map(_is_convertible, message.walk())) else _EIGHT_BIT
        BytesGenerator(octets, mangle_from_=False, policy=policy).flatten(_twin(message))
        return octets.getvalue()
    except ContentError:
        raise
    except Exception as error:  # a broken message raises whatever it happens to stumble over
        what = str(error) or type(error).__name__
        raise ContentError(f"the message cannot be written as bytes: {what}") from error


def _is_convertible(part: AnyMessage) -> bool:
    """Whether the text of ``part`` is what its charset says.

    The generator would write a question mark for every octet that is not, so such a message goes
    out with its eight bits as it came in.
    """
    if part.is_multipart() or _is_encoded(part):
        return True
    octets = part.get_payload(decode=True)
    if not isinstance(octets, bytes) or octets.isascii():
        return True
    try:
        octets.decode(part.get_content_charset("ascii"))
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _is_encoded(part: AnyMessage) -> bool:
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    return encoding in {"base64", "quoted-printable"}


def _twin(message: AnyMessage) -> AnyMessage:
    # The generator lends the message its policy and gives parts their boundaries; two threads
    # may be sending the same one. The payloads, which are large, are shared.
    twin = copy.copy(message)
    if message.is_multipart():
        parts: list[Any] = message.get_payload()  # type: ignore[assignment]
        twin.set_payload([_twin(part) for part in parts])
    return twin


class WirePolicy(EmailPolicy):
    """How header fields are written for the wire.

    As `email.policy.SMTP` does it, with these differences: every field is checked to
    be one field; ASCII text is only ever folded between words, where CPython would turn a long
    References or List-Unsubscribe into encoded words that nobody decodes; domains become
    A-labels; UTF-8 is written for exactly those address fields whose local part has no other
    form (RFC 6532). Messages of the older ``email.mime`` classes are written by the same rules.
    """

    linesep = "\r\n"
    cte_type = "7bit"

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the field as octets, folded, with its last CRLF."""
        if not _NAME.fullmatch(name):
            raise ContentError(f"{name!r} cannot be the name of a header field")
        if found := _BREAK.search(str(value)):
            what = "a NUL" if found[0] == "\0" else "a line break (CR or LF)"
            raise ContentError(f"the header field {name!r} contains {what}")
        field = self._write(name, value)
        if not _FIELD.fullmatch(field):
            raise ContentError(f"the header field {name!r} cannot be written as one field")
        return field

    def _write(self, name: str, value: Any) -> bytes:
        header = self._parsed(name, value)
        if isinstance(header, UnstructuredHeader) and (plain := _between_words(name, str(header))):
            return plain
        if not hasattr(header, "groups"):
            return on_one_line(header) or super().fold_binary(name, header)
        header = self._with_a_labels(name, header)
        if all(address.username.isascii() for address in header.addresses):
            return on_one_line(header) or super().fold_binary(name, header)
        folded: str = header.fold(policy=self.clone(utf8=True))
        return folded.encode()

    def _parsed(self, name: str, value: Any) -> Any:
        """Return a header object, or the text as it was read where that can go out unchanged."""
        if hasattr(value, "fold"):
            return value
        try:
            text = unfolded(value)
        except UnicodeDecodeError:
            return value
        longest = max(map(len, str(value).split("\n")))
        if text.isascii() and len(name) + 2 + longest <= _LINE_OCTETS_WISHED:
            return value
        return self.header_factory(name, text)

    def _with_a_labels(self, name: str, header: Any) -> Any:
        if all(address.domain.isascii() for address in header.addresses):
            return header
        groups = [Group(group.display_name, _converted(group.addresses)) for group in header.groups]
        return self.header_factory(name, groups)


_EIGHT_BIT: Final = WirePolicy(cte_type="8bit")


def unfolded(value: object) -> str:
    """Return a header value as one line of text; octets that were parsed raw are taken for UTF-8.

    Raises `UnicodeDecodeError` where they are not.
    """
    text = "".join(re.split(r"\r?\n", str(value)))
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode()


def _converted(addresses: Iterable[Address]) -> list[Address]:
    return [
        Address(each.display_name, each.username, as_a_labels(each.domain)) for each in addresses
    ]


def on_one_line(header: Any) -> bytes | None:
    """Return what `fold` makes of a header object that needs no folding; None where it might.

    The standard library builds a second tree and walks it also where nothing is to be folded, as
    it is with most fields.
    """
    tree = getattr(header, "_parse_tree", None)
    if tree is None:
        return None
    text = str(tree)
    field = f"{header.name}: {text}"
    if not text or len(field) > _LINE_OCTETS_WISHED or "=?" in text or not _PLAIN.fullmatch(text):
        return None
    return f"{field}\r\n".encode("ascii")


def _between_words(name: str, text: str) -> bytes | None:
    """Return the field folded at blanks alone, or None where it needs more than that."""
    if not _PLAIN.fullmatch(text) or "=?" in text:
        return None
    first, *words = _WORD.findall(text.strip()) or [""]
    lines = [f"{name}: {first}"]
    for word in words:
        if len(lines[-1]) + len(word) > _LINE_OCTETS_WISHED:
            lines.append("")
        lines[-1] += word
    if any(len(line) > _LINE_OCTETS for line in lines):
        return None
    return ("\r\n".join(lines) + "\r\n").encode("ascii")
