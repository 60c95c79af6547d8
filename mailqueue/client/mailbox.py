"""One address as a producer writes it, made fit for an envelope."""

from __future__ import annotations

from mailqueue.errors import AddressError
from mailqueue.mail.address import Address, InvalidAddressError, check, split


def envelope_address(text: str) -> str:
    """Return the bare address ``text`` as an envelope carries it.

    The domain becomes A-labels in lower case (RFC 5891); a local part with non-ASCII
    characters stays as it is, and its message then needs SMTPUTF8 (RFC 6531). Raises
    `AddressError` for anything that is not one address, and for CR, LF, NUL and the like.
    """
    if not isinstance(text, str):
        raise AddressError(repr(text), f"an address is a str and not {type(text).__name__}")
    try:
        address = split(text)
        if not address.domain.isascii():
            address = Address(address.local, as_a_labels(address.domain))
        return str(check(address))
    except InvalidAddressError as error:
        raise AddressError(text, f"{error}{_hint(text)}") from None


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
