"""One command line, taken apart (RFC 5321 section 4.1)."""

import re
from dataclasses import dataclass

_DOT_STRING = r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"'
_LABEL = r"[^\W_](?:(?:[^\W_]|-)*[^\W_])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[!-Z^-~]+\])"
_MAILBOX = rf"(?P<local>{_DOT_STRING}|{_QUOTED})@(?P<domain>{_DOMAIN})"
_PARAMETERS = r"(?P<parameters>(?: [A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~\x80-\U0010ffff]+)?)*)"
_PATHS = {
    "MAIL": re.compile(rf"(?i:FROM):<(?P<address>(?:{_MAILBOX})?)>{_PARAMETERS}"),
    "RCPT": re.compile(rf"(?i:TO):<(?P<address>{_MAILBOX}|(?i:postmaster))>{_PARAMETERS}"),
}
_GREETING_NAME = re.compile(_DOMAIN, re.ASCII)

# RFC 5321 section 4.5.3.1: 512 octets, more where extensions add parameters (DSN the most), and
# RFC 4954 section 4 for AUTH.
_LONGEST = {"MAIL": 2048, "RCPT": 2048, "AUTH": 12288}
_LONGEST_OTHERWISE = 512


@dataclass(frozen=True, slots=True)
class Path:
    """The address of MAIL or RCPT, without brackets, and the parameters after it."""

    address: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it came.

    Attributes:
        verb: in upper case; empty where the line begins with none.
        argument: the rest of the line.
        length: octets including CRLF.
        path: of a well-formed MAIL or RCPT.
    """

    verb: str
    argument: str
    length: int
    path: Path | None = None

    @property
    def line(self) -> str:
        """The command for a transcript: without credentials."""
        argument = self.argument
        if self.verb == "AUTH":
            mechanism, _, initial = argument.partition(" ")
            argument = f"{mechanism} ***" if initial else mechanism
        return f"{self.verb} {argument}" if argument else self.verb

    @property
    def is_too_long(self) -> bool:
        """Whether the line is over the limit for its verb."""
        return self.length > _LONGEST.get(self.verb, _LONGEST_OTHERWISE)

    @property
    def names_a_host(self) -> bool:
        """Whether the argument may stand after EHLO: a domain or an address literal."""
        return _GREETING_NAME.fullmatch(self.argument) is not None


def parse_command(line: bytes) -> Command:
    """Take a line without its CRLF apart; whatever it is, a command comes out."""
    text = line.decode("utf-8", "surrogateescape")
    verb, _, argument = text.partition(" ")
    verb = verb.upper()
    return Command(verb, argument, len(line) + 2, _parse_path(verb, argument))


def _parse_path(verb: str, argument: str) -> Path | None:
    pattern = _PATHS.get(verb)
    match = pattern.fullmatch(argument) if pattern else None
    if match is None:
        return None
    # RFC 5321 section 4.5.3.1.1 and .2 count octets.
    if len((match["local"] or "").encode("utf-8", "surrogateescape")) > 64:
        return None
    if len((match["domain"] or "").encode("utf-8", "surrogateescape")) > 255:
        return None
    return Path(match["address"], tuple(match["parameters"].split()))
