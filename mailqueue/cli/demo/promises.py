"""The promises of mailqueue by their numbers, and the ways to look for them."""

from __future__ import annotations

from mailqueue.cli.demo import outcomes, troubles
from mailqueue.cli.demo.promise import Promise

PROMISES = (
    Promise(
        1,
        "Durable",
        "tests/client",
        (
            outcomes.nothing_is_lost,
            outcomes.producer_may_die,
            outcomes.rollback_leaves_nothing,
            outcomes.commits_are_synced,
        ),
    ),
    Promise(
        2,
        "Every recipient is one row in exactly one state",
        "tests/outbox",
        (outcomes.one_row_each, outcomes.final_stays_final, outcomes.cancelled_is_not_sent),
    ),
    Promise(
        3,
        "A 5xx is final, a 4xx is not",
        "tests/mail/test_verdict.py",
        (
            outcomes.refused_once,
            outcomes.deferred_goes_on,
            outcomes.taken_once,
            outcomes.replies_decide,
        ),
    ),
    Promise(
        4,
        "Sent twice only after recorded doubt",
        "tests/acceptance",
        (outcomes.doubt_before_duplicates, outcomes.held_on_doubt, outcomes.one_for_each_key),
    ),
    Promise(
        5,
        "Trouble that is not the message's costs the message nothing",
        "tests/acceptance",
        (
            troubles.greeting_is_not_charged,
            troubles.password_is_not_charged,
            troubles.end_in_order,
        ),
    ),
    Promise(
        6,
        "A result is written only by the holder of the lease",
        "tests/outbox",
        (troubles.late_result_is_refused,),
    ),
    Promise(
        7,
        "One bad message never stops the queue",
        "tests/acceptance",
        (troubles.others_go_on,),
    ),
    Promise(
        8,
        "Hostile input stays data",
        "tests/smtp",
        (troubles.injections_fail, troubles.replies_are_text, troubles.passwords_are_secret),
    ),
)
"""In the order of the README."""
