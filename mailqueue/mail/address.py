"""Envelope addresses: what may stand between the angle brackets of MAIL and RCPT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_PATH_OCTETS = 254
"""RFC 5321 section 4.5.3.1: a path is 256 octets with its angle brackets."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_LOCAL = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_QUOTED_LOCAL = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*"')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Controls, line separators, surrogates, which have no octets to be sent as, and U+FFFD, which
# stands where somebody could not read what the address really is.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff]")


class InvalidAddressError(ValueError):
    """The text is not an address; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A bare mailbox: local part and domain, the domain as A-labels once it is known good."""

    local: str
    domain: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part can only be written in UTF-8 (RFC 6531 section 3.3)."""
        return not self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def split(text: str) -> Address:
    """Take an address apart at its last ``@``.

    Checks everything but the spelling of the domain: no control characters, no angle
    brackets, a dot-atom or quoted local part of at most 64 octets (RFC 5321 section
    4.1.2). Raises `InvalidAddressError`.
    """
    if found := _FORBIDDEN.search(text):
        raise InvalidAddressError(
            f"it contains the character U+{ord(found[0]):04X} at position {found.start()}",
        )
    local, at, domain = text.rpartition("@")
    if not at:
        raise InvalidAddressError("it has no @")
    if not local:
        raise InvalidAddressError("nothing stands before the @")
    if not domain:
        raise InvalidAddressError("it has no domain")
    if not (_LOCAL.fullmatch(local) or _QUOTED_LOCAL.fullmatch(local)):
        raise InvalidAddressError(
            f"{local!r} is not a local part: use letters, digits, dots and !#$%&'*+-/=?^_`{{|}}~, "
            "or put it in double quotes",
        )
    if _octets(local) > MAX_LOCAL_OCTETS:
        raise InvalidAddressError(f"its local part is longer than {MAX_LOCAL_OCTETS} octets")
    return Address(local, domain)


def check(address: Address) -> Address:
    """Check the domain, which must be A-labels or an address literal, and the whole length.

    Returns the address with its domain in lower case. Raises `InvalidAddressError`.
    """
    domain = address.domain
    if domain.startswith("["):
        _check_literal(domain)
    elif not (domain.isascii() and _DOMAIN.fullmatch(domain)):
        raise InvalidAddressError(f"{domain!r} is not a domain name")
    else:
        domain = domain.lower()
    if len(domain) > MAX_DOMAIN_OCTETS:
        raise InvalidAddressError(f"its domain is longer than {MAX_DOMAIN_OCTETS} octets")
    if _octets(address.local) + 1 + len(domain) > MAX_PATH_OCTETS:
        raise InvalidAddressError(f"it is longer than {MAX_PATH_OCTETS} octets")
    return Address(address.local, domain)


def _check_literal(domain: str) -> None:
    """Accept the address literals of RFC 5321 section 4.1.3 that name an IP address."""
    inner = domain[1:-1] if domain.endswith("]") else ""
    try:
        if inner[:5].lower() == "ipv6:":
            IPv6Address(inner[5:])
        else:
            IPv4Address(inner)
    except ValueError:
        raise InvalidAddressError(f"{domain!r} is not an address literal") from None


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
