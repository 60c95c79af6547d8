"""Hosts, addresses and the names that are said after EHLO."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator

from mailqueue.config.values import Line

_DOMAIN = re.compile(r"[^\s.@:/\[\]]+(?:\.[^\s.@:/\[\]]+)*\.?")
_EHLO_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_ADDRESS_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]")


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine (RFC 6761 section 6.3)."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _check_host(host: str) -> str:
    if "/" in host or "@" in host:
        raise ValueError("is not a host; write the name or address alone, without smtp:// or user")
    if _is_address(host) or _DOMAIN.fullmatch(host):
        return host
    if host.startswith("["):
        raise ValueError("is not a host; write an IPv6 address without brackets")
    if ":" in host:
        raise ValueError("is not a host; write the port under the key `port`")
    raise ValueError("is not a host; write a host name or an IP address")


def _check_ehlo_name(name: str) -> str:
    literal = _ADDRESS_LITERAL.fullmatch(name)
    if literal and _is_address(literal[1]):
        return name
    if not _EHLO_DOMAIN.fullmatch(name):
        raise ValueError(
            "cannot be said after EHLO; write this machine's full domain name, or an address in "
            "brackets such as [192.0.2.1] (RFC 5321 section 4.1.3)",
        )
    return name


def _check_address(address: str) -> str:
    if not _is_address(address):
        raise ValueError("is not an IP address; write an address of this machine, not a name")
    return address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


Host = Annotated[Line, AfterValidator(_check_host)]
EhloName = Annotated[Line, AfterValidator(_check_ehlo_name)]
IpAddress = Annotated[Line, AfterValidator(_check_address)]
