"""One address as a producer writes it, made fit for an envelope."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from mailqueue.errors import AddressError
from mailqueue.mail.address import (
    MAX_LOCAL_OCTETS,
    MAX_PATH_OCTETS,
    Address,
    InvalidAddressError,
    check,
    split,
)

_KNOWN_DOMAINS: Final = 1024
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# A part of what `split` and `check` let through, told in one look: most addresses are like this.
_PLAIN = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")


def envelope_address(text: str) -> str:
    """Return the bare address ``text`` as an envelope carries it.

    The domain becomes A-labels in lower case (RFC 5891); a local part with non-ASCII
    characters stays as it is, and its message then needs SMTPUTF8 (RFC 6531). Raises
    `AddressError` for anything that is not one address, and for CR, LF, NUL and the like.
    """
    if not isinstance(text, str):
        raise AddressError(repr(text), f"an address is a str and not {type(text).__name__}")
    plain = _PLAIN.fullmatch(text) if len(text) <= MAX_PATH_OCTETS else None
    if plain is not None and len(plain[1]) <= MAX_LOCAL_OCTETS:
        return f"{plain[1]}@{plain[2].lower()}"
    try:
        address = split(text)
        if not address.domain.isascii():
            address = Address(address.local, as_a_labels(address.domain))
        return str(check(address))
    except InvalidAddressError as error:
        raise AddressError(text, f"{error}{_hint(text)}") from None


@lru_cache(maxsize=_KNOWN_DOMAINS)
def as_a_labels(domain: str) -> str:
    """Return an international domain name in its ASCII form; raises `InvalidAddressError`."""
    if domain.isascii():
        return domain
    # Loaded only where an address is international: most producers never pay for it.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(
            f"postmaster@{domain}",
            check_deliverability=False,
            test_environment=True,
            globally_deliverable=False,
        )
    except EmailNotValidError as error:
        raise InvalidAddressError(f"its domain has no ASCII form: {error}") from None
    assert found.ascii_domain is not None
    return found.ascii_domain


def _hint(text: str) -> str:
    if "<" in text:
        return "; give the bare address, without a name and angle brackets"
    if "," in text or ";" in text:
        return "; give several addresses as a list of strings"
    return ""
