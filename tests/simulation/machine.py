"""A state machine of what producers, operators and machines do, against a model of the promises."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event, State, sources
from mailqueue.outbox.acts import Act
from tests.simulation.application import Application
from tests.simulation.invariants import Observed
from tests.simulation.mood import MOODS
from tests.simulation.pace import HOUR, Pace
from tests.simulation.place import place
from tests.simulation.process import DaemonProcess
from tests.simulation.settling import settle
from tests.simulation.world import World

_PACE = Pace(
    troubles=0.0,
    mails=0,
    daemons=2,
    lease=240.0,
    backoff=60.0,
    longest_backoff=600.0,
    give_up=HOUR,
    connections=2,
    timeouts={"mail": 600.0, "rcpt": 600.0, "data": 600.0},
)
_VERBS = (Event.HOLD, Event.RELEASE, Event.CANCEL, Event.RETRY)
_STILL = (State.HELD, State.CANCELLED)
_CANCELLABLE = (*sources(Event.CANCEL), State.CANCELLED)
_KINDS = ("ok", "ok", "grey", "gone", "full", "never")


class Machine(RuleBasedStateMachine):
    """The model: who was told that a recipient is held or cancelled finds it so.

    Applications go through the public API, operators through their verbs, to the same rows.

    Everything else that is promised are the invariants of the world. At the end all troubles
    stop, and everything must come to its end.
    """

    met: ClassVar[Counter[str]] = Counter()
    """What all walks together have met; a subclass has its own."""

    messages: Bundle[int] = Bundle("messages")
    running: Bundle[DaemonProcess] = Bundle("running")
    frozen: Bundle[DaemonProcess] = Bundle("frozen")

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.told: dict[int, State] = {}
        """What operators were told of recipients that no daemon may move."""

    @initialize(target=running, seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> DaemonProcess:
        """Begin with an empty outbox and a daemon."""
        directory = self._open.enter_context(place())
        self.world = self._open.enter_context(World(seed, directory, _PACE))
        self.application = Application(self.world.producer)
        return self.world.spawn()

    @rule(
        target=messages,
        kinds=st.lists(st.sampled_from(_KINDS), min_size=1, max_size=4),
        relay=st.sampled_from((None, "smart")),
        on_doubt=st.sampled_from(OnDoubt),
        rings=st.booleans(),
    )
    def enqueue(self, kinds: list[str], relay: str | None, on_doubt: OnDoubt, rings: bool) -> Any:
        """Enqueue a message; where that returns, the message is known from now on."""
        recipients = tuple(f"{kind}-{number}@example.net" for number, kind in enumerate(kinds))
        message = self.application.enqueue(recipients, relay=relay, on_doubt=on_doubt)
        for daemon in self.world.daemons if rings else ():
            daemon.ring()
        return multiple() if message is None else message

    @rule(message=messages)
    def ask(self, message: int) -> None:
        """Let the application ask how a message stands: it is told what the rows say."""
        told = self.application.status(message).recipients
        found = self._recipients_of(message)
        assert [(one.address, str(one.state)) for one in told] == [
            (one.address, one.state) for one in found
        ]

    @rule(message=messages)
    def change_mind(self, message: int) -> None:
        """Let the application cancel a message, and hold the outbox to its answer."""
        before = self._recipients_of(message)
        answer = self.application.cancel(message)
        late = {one.address: str(one.state) for one in answer.too_late}
        may = {one.address: one for one in before if one.state in _CANCELLABLE}
        assert sorted(answer.cancelled) == sorted(may)
        assert late == {one.address: one.state for one in before if one.address not in may}
        self.told |= dict.fromkeys((one.id for one in may.values()), State.CANCELLED)

    def _recipients_of(self, message: int) -> list[Observed]:
        found = [one for one in self.world.watch.recipients() if one.message_id == message]
        return sorted(found, key=lambda one: one.id)

    @rule(message=messages, verb=st.sampled_from(_VERBS))
    def decide(self, message: int, verb: Event) -> None:
        """Let an operator decide about a message, and hold him to what he is told."""
        before = {one.id: State(one.state) for one in self.world.watch.recipients()}
        verbs = self.world.meddler.operator
        acts = getattr(verbs, str(verb))(message)
        for act in acts:
            may = before[act.recipient] in sources(verb)
            assert (act.after is not None) == may, f"{verb} of {before[act.recipient]}: {act}"
            self._remember(act)

    def _remember(self, act: Act) -> None:
        if act.after in _STILL:
            self.told[act.recipient] = act.after
        elif act.after is not None:
            self.told.pop(act.recipient, None)

    @rule(seconds=st.sampled_from((1.0, 30.0, 300.0, 2000.0)))
    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    @rule(relay=st.sampled_from(("main", "smart")), mood=st.sampled_from(MOODS))
    def change_mood(self, relay: str, mood: Any) -> None:
        """Let a relay behave otherwise."""
        self.world.relays[relay].mood = mood

    @rule(
        full=st.booleans(),
        busy=st.sampled_from((0.0, 0.5)),
        unknown=st.sampled_from((0.0, 0.3)),
        seconds=st.sampled_from((1.0, 60.0)),
    )
    def trouble_disk(self, full: bool, busy: float, unknown: float, seconds: float) -> None:
        """Let the database refuse for a while."""
        disk = self.world.disk
        disk.is_full, disk.busy, disk.unknown = full, busy, unknown
        self.world.run(seconds)
        disk.mend()

    @rule()
    def hang_up(self) -> None:
        """Break all connections."""
        self.world.network.hang_up()

    @rule(seconds=st.sampled_from((-300.0, 300.0, 3600.0)))
    def set_clock(self, seconds: float) -> None:
        """Set the wall time."""
        self.world.jump(seconds)

    @precondition(lambda self: len(self.world.daemons) < _PACE.daemons)
    @rule(target=running)
    def start(self) -> DaemonProcess:
        """Start another daemon."""
        return self.world.spawn()

    @rule(daemon=consumes(running))
    def kill(self, daemon: DaemonProcess) -> None:
        """SIGKILL."""
        if daemon.is_running:
            self.world.kill(daemon)

    @rule(daemon=consumes(running))
    def stop(self, daemon: DaemonProcess) -> None:
        """SIGTERM."""
        if daemon.is_running:
            self.world.complete(self.world.stop(daemon))

    @rule(target=frozen, daemon=consumes(running))
    def freeze(self, daemon: DaemonProcess) -> DaemonProcess:
        """SIGSTOP."""
        daemon.freeze()
        return daemon

    @rule(target=running, daemon=consumes(frozen))
    def thaw(self, daemon: DaemonProcess) -> DaemonProcess:
        """SIGCONT."""
        daemon.wake_up()
        return daemon

    @invariant()
    def is_sound(self) -> None:
        """Look at everything that must hold, and at what operators were told."""
        if not hasattr(self, "world"):
            return
        self.world.watch.check()
        found = {one.id: one.state for one in self.world.watch.recipients()}
        for recipient, state in self.told.items():
            assert found[recipient] == state, f"{recipient} was told to be {state}"

    def teardown(self) -> None:
        """End all troubles; then everything must come to its end."""
        with self._open:
            if hasattr(self, "world") and not self.world.watch.has_failed:
                self.world.complete(settle(self.world))
                self.world.conclude()
                self.met.update(self.world.watch.met)
                self.met["walk"] += 1


def walk(machine: type[Machine], *, walks: int, steps: int) -> None:
    """Let ``machine`` take so many walks of at most so many steps; raises what it finds."""
    bounds = settings(
        max_examples=walks,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        # A walk takes a second: making a failure smaller would take the rest of the hour.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=bounds)
