"""Draws the moves of a recipient into docs/states.md, from the table that the code moves by.

Run ``python -m docs.draw_states`` in the checkout after a change to mailqueue/mail/lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mailqueue.mail.lifecycle import TRANSITIONS, Event, State, advance, sources

PAGE = Path(__file__).with_name("states.md")

WHEN = {
    Event.CLAIM: "It is due, and the dispatcher leases it to a worker.",
    Event.HAND_BACK: "The worker stopped, or met what is not the mail's trouble: uncharged.",
    Event.SEND: "The relay answered the final dot with a 2xx.",
    Event.DEFER: "The relay answered with a 4xx, or the session was lost; or doubt is retried.",
    Event.FAIL: "The relay answered with a 5xx, or does not offer what the mail needs.",
    Event.GIVE_UP: "The attempt ended like a deferral, and the deadline leaves room for no other.",
    Event.EXPIRE: "The deadline passed while it waited.",
    Event.HOLD_DOUBT: 'Nobody knows whether the relay accepted, and the sender chose "hold".',
    Event.HOLD: "Put aside by hand.",
    Event.RELEASE: "Taken up again by hand, with the attempts that it had.",
    Event.CANCEL: "Withdrawn by hand.",
    Event.RETRY: "Begun anew by hand: due now, its attempts back at nothing, its lifetime new.",
    Event.FAIL_BY_HAND: "Given up by hand with `mailqueue fail`: no relay refused it.",
}


def redraw(page: str) -> str:
    """Return ``page`` with what stands between its marks drawn anew."""
    return _put(_put(page, "diagram", diagram()), "moves", moves())


def _put(page: str, name: str, drawing: str) -> str:
    begin, end = f"<!-- {name}: drawn by docs/draw_states.py -->\n", f"<!-- /{name} -->"
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"the page has no marks for the {name}")
    return "".join((before, begin, drawing, end, after))


def diagram() -> str:
    """Draw the table as a Mermaid state diagram, in a fence."""
    edges: dict[tuple[State, State], list[Event]] = {}
    for state, event, target in _every_move():
        edges.setdefault((state, target), []).append(event)
    final = ", ".join(state for state in State if state.is_final)
    lines = [
        "direction LR",
        f"[*] --> {State.QUEUED} : enqueue",
        *(f"{here} --> {there} : {', '.join(events)}" for (here, there), events in edges.items()),
        "classDef final stroke-width:4px",
        f"class {final} final",
    ]
    return "\n    ".join(["```mermaid\nstateDiagram-v2", *lines]) + "\n```\n"


def moves() -> str:
    """Write the table as a Markdown table, an event in each row."""
    rows = ["| Event | By | From | To | When |", "|---|---|---|---|---|"]
    for event in Event:
        by = "operator" if event.is_operators else "daemon"
        targets = dict.fromkeys(there for _, one, there in _every_move() if one is event)
        here, there = _listed(sources(event)), _listed(targets)
        rows.append(f"| `{event}` | {by} | {here} | {there} | {WHEN[event]} |")
    return "\n".join(rows) + "\n"


def _listed(states: Iterable[State]) -> str:
    return ", ".join(f"`{state}`" for state in states)


def _every_move() -> Iterator[tuple[State, Event, State]]:
    """Yield each state, event and target; a second one where charged attempts lead elsewhere."""
    for state, events in TRANSITIONS.items():
        for event in events:
            targets = (advance(state, event, attempts=attempts) for attempts in (0, 1))
            for target in dict.fromkeys(targets):
                yield state, event, target


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text("utf-8")), "utf-8")
