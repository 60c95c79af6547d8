from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.address import MAX_PATH_OCTETS, Address, InvalidAddressError, check, split


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("anna@example.net", "anna", "example.net"),
        ("anna.b+tag@mail.example.net", "anna.b+tag", "mail.example.net"),
        ("o'brien!#$%&'*+-/=?^_`{|}~@example.net", "o'brien!#$%&'*+-/=?^_`{|}~", "example.net"),
        ('"anna b"@example.net', '"anna b"', "example.net"),
        ('"a@b"@example.net', '"a@b"', "example.net"),
        (r'"a\"b"@example.net', r'"a\"b"', "example.net"),
        ("anna@[192.0.2.1]", "anna", "[192.0.2.1]"),
        ("anna@[IPv6:2001:db8::1]", "anna", "[IPv6:2001:db8::1]"),
        ("jürgen@example.net", "jürgen", "example.net"),
        ("anna@host_1.example.net", "anna", "host_1.example.net"),
        ("anna@localhost", "anna", "localhost"),
    ],
)
def test_good_addresses(text: str, local: str, domain: str) -> None:
    """A mailbox of RFC 5321 section 4.1.2 is taken apart at its last @ and kept as it is."""
    address = check(split(text))
    assert (address.local, address.domain) == (local, domain)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anna", "it has no @"),
        ("", "it has no @"),
        ("@example.net", "nothing stands before the @"),
        ("anna@", "it has no domain"),
        ("anna b@example.net", "is not a local part"),
        (" anna@example.net", "is not a local part"),
        (".anna@example.net", "is not a local part"),
        ("anna.@example.net", "is not a local part"),
        ("an..na@example.net", "is not a local part"),
        ('"anna@example.net', "is not a local part"),
        ('"an"na"@example.net', "is not a local part"),
        ("<anna@example.net", "is not a local part"),
        ("anna@example.net>", "is not a domain name"),
        ("anna@example.net SIZE=1", "is not a domain name"),
        ("anna@example..net", "is not a domain name"),
        ("anna@example.net.", "is not a domain name"),
        ("anna@-example.net", "is not a domain name"),
        ("anna@bücher.example", "is not a domain name"),
        ("anna@[300.1.1.1]", "is not an address literal"),
        ("anna@[192.0.2.1", "is not an address literal"),
        ("anna@[x-tag:content]", "is not an address literal"),
        ("a" * 65 + "@example.net", "local part is longer than 64 octets"),
        ("ü" * 33 + "@example.net", "local part is longer than 64 octets"),
        ("anna@" + "a" * 64 + ".example", "is not a domain name"),
        ("anna@" + ".".join(["a" * 60] * 5), "domain is longer than 255 octets"),
        ("a" * 60 + "@" + ".".join(["a" * 60] * 4), "longer than 254 octets"),
    ],
)
def test_bad_addresses(text: str, why: str) -> None:
    """What is no address is refused, with what is wrong about it."""
    with pytest.raises(InvalidAddressError, match=why):
        check(split(text))


@pytest.mark.parametrize(
    "character", ["\r", "\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\udcff"]
)
@pytest.mark.parametrize(
    "form", ["an{}na@example.net", '"an{}na"@example.net', "anna@exam{}ple.net"]
)
def test_control_characters(form: str, character: str) -> None:
    """No control character gets into a command, wherever it stands; the text names it."""
    with pytest.raises(InvalidAddressError, match=f"U\\+{ord(character):04X} at position"):
        split(form.format(character))


def test_domains_are_lowered() -> None:
    """Domains are the same in any case (RFC 1035 section 2.3.3), local parts may not be."""
    assert str(check(split("Anna@EXAMPLE.Net"))) == "Anna@example.net"


@pytest.mark.parametrize(
    ("text", "needed"), [("jürgen@a.example", True), ("anna@a.example", False)]
)
def test_smtputf8(text: str, needed: bool) -> None:
    """SMTPUTF8 is needed for a local part that has no ASCII form."""
    assert split(text).needs_smtputf8 is needed


@given(st.text(max_size=300) | st.from_regex(r"[^@]{1,70}@[^@]{1,260}", fullmatch=True))
def test_whatever_is_accepted_fits_between_angle_brackets(text: str) -> None:
    """An accepted address has no control characters, one domain, and the length of a path."""
    try:
        address = check(split(text))
    except InvalidAddressError:
        return
    written = str(address)
    assert len(written.encode()) <= MAX_PATH_OCTETS
    assert written.isprintable() or not written.isascii()
    assert not set(written) & set("\r\n\0")
    assert address.domain.isascii()
    outside_quotes = written if not address.local.startswith('"') else f"@{address.domain}"
    assert not set(outside_quotes) & set("<> ,;")
    assert check(split(written)) == address


@given(st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,2}", fullmatch=True))
def test_checking_twice_changes_nothing(name: str) -> None:
    """A checked address is its own result."""
    address = check(Address(name, name))
    assert check(address) == address
