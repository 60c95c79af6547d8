"""What to look for in promises 5 to 8: what trouble may not do."""

from __future__ import annotations

from mailqueue.cli.demo.aftermath import Aftermath
from mailqueue.cli.demo.producers import VICTIM
from mailqueue.cli.demo.promise import Observation, count, times
from mailqueue.cli.demo.records import Row, Standing
from mailqueue.mail.lifecycle import State
from mailqueue.mail.rule import Rule

FAILED_PART = "; it goes on"
"""What the log says where a part of the daemon raised what it should not."""

# 5: trouble that is not the mail's costs it nothing


def greeting_is_not_charged(after: Aftermath) -> Observation:
    """A relay that greets with 5xx is paused, and its mail waits."""
    refusals = after.relays.greetings_refused
    return _uncharged(after, "bulk", f"greeted with 554 {times(refusals)}", refusals)


def password_is_not_charged(after: Aftermath) -> Observation:
    """So is one that does not take our password."""
    refusals = after.relays.logins_refused
    return _uncharged(after, "account", f"refused the password {times(refusals)}", refusals)


def _uncharged(after: Aftermath, relay: str, did: str, refusals: int) -> Observation:
    waited = [one for one in after.recipients if one.relay == relay]
    return Observation(
        f"{relay} {did}, and {count(len(waited), 'mail')} waited; none was charged, all were sent",
        min(refusals, len(waited)),
        [
            f"{one.address} waited for {relay} and is {one.state}, {one.attempts} attempts charged"
            for one in waited
            if (one.state, one.attempts) != (State.SENT, 1)
        ],
    )


def end_in_order(after: Aftermath) -> Observation:
    """A daemon that is asked to end hands back what it holds."""
    exits = after.chronicle.exits
    return Observation(
        f"{count(len(exits), 'daemon')} ended at SIGTERM, no lease left behind",
        len(exits),
        [
            *(f"a daemon ended with status {status}" for status in exits if status),
            *(f"{one.address} is leased" for one in after.recipients if one.state is State.SENDING),
        ],
    )


# 6: a result is written by the holder of the lease


def late_result_is_refused(after: Aftermath) -> Observation:
    """A worker that has lost its lease changes nothing."""
    late = after.chronicle.late
    refusals = sum(one.refusals for one in late)
    return Observation(
        f"{count(len(late), 'daemon')} stalled for longer than its lease, got a 250 too late: "
        f"{count(refusals, 'result')} refused, rows as they were",
        refusals,
        [f"{one.address} was changed by a late result" for one in late if one.before != one.after],
    )


# 7: one bad mail never stops the queue


def others_go_on(after: Aftermath) -> Observation:
    """What a broken row raises is recorded on it, and other mail is sent after it."""
    bad = after.with_habit("tampered")
    faults = [row for one in bad for row in _faults(after, one)]
    first = min((row["at"] for row in faults), default="")
    others = sum(row["what"] == "sent" and row["at"] > first for row in after.history)
    return Observation(
        f"{count(len(bad), 'urgent mail')} with a broken row, {count(len(faults), 'fault')} on "
        f"record; {count(others, 'other')} sent after the first",
        min(len(faults), others),
        [
            *(f"{one.address} has no fault on record" for one in bad if not _faults(after, one)),
            *(f"{one.address} is {one.state}" for one in bad if one.state is not State.EXPIRED),
            *(line for line in after.chronicle.log_lines if FAILED_PART in line),
        ],
    )


def _faults(after: Aftermath, one: Standing) -> list[Row]:
    return [row for row in after.attempts(one) if row["rule"] == Rule.LOCAL_FAULT]


# 8: hostile input stays data


def injections_fail(after: Aftermath) -> Observation:
    """Nothing that is hidden in an address, a header or a row reaches a relay."""
    injections, rows = after.chronicle.injections, after.with_habit("tampered")
    return Observation(
        f"{count(len(injections), 'injection')} refused at enqueue; {len(rows)} in rows never "
        "reached a relay",
        min(len(injections), len(rows)),
        [
            *(f"{one.what} was taken" for one in injections if not one.error),
            *(f"a relay was told {line!r}" for line in after.relays.commands() if VICTIM in line),
        ],
    )


def replies_are_text(after: Aftermath) -> Observation:
    """What a relay says is stored so that it can be printed anywhere."""
    hostile = after.with_habit("hostile")
    return Observation(
        f"{count(len(hostile), 'hostile reply text')} (terminal escapes, SQL) stored printable",
        len(hostile),
        [
            f"the reply for {one.address} was stored as {one.last_text!r}"
            for one in hostile
            if not (one.last_text or "").isprintable() or "DROP TABLE" not in (one.last_text or "")
        ],
    )


def passwords_are_secret(after: Aftermath) -> Observation:
    """A password is in no log and no row."""
    secrets = after.chronicle.secrets
    told = "\n".join([*after.chronicle.log_lines, repr(after.history), repr(after.breakers)])
    return Observation(
        f"{count(len(secrets), 'password')} in no log and no row",
        len(secrets),
        ["a password can be read in a log or a row"] if any(map(told.count, secrets)) else [],
    )
