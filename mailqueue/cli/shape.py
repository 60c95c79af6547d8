"""`mailqueue shape`: how old the mail is that waits, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.grid import Grid, json_option, show, show_json
from mailqueue.mail.lifecycle import State

if TYPE_CHECKING:
    from mailqueue.outbox.shape import Ages

_UNFINISHED = [str(state) for state in State if not state.is_final]


@click.command()
@takes_outbox
@click.option(
    "--by",
    "side",
    type=click.Choice(["domain", "sender", "relay"]),
    default="domain",
    show_default=True,
    help="What the rows are; sender is the sender's domain.",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(_UNFINISHED),
    multiple=True,
    help="Only recipients in this state; may be repeated. By default all that are not final.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows, at most."
)
@json_option
def shape(access: Access, side: str, states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show how old the mail is that waits, and where it goes.

    As Postfix's qshape: one row per domain, the largest first, and how many recipients have
    waited for up to 5 minutes, 10, 20 and so on. Age counts from when the mail was to be sent;
    LATER is what is not to be sent yet. Mail that piles up on the right for one domain alone
    is refused there; a whole column that grows says that sending is too slow, or stands still.
    """
    from mailqueue.outbox.moment import present
    from mailqueue.outbox.shape import Ages, Side
    from mailqueue.outbox.shape import shape as ages_of

    with access.reading() as connection:
        found = ages_of(
            connection,
            now=present(connection),
            side=Side(side),
            states=[State(state) for state in states],
        )
    whole = Ages()
    for ages in found.values():
        whole.add(ages)
    largest = sorted(found.items(), key=lambda one: (-one[1].total, one[0]))[:limit]
    if as_json:
        show_json(_object(side, name, ages) for name, ages in [*largest, (None, whole)])
        return
    show(_grid(side, [("TOTAL", whole), *largest]))


def _grid(side: str, rows: list[tuple[str, Ages]]) -> Grid:
    from mailqueue.outbox.shape import MINUTES

    ends = [*map(str, MINUTES), f"{MINUTES[-1]}+"]
    numbers = ("T", *ends, "Later")
    cells = [(name, *map(str, (ages.total, *ages.counts, ages.later))) for name, ages in rows]
    return Grid((side.title(), *numbers), cells, numbers=frozenset(numbers))


def _object(side: str, name: str | None, ages: Ages) -> dict[str, Any]:
    from mailqueue.outbox.shape import MINUTES

    columns = zip([*MINUTES, None], ages.counts, strict=True)
    return {
        side: name,
        "total": ages.total,
        "ages": [{"up_to_minutes": end, "recipients": number} for end, number in columns],
        "later": ages.later,
    }
