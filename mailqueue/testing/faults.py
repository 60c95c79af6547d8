"""The faults a relay can show at any stage, by name, for tests that go through all of them."""

from collections.abc import Callable
from dataclasses import dataclass

from mailqueue.testing.foresight import FORESEEABLE
from mailqueue.testing.rule import Rule
from mailqueue.testing.selector import BODY, TLS


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave: `fault.inflict(script.on("MAIL"))`.

    Attributes:
        name: short, fit for the name of a test.
        inflict: adds the fault to a rule and returns it.
        is_early: it needs to know which command comes next.
    """

    name: str
    inflict: Callable[[Rule], Rule]
    is_early: bool = False

    def __str__(self) -> str:
        return self.name

    def suits(self, verb: str) -> bool:
        """Whether the fault can be shown at this verb."""
        if verb in (BODY, TLS):
            return self.name in _WITHOUT_REPLY
        return not self.is_early or verb in FORESEEABLE


_WITHOUT_REPLY = ("silence", "close", "reset", "half-close")
_LONG = "x" * 64 * 1024
_DRIP_BYTES_PER_SECOND = 10

FAULTS: tuple[Fault, ...] = (
    # Replies in good form.
    Fault("2xx", lambda rule: rule.reply("250 2.0.0 ok")),
    Fault("bare-2xx", lambda rule: rule.reply("250")),
    Fault("odd-2xx", lambda rule: rule.reply("259 2.0.0 ok")),
    Fault("multiline-2xx", lambda rule: rule.reply("250-2.0.0 all is", "250 2.0.0 well")),
    Fault("3xx", lambda rule: rule.reply("354 go on")),
    Fault("4xx", lambda rule: rule.reply("451 4.3.0 try again later")),
    Fault("5xx", lambda rule: rule.reply("554 5.7.1 never")),
    Fault("multiline-5xx", lambda rule: rule.reply("554-5.7.1 never", "554 5.7.1 ever")),
    Fault("421", lambda rule: rule.reply("421 4.3.2 closing")),
    Fault("421-and-close", lambda rule: rule.reply("421 4.3.2 closing").close()),
    # Replies that are none.
    Fault("code-199", lambda rule: rule.reply("199 below")),
    Fault("code-600", lambda rule: rule.reply("600 above")),
    Fault("code-999", lambda rule: rule.reply("999 far above")),
    Fault("code-25", lambda rule: rule.reply("25 ok")),
    Fault("garbage", lambda rule: rule.reply("HTTP/1.1 400 Bad Request")),
    Fault("empty-line", lambda rule: rule.reply("")),
    Fault("8-bit", lambda rule: rule.reply(b"451 4.3.0 caf\xe9 \xff\x00\x1b[31m")),
    Fault("8-bit-garbage", lambda rule: rule.raw(bytes(range(128, 256)) + b"\r\n")),
    Fault("64-kb-line", lambda rule: rule.reply(f"451 4.3.0 {_LONG}")),
    Fault("64-kb-garbage", lambda rule: rule.reply(_LONG)),
    Fault("endless", lambda rule: rule.endless()),
    Fault("mixed-codes", lambda rule: rule.reply("250-2.0.0 yes", "550 5.0.0 no")),
    Fault("two-replies", lambda rule: rule.then(extra=b"250 2.0.0 and once more\r\n")),
    Fault("reply-and-421", lambda rule: rule.then(extra=b"421 4.3.2 closing\r\n")),
    Fault("early", lambda rule: rule.early(), is_early=True),
    # A reply in its own time.
    Fault("split-at-every-byte", lambda rule: rule.split_every(1)),
    Fault("slow-drip", lambda rule: rule.drip(bytes_per_second=_DRIP_BYTES_PER_SECOND)),
    # No reply, or half of one.
    Fault("silence", lambda rule: rule.silence()),
    Fault("half-a-reply", lambda rule: rule.raw(b"250-2.0.0 wai").silence()),
    Fault("close", lambda rule: rule.close()),
    Fault("half-a-reply-and-close", lambda rule: rule.raw(b"250-2.0.0 wai").close()),
    Fault("reset", lambda rule: rule.reset()),
    Fault("half-close", lambda rule: rule.half_close()),
    Fault("reply-and-close", lambda rule: rule.as_usual().close()),
)
