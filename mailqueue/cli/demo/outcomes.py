"""What to look for in promises 1 to 4: what becomes of mail, and how often it is sent."""

from __future__ import annotations

from collections import Counter

from mailqueue.cli.demo.aftermath import Aftermath
from mailqueue.cli.demo.promise import Observation, count, times
from mailqueue.cli.demo.records import Standing
from mailqueue.mail.lifecycle import State

# 1: durable


def nothing_is_lost(after: Aftermath) -> Observation:
    """What `enqueue` returned a number for is in the outbox."""
    story = after.chronicle
    stored = {(one.message_id, one.address) for one in after.recipients}
    lost = [
        f"{address} was enqueued and is not in the outbox"
        for each in story.enqueued
        for address in each.mail.recipients
        if (each.id, address) not in stored
    ]
    mails = count(len(story.enqueued), "mail")
    text = f"{mails} enqueued, none lost though a daemon was killed {times(story.kills)}"
    return Observation(text, story.kills, lost)


def producer_may_die(after: Aftermath) -> Observation:
    """Mail is sent though its producer was killed as soon as it was enqueued."""
    orphaned = after.chronicle.orphaned
    return Observation(
        f"{len(orphaned)} sent whose producer was killed right after enqueue()",
        len(orphaned),
        [
            f"{one}, whose producer was killed, was sent {times(sent)}"
            for one in orphaned
            if (sent := after.relays.deliveries(one)) != 1
        ],
    )


def commits_are_synced(after: Aftermath) -> Observation:
    """A commit is on the disk before it returns (FULL is 2, EXTRA is 3)."""
    synchronous = after.chronicle.synchronous
    return Observation(
        f"synchronous={synchronous} (loss of power is not tried here)",
        1,
        [f"synchronous={synchronous} loses mail with the power"] if synchronous < 2 else [],
    )


def rollback_leaves_nothing(after: Aftermath) -> Observation:
    """Mail of a transaction that was rolled back is nowhere."""
    rolled_back = after.chronicle.rolled_back
    stored = {one.address for one in after.recipients}
    return Observation(
        f"{len(rolled_back)} rolled back, never stored or sent",
        len(rolled_back),
        [
            f"{one} was rolled back, and is stored or was sent"
            for one in rolled_back
            if one in stored or after.relays.times_asked(f"RCPT TO:<{one}>")
        ],
    )


# 2: one row, one state


def one_row_each(after: Aftermath) -> Observation:
    """A recipient has one row, which says one thing."""
    rows = Counter((one.message_id, one.address) for one in after.recipients)
    states = ", ".join(f"{number} {state}" for state, number in after.look.counts.most_common())
    return Observation(
        f"{count(len(rows), 'recipient')}, one row each: {states}",
        len(rows),
        [
            *(
                f"{address} has {number} rows"
                for (_, address), number in rows.items()
                if number > 1
            ),
            *(f"{one.address}: {one}" for one in after.recipients if not one.is_coherent),
        ],
    )


def final_stays_final(after: Aftermath) -> Observation:
    """What was final stays so, unless somebody by name has decided otherwise."""
    halfway = after.chronicle.halfway
    earlier = (
        {one.id: one.state for one in halfway.recipients if one.state.is_final} if halfway else {}
    )
    left = [one for one in after.recipients if earlier.get(one.id, one.state) != one.state]
    by_name = [one for one in left if any(act["actor"] for act in after.acts(one))]
    return Observation(
        f"of {len(earlier)} final at half-time {len(by_name)} left its state, by an operator's "
        "retry on record",
        len(by_name),
        [
            f"{one.address} was {earlier[one.id]} and became {one.state} by nobody's act"
            for one in left
            if one not in by_name
        ],
    )


def cancelled_is_not_sent(after: Aftermath) -> Observation:
    """What could be cancelled is never sent."""
    cancelled = [one for one in after.recipients if one.state is State.CANCELLED]
    return Observation(
        f"{len(cancelled)} cancelled in time and never sent",
        len(cancelled),
        [f"{one.address} was cancelled and sent" for one in cancelled if after.times_asked(one)],
    )


# 3: a 5xx is final, a 4xx is not


