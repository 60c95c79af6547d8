"""AUTH (RFC 4954) with PLAIN, LOGIN and XOAUTH2, as a dialogue apart from any socket."""

import base64
import binascii
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

_SUCCEEDED = "235 2.7.0 authenticated"
_FAILED = "535 5.7.8 authentication credentials invalid"
_UNREADABLE = "501 5.5.2 cannot decode the response"
_CANCELLED = "501 5.7.0 authentication cancelled"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who the client says it is, with what proof, and whether the users of the relay know it."""

    mechanism: str
    user: str
    secret: str = field(repr=False)
    is_true: bool


# Yields challenges, is sent responses, both decoded, and returns user and secret.
Dialogue = Generator[bytes, bytes, tuple[str, str]]


class Exchange:
    """One AUTH dialogue: `start()` and `respond()` return replies, the last one is no 334.

    Attributes:
        claim: what the client said, once it has said it all.
    """

    def __init__(self, mechanism: str, users: Mapping[str, str]) -> None:
        self.claim: Claim | None = None
        self._mechanism = mechanism
        self._users = users
        self._dialogue: Dialogue | None = None

    def start(self, initial: str) -> str:
        """Begin with the initial response of the AUTH command; "" where there was none."""
        try:
            first = _decode("" if initial == "=" else initial) if initial else None
        except ValueError:
            return _UNREADABLE
        self._dialogue = _MECHANISMS[self._mechanism](self._users, first)
        return self._advance(None)

    def respond(self, line: str) -> str:
        """Go on with the client's answer to a 334."""
        if line == "*":
            return _CANCELLED
        try:
            return self._advance(_decode(line))
        except ValueError:
            return _UNREADABLE

    def _advance(self, response: bytes | None) -> str:
        if self._dialogue is None:
            return _FAILED
        try:
            challenge = next(self._dialogue) if response is None else self._dialogue.send(response)
        except StopIteration as end:
            return self._conclude(end.value)
        except ValueError:
            return _UNREADABLE
        return f"334 {base64.b64encode(challenge).decode('ascii')}"

    def _conclude(self, said: tuple[str, str] | None) -> str:
        if said is None:  # asked again after its end, which only a script can bring about
            return _FAILED
        user, secret = said
        is_true = self._users.get(user) == secret
        self.claim = Claim(self._mechanism, user, secret, is_true)
        return _SUCCEEDED if is_true else _FAILED


def _plain(_users: Mapping[str, str], initial: bytes | None) -> Dialogue:
    """RFC 4616: authorisation identity, user and password between NULs."""
    response = initial if initial is not None else (yield b"")
    _, user, password = response.decode("utf-8").split("\0")
    return user, password


def _login(_users: Mapping[str, str], initial: bytes | None) -> Dialogue:
    user = (initial if initial is not None else (yield b"Username:")).decode("utf-8")
    password = (yield b"Password:").decode("utf-8")
    return user, password


def _xoauth2(users: Mapping[str, str], initial: bytes | None) -> Dialogue:
    """A refusal is first explained in a challenge, which the client answers with an empty line."""
    response = (initial if initial is not None else (yield b"")).decode("utf-8")
    fields = dict(part.split("=", 1) for part in response.split("\x01") if part)
    user, token = fields.get("user", ""), fields.get("auth", "").removeprefix("Bearer ")
    if users.get(user) != token:
        yield json.dumps({"status": "401", "schemes": "Bearer"}).encode("ascii")
    return user, token


_MECHANISMS: Mapping[str, Callable[[Mapping[str, str], bytes | None], Dialogue]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "XOAUTH2": _xoauth2,
}


def is_known(mechanism: str) -> bool:
    """Whether this kit can speak the mechanism."""
    return mechanism in _MECHANISMS


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
