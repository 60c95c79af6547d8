"""How the demo tells what is going on: a line that changes in place, or lines now and then."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mailqueue.cli.demo.records import Look
from mailqueue.cli.demo.relays import Relays
from mailqueue.clock import Clock
from mailqueue.mail.lifecycle import State

PLAIN_EVERY = 2.0
"""Seconds between two plain lines."""
_SHOWN = (
    State.SENT,
    State.QUEUED,
    State.DEFERRED,
    State.SENDING,
    State.FAILED,
    State.EXPIRED,
    State.HELD,
)


class Progress:
    """Shows counts by state and what the relays are doing. A context manager."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._began = clock.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown = ""
        self._shown_at = self._began

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, sentence: str) -> None:
        """Print what happens next; it stays."""
        self._console.print(self._line(sentence), overflow="ellipsis", no_wrap=True)

    def show(self, look: Look, relays: Relays) -> None:
        """Show how everything stands at this moment."""
        line = summary(look, relays)
        if line == self._shown:
            return
        if self._console.is_terminal:
            # Not before there is a line: an empty one would be drawn too.
            self._live.start()
            self._live.update(self._line(line), refresh=True)
        elif self._clock.monotonic() - self._shown_at >= PLAIN_EVERY:
            self._shown_at = self._clock.monotonic()
            self.say(line)
        else:
            return
        self._shown = line

    def _line(self, text: str) -> Text:
        elapsed = self._clock.monotonic() - self._began
        return Text(f"{elapsed:5.1f} s  {text}", no_wrap=True, overflow="ellipsis")


def summary(look: Look, relays: Relays) -> str:
    """Return the state of the queue, and what the relays took or that they are paused."""
    counts = look.counts
    queue = ", ".join(f"{counts[state]} {state}" for state in _SHOWN if counts[state])
    paused = [name for name in relays.by_name if look.breakers.get(name, "closed") != "closed"]
    taking = {name: relay for name, relay in relays.by_name.items() if name not in paused}
    taken = ", ".join(f"{name} {len(relay.ledger)}" for name, relay in taking.items())
    at_rest = f"{', '.join(paused)} paused" if paused else ""
    return f"{queue} | {'; '.join(filter(None, (taken, at_rest)))}"