def replies_decide(after: Aftermath) -> Observation:
    """Every recipient ends as the replies to it demand."""
    mail_of = after.chronicle.by_address
    known = [one for one in after.recipients if one.address in mail_of]
    return Observation(
        f"all {len(known)} ended as the replies to them demand",
        len(known),
        [
            f"{one.address} is {one.state} and must be {must}"
            for one in known
            if one.state is not (must := mail_of[one.address].end_of(one.address))
        ],
    )


def refused_once(after: Aftermath) -> Observation:
    """Who was refused with 5xx is never asked again."""
    refused = [one for one in after.recipients if one.state is State.FAILED]
    stages = Counter(after.attempts(one)[-1]["stage"] for one in refused)
    listed = ", ".join(f"{number} at {stage}" for stage, number in stages.items())
    return Observation(
        f"{len(refused)} refused with 5xx ({listed}), each asked exactly once",
        len(refused),
        [
            f"{one.address} failed with {one.last_code}, asked {times(asked)}"
            for one in refused
            if (asked := after.times_asked(one)) != 1 or (one.last_code or 0) // 100 != 5
        ],
    )


def deferred_goes_on(after: Aftermath) -> Observation:
    """Who was put off with 4xx is tried again, until the mail expires."""
    deferred = [one for one in after.recipients if _was_put_off(after, one)]
    states = Counter(one.state for one in deferred)
    return Observation(
        f"{states[State.SENT]} put off with 4xx and sent later, {states[State.EXPIRED]} until it "
        "expired",
        min(states[State.SENT], states[State.EXPIRED]),
        [
            f"{one.address} was put off with 4xx and is {one.state}"
            for one in deferred
            if one.state not in (State.SENT, State.EXPIRED)
        ],
    )


def taken_once(after: Aftermath) -> Observation:
    """Who got 250 is not sent to again because of others on the same mail."""
    taken = [one for one in after.recipients if _is_taken_among_others(after, one)]
    return Observation(
        f"{len(taken)} that got 250 beside others who did not, sent to once",
        len(taken),
        [
            f"{one.address} got 250 and was asked {times(asked)}"
            for one in taken
            if (asked := after.times_asked(one)) != 1
        ],
    )


# 4: sent twice only after recorded doubt


def doubt_before_duplicates(after: Aftermath) -> Observation:
    """Mail arrives once, and once more for each doubt on record."""
    doubts = sum(_doubts(after, one) for one in after.recipients)
    twice = [one for one in after.recipients if after.deliveries(one) > 1]
    return Observation(
        f"{count(doubts, 'doubt')} on record; {len(twice)} arrived twice, each with doubt",
        min(doubts, len(twice)),
        [
            f"{one.address} arrived {times(arrived)} with {count(one.doubts, 'doubt')} on record"
            for one in after.recipients
            if (arrived := after.deliveries(one)) > 1 + one.doubts
            or one.doubts != _doubts(after, one)
        ],
    )


def held_on_doubt(after: Aftermath) -> Observation:
    """With ``on_doubt="hold"`` mail arrives once at most."""
    held = [one for one in after.recipients if one.on_doubt == "hold" and one.doubts]
    return Observation(
        f"{len(held)} with on_doubt=hold is held",
        len(held),
        [
            f"{one.address} is {one.state} and arrived {times(arrived)}"
            for one in held
            if (arrived := after.deliveries(one)) > 1 or one.state is not State.HELD
        ],
    )


def one_for_each_key(after: Aftermath) -> Observation:
    """The same idempotency key and mail again is the same mail."""
    again = after.chronicle.again
    return Observation(
        f"{len(again)} enqueued twice under one key, stored once",
        len(again),
        ["a mail was stored twice under one key"] if not all(again) else [],
    )


def _was_put_off(after: Aftermath, one: Standing) -> bool:
    return any((row["code"] or 0) // 100 == 4 for row in after.attempts(one))


def _is_taken_among_others(after: Aftermath, one: Standing) -> bool:
    mail = after.chronicle.by_address[one.address]
    return mail.is_mixed and [row["what"] for row in after.attempts(one)][:1] == ["sent"]


def _doubts(after: Aftermath, one: Standing) -> int:
    return sum(row["what"] == "in-doubt" for row in after.attempts(one))
