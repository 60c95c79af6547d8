"""What went over one session, for assertions and for reading when a test fails."""

from collections import deque
from dataclasses import dataclass, field

from mailqueue.testing.authentication import Claim

_LINES_KEPT = 10_000
_OCTETS_KEPT = 300


@dataclass(slots=True, eq=False)
class SessionRecord:
    """One session as the relay saw it.

    Attributes:
        number: counted from 1 over the life of the ledger.
        peer: the client's address and port.
        tls: the protocol version, such as "TLSv1.3"; `None` in the clear.
        tls_error: why a handshake failed.
        authenticated_as: the user, once AUTH succeeded.
        credentials: what was tried with AUTH, right or wrong, in order.
        commands: the lines of the client, credentials replaced by `***`.
        hasty: those of them behind which something was written too early (RFC 2920 section 3.1):
            where PIPELINING is not offered, or behind a command that must be the last of its group.
        is_open: whether the connection still stands.
        lost: how the connection broke, where it did not end in good order.
    """

    number: int
    peer: str
    tls: str | None = None
    tls_error: str | None = None
    authenticated_as: str | None = None
    credentials: list[Claim] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    hasty: list[str] = field(default_factory=list)
    is_open: bool = True
    lost: str | None = None
    _exchanged: deque[tuple[str, str | bytes]] = field(
        default_factory=lambda: deque(maxlen=_LINES_KEPT)
    )

    @property
    def verbs(self) -> list[str]:
        """The commands without their arguments."""
        return [line.partition(" ")[0] for line in self.commands]

    @property
    def transcript(self) -> str:
        """Both sides line by line, `C:` and `S:`; long ones are cut, old ones forgotten."""
        return "\n".join(f"{side}: {_legible(said)}" for side, said in self._exchanged)

    def tried(self, claim: Claim) -> None:
        """Note credentials, once however often they are shown."""
        if not self.credentials or self.credentials[-1] is not claim:
            self.credentials.append(claim)

    def heard(self, line: str) -> None:
        """Note a line of the client; credentials are already out of it."""
        self.commands.append(line)
        self._exchanged.append(("C", line))

    def hurried(self, line: str) -> None:
        """Note that something was written behind this line before it was answered."""
        self.hasty.append(line)
        self.noticed(f"written too early behind {line.partition(' ')[0]}")

    def noticed(self, event: str) -> None:
        """Note something that is no command."""
        self._exchanged.append(("-", event))

    def said(self, data: bytes) -> None:
        """Note bytes of the relay."""
        self._exchanged.append(("S", data[:_OCTETS_KEPT]))


def _legible(said: str | bytes) -> str:
    if isinstance(said, str):
        return said.encode("utf-8", "backslashreplace").decode("utf-8")
    return said.removesuffix(b"\r\n").decode("utf-8", "backslashreplace").replace("\r\n", "\n   ")
