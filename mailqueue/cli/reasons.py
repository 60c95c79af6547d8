"""`mailqueue reasons`: what relays say, alike reasons together."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.grid import Grid, json_option, show, show_json
from mailqueue.cli.output import instant, iso
from mailqueue.clock import microseconds
from mailqueue.mail.verdict import Outcome

if TYPE_CHECKING:
    from mailqueue.cli.waiting import Surroundings
    from mailqueue.outbox.reasons import Reason

_HEADINGS: Final = (
    "Count", "Recipients", "Outcome", "Relay", "Stage", "Reply", "Reason", "Last", "Message"
)  # fmt: skip
_NUMBERS: Final = frozenset({"Count", "Recipients", "Message"})


@click.command()
@takes_outbox
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice([str(outcome) for outcome in Outcome]),
    multiple=True,
    help="Only attempts that ended so; may be repeated. By default all that were not sent.",
)
@click.option(
    "--since",
    type=DURATION,
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="How far back to look, such as 15m or 7d.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows, at most."
)
@json_option
def reasons(
    access: Access, outcomes: tuple[str, ...], since: float, limit: int, as_json: bool
) -> None:
    """Group what relays say, the most frequent first.

    By reply code, stage and text, in which addresses and numbers are masked. MESSAGE is the last
    one that heard it, for `mailqueue show`; what a code means tells `mailqueue explain`.
    """
    from mailqueue.cli.around import surroundings
    from mailqueue.outbox.reasons import reasons as given

    with access.reading() as connection:
        around = surroundings(connection, access)
        found = given(
            connection,
            since=around.now - microseconds(since),
            outcomes=[Outcome(outcome) for outcome in outcomes],
            limit=limit,
        )
    if as_json:
        show_json(_object(reason, around) for reason in found)
        return
    show(grid(found, around), empty="no relay has refused anything")


def grid(found: list[Reason], around: Surroundings) -> Grid:
    """Return ``found`` as rows."""
    rows = [
        (
            str(reason.count),
            str(reason.recipients),
            reason.verdict,
            around.relay_name(reason.relay),
            reason.stage,
            " ".join(filter(None, (str(reason.code or ""), reason.enhanced))),
            reason.text,
            instant(reason.last_at),
            str(reason.message),
        )
        for reason in found
    ]
    return Grid(_HEADINGS, rows, numbers=_NUMBERS, whole=frozenset({"Last"}))


def _object(reason: Reason, around: Surroundings) -> dict[str, Any]:
    row = {**asdict(reason), "relay": around.relay_name(reason.relay)}
    return {
        **{name: row[name] for name in ("count", "recipients", "verdict", "relay", "stage")},
        "code": reason.code,
        "enhanced": reason.enhanced,
        "reason": reason.text,
        "first_at": iso(reason.first_at),
        "last_at": iso(reason.last_at),
        "example": {
            "message": reason.message,
            "address": reason.address,
            "text": reason.example,
        },
    }
