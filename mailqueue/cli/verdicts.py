"""What the queue would make of each answer, in words and as an exit status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from mailqueue.cli.exits import Exit
from mailqueue.cli.output import one_line, printable
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind
from mailqueue.mail.rule import Rule
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome, Scope, Verdict, judge

WORDS: Final = {
    Outcome.SENT: ("sent", "green"),
    Outcome.DEFER: ("deferred", "yellow"),
    Outcome.FAIL: ("failed", "red"),
    Outcome.IN_DOUBT: ("in doubt", "magenta"),
}
_RULES: Final = {str(rule): rule for rule in Rule}


def report(recipient: str, finding: Finding, *, relay: str) -> str:
    """Return what one recipient was answered, with the rule that decides, in three lines.

    Where the settings of ``relay`` may be wrong, the last one says which of them to look at.
    """
    verdict, evidence = _judged(finding), finding.evidence
    word, colour = WORDS[verdict.outcome]
    return (
        f"{one_line(recipient)}: {click.style(word, fg=colour, bold=True)} "
        f"(rule {verdict.rule}, at {evidence.stage})\n"
        f"    {printable(str(evidence.answer)).replace(chr(10), chr(10) + '    ')}\n"
        f"    {verdict.rule.explanation}{_hint(evidence, verdict, relay)}"
    )


def status(findings: Iterable[Finding]) -> Exit:
    """Return the exit status for a mail with these findings: the worst of them."""
    verdicts = [_judged(finding) for finding in findings]
    failed = [verdict for verdict in verdicts if verdict.outcome is Outcome.FAIL]
    if any(verdict.scope is not Scope.RECIPIENT for verdict in failed):
        return Exit.UNAVAILABLE
    if failed:
        return Exit.NO_USER
    sent = all(verdict.outcome is Outcome.SENT for verdict in verdicts)
    return Exit.OK if sent else Exit.TEMPORARY


def explanation(rule: str) -> str | None:
    """Return the sentence of the rule of this name; None for one of a later version."""
    return _RULES[rule].explanation if rule in _RULES else None


def _hint(evidence: Evidence, verdict: Verdict, relay: str) -> str:
    keys = keys_to_look_at(evidence, verdict)
    return f"; look at {keys} under [relays.{relay}]" if keys else ""


def keys_to_look_at(evidence: Evidence, verdict: Verdict) -> str:
    """Return the settings of a relay that may be at fault, in words; empty where none may."""
    if verdict.rule is Rule.AUTHENTICATION_REQUIRED:
        return "username, password_file, auth and tls"
    match evidence:
        case Evidence(answer=NoReply(kind=NoReplyKind.TLS)) | Evidence(stage=Stage.STARTTLS):
            return "tls, host, port and ca_file"
        case Evidence(stage=Stage.AUTH):
            return "username, password_file and auth"
        case Evidence(stage=Stage.CONNECT):
            return "host and port"
    return ""


def _judged(finding: Finding) -> Verdict:
    return judge(finding.evidence, others_accepted=finding.others)
