"""What a reply means, and what the queue makes of it at each stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mailqueue.cli.output import one_line
from mailqueue.cli.verdicts import WORDS
from mailqueue.mail.enhanced_codes import describe
from mailqueue.mail.reply import Evidence, MalformedReplyError, Reply, parse_reply
from mailqueue.mail.reply_codes import look_up
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Verdict, judge

_DECIDING: Final = (
    Stage.GREETING,
    Stage.EHLO,
    Stage.STARTTLS,
    Stage.AUTH,
    Stage.MAIL,
    Stage.RCPT,
    Stage.DATA,
    Stage.END_OF_DATA,
)
_DONE: Final = frozenset(range(200, 300))
_GOES_ON: Final = {
    Stage.GREETING: {220},
    Stage.EHLO: _DONE,
    Stage.STARTTLS: {220},
    Stage.AUTH: _DONE | {334},
    Stage.MAIL: _DONE,
    Stage.RCPT: _DONE,
    Stage.DATA: {354},
}
"""Replies that let the conversation go on at a stage, so that nothing is judged there."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the queue makes of a reply at some stages; no verdict: the conversation goes on."""

    stages: tuple[Stage, ...]
    verdict: Verdict | None
    others_accepted: bool = False


def read_reply(said: str) -> Reply:
    """Return the reply that ``said`` is, whole or its code alone; several lines are one reply.

    Raises `ValueError` where it is none.
    """
    lines = said.replace("\r\n", "\n").split("\n")
    try:
        parsed = parse_reply("".join(f"{line}\r\n" for line in lines).encode())
    except MalformedReplyError as error:
        raise ValueError(f"this is no reply of an SMTP server: {error}") from None
    if parsed is None or parsed.rest:
        raise ValueError("this is not one whole reply: its last line is the one without a hyphen")
    return parsed.reply


def rulings(reply: Reply) -> Iterator[Ruling]:
    """Yield what `judge` makes of ``reply``, stages with the same verdict together."""
    found: dict[Verdict | None, list[Stage]] = {}
    for stage in _DECIDING:
        goes_on = reply.code in _GOES_ON.get(stage, ())
        verdict = None if goes_on else judge(Evidence(stage, reply))
        found.setdefault(verdict, []).append(stage)
    for verdict, stages in found.items():
        yield Ruling(tuple(stages), verdict)
    alone = judge(Evidence(Stage.RCPT, reply))
    among_others = judge(Evidence(Stage.RCPT, reply), others_accepted=True)
    if among_others != alone and Stage.RCPT not in found.get(None, ()):
        yield Ruling((Stage.RCPT,), among_others, others_accepted=True)


def tell(reply: Reply) -> Iterator[str]:
    """Yield the explanation of ``reply`` as lines."""
    entry = look_up(reply.code)
    yield one_line(str(reply))
    yield f"  {'means':<9} {entry.meaning}"
    if reply.enhanced is not None:
        yield f"  {reply.enhanced!s:<9} {describe(reply.enhanced) or 'is not registered.'}"
    yield f"  {'met at':<9} {', '.join(entry.stages)}{f' ({entry.rfc})' if entry.rfc else ''}"
    yield f"  {'the queue':<9} {entry.action}"
    if entry.advice:
        yield f"  {'you':<9} {entry.advice}"
    yield ""
    yield "what is made of this reply, by stage:"
    for ruling in rulings(reply):
        yield from _ruled(ruling)


def _ruled(ruling: Ruling) -> Iterator[str]:
    where = ", ".join(ruling.stages)
    besides = ", after other recipients were accepted" if ruling.others_accepted else ""
    if ruling.verdict is None:
        yield f"  {where}: goes on"
        return
    yield f"  {where}{besides}: {_words(ruling.verdict)}"
    yield f"      rule {ruling.verdict.rule}: {ruling.verdict.rule.explanation}"


def _words(verdict: Verdict) -> str:
    word, _ = WORDS[verdict.outcome]
    effects = (
        "at once, in the next transaction" if verdict.at_once else "",
        "" if verdict.charged else "uncharged",
        "the relay is paused" if verdict.pauses_relay else "",
        "the session is dropped" if verdict.drops_session and not verdict.pauses_relay else "",
    )
    return ", ".join((f"{word} (scope {verdict.scope})", *filter(None, effects)))


def as_object(reply: Reply) -> dict[str, Any]:
    """Return the explanation of ``reply`` for JSON."""
    entry = look_up(reply.code)
    return {
        "code": reply.code,
        "enhanced": None if reply.enhanced is None else str(reply.enhanced),
        "text": reply.text,
        "meaning": entry.meaning,
        "enhanced_meaning": None if reply.enhanced is None else describe(reply.enhanced),
        "met_at": [*map(str, entry.stages)],
        "rfc": entry.rfc or None,
        "action": entry.action,
        "advice": entry.advice or None,
        "rulings": [_ruling_object(ruling) for ruling in rulings(reply)],
    }


def _ruling_object(ruling: Ruling) -> dict[str, Any]:
    verdict = ruling.verdict
    where = {
        "stages": [*map(str, ruling.stages)],
        "others_accepted": ruling.others_accepted,
        "goes_on": verdict is None,
    }
    if verdict is None:
        return where
    return {
        **where,
        "outcome": str(verdict.outcome),
        "scope": str(verdict.scope),
        "rule": str(verdict.rule),
        "charged": verdict.charged,
        "pauses_relay": verdict.pauses_relay,
        "drops_session": verdict.drops_session,
        "at_once": verdict.at_once,
    }


_CLASSES: Final = {
    "2": "success",
    "4": "for now: the mail is tried again",
    "5": "for good: the mail is not tried again",
}


def tell_enhanced(code: str) -> Iterator[str]:
    """Yield the explanation of an enhanced status code alone, such as ``5.7.1``, as lines."""
    yield code
    yield f"  {'means':<9} {describe(code) or 'Not registered: the text has to say more.'}"
    yield f"  {'class':<9} {_CLASSES[code[0]]}"
    yield f"  {'the queue':<9} {_REFINES}"


def enhanced_object(code: str) -> dict[str, Any]:
    """Return the same for JSON."""
    return {"enhanced": code, "meaning": describe(code), "class": _CLASSES[code[0]]}


_REFINES: Final = (
    "Goes by the reply code before it: where the two disagree, the reply code decides. "
    "`mailqueue explain` with the whole reply tells how."
)
