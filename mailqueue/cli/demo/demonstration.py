"""The parts of the demo put together: relays, outbox, producers, and somebody who watches."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from mailqueue.cli.demo.aftermath import Aftermath, read_aftermath
from mailqueue.cli.demo.certificate import certified
from mailqueue.cli.demo.chronicle import Chronicle
from mailqueue.cli.demo.lookout import Lookout
from mailqueue.cli.demo.place import Place
from mailqueue.cli.demo.producers import Producers
from mailqueue.cli.demo.progress import Progress
from mailqueue.cli.demo.relays import open_relays
from mailqueue.cli.demo.scenario import Scenario
from mailqueue.clock import SystemClock

_HOST = "127.0.0.1"


async def demonstrate(directory: Path, console: Console) -> Aftermath:
    """Play the scenario with everything in ``directory``; returns what was left at its end.

    Raises `StuckError` where something that must come about did not.
    """
    clock, place, chronicle = SystemClock(), Place(directory), Chronicle()
    right, wrong = clock.token(16), clock.token(16)
    chronicle.secrets += [right, wrong]
    place.write_password(wrong)
    async with AsyncExitStack() as stack:
        relays = await stack.enter_async_context(
            open_relays(right, certified(_HOST, place.ca_file))
        )
        place.write_configuration(relays.by_name)
        producers = Producers(place.url, chronicle=chronicle, clock=clock)
        stack.push_async_callback(producers.close)
        await producers.create()
        progress = stack.enter_context(Progress(console, clock))
        lookout = Lookout(place.url, relays, progress=progress, clock=clock)
        stack.push_async_callback(lookout.close)
        scenario = Scenario(
            place, relays, producers=producers, lookout=lookout, chronicle=chronicle
        )
        await scenario.play()
        return await lookout.read(lambda connection: read_aftermath(connection, chronicle, relays))
