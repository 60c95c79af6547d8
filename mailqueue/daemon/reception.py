"""Where deliveries bring their results: to the breaker, to the recorder, to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from mailqueue.clock import Clock
from mailqueue.daemon.delivery import Delivery
from mailqueue.daemon.feedback import Health, health
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Route
from mailqueue.daemon.showing import show
from mailqueue.events import (
    Emit,
    PartFailed,
    RecipientAnswered,
    RelayPaused,
    RelayResumed,
    ResultRefused,
)
from mailqueue.failpoint import reach
from mailqueue.mail.reply import Evidence
from mailqueue.outbox.record import Result

SHOW_SECONDS = 10.0
"""How often SQL hears of the last success of a relay that is well."""


def _nobody_waits() -> None:
    """Stand in until a dispatcher waits for free sessions."""


class Reception:
    """Takes the results of one transaction: tells the breaker, writes them, then says so."""

    def __init__(self, recorder: Recorder, clock: Clock, emit: Emit) -> None:
        self._recorder = recorder
        self._clock = clock
        self._emit = emit
        self._shown: dict[str, float] = {}
        """When each relay's row was written last (monotonic seconds)."""
        self._showing: dict[asyncio.Task[None], None] = {}
        self.freed: Callable[[], None] = _nobody_waits
        """Rung when a session is about to be free."""

    def settle(self, route: Route, delivery: Delivery, results: Sequence[Result]) -> None:
        """Take ``results``; ``delivery`` hears when they are committed, or never will be."""
        now = self._clock.monotonic()
        changed = self._tell(route, results, now)
        route.hand_in(now=now)
        if route.wants_more:
            self.freed()
        self._recorder.hand_in(results, partial(self._written, route, delivery, results))
        if changed and route.is_in_force:
            self._show_soon(route)

    def _show_soon(self, route: Route) -> None:
        showing = asyncio.get_running_loop().create_task(self._show(route))
        self._showing[showing] = None
        showing.add_done_callback(self._has_shown)

    def _has_shown(self, showing: asyncio.Task[None]) -> None:
        del self._showing[showing]
        if not showing.cancelled() and (error := showing.exception()) is not None:
            self._emit(PartFailed("reception", error))

    async def _show(self, route: Route) -> None:
        """Write the relay's row, in the transaction of the results that changed it."""
        self._shown[route.name] = self._clock.monotonic()
        await show(self._recorder, route)
        reach("after", "breaker-commit")

    def _written(
        self,
        route: Route,
        delivery: Delivery,
        results: Sequence[Result],
        outcome: Sequence[Result] | BaseException,
    ) -> None:
        route.settling -= 1
        try:
            if not isinstance(outcome, BaseException):
                reach("after", "record-commit")
                self._report(delivery, results, outcome)
            elif not isinstance(outcome, asyncio.CancelledError):
                self._emit(PartFailed("delivery", outcome))
        finally:
            # Whatever the log makes of it: there is nothing to wait for any more.
            delivery.is_written()

    def _tell(self, route: Route, results: Sequence[Result], now: float) -> bool:
        """Tell the breaker how the relay did; returns whether SQL should see a change."""
        how, evidence = health([result.decision for result in results])
        if evidence is None:
            return how is Health.WELL and self._well(route, now)
        return self._trouble(route, how, evidence)

    def _well(self, route: Route, now: float) -> bool:
        route.answered(1, now=now)
        paused = route.breaker.success(now=self._clock.now())
        if paused is None:
            shown = self._shown.get(route.name)
            return shown is None or now - shown >= SHOW_SECONDS
        self._emit(RelayResumed(route.name, paused))
        return True

    def _trouble(self, route: Route, how: Health, evidence: Evidence) -> bool:
        note = (
            route.breaker.relay_trouble
            if how is Health.RELAY_TROUBLE
            else route.breaker.session_trouble
        )
        pause = note(evidence, now=self._clock.now(), jitter=self._clock.random())
        if pause is None:
            return False
        self._emit(RelayPaused(route.name, evidence, pause))
        return True

    def _report(
        self, delivery: Delivery, results: Sequence[Result], refused: Sequence[Result]
    ) -> None:
        late = set(map(id, refused))
        message = delivery.message
        for result in results:
            address = result.lease.address
            if id(result) in late:
                self._emit(ResultRefused(message.id, address, result.trial.relay, result.decision))
                continue
            delay = (result.trial.ended_at - message.enqueued_at) / 1e6
            self._emit(
                RecipientAnswered(
                    message.id,
                    message.content.message_id,
                    message.sender,
                    address,
                    result.trial.relay,
                    result.trial.peer,
                    delay,
                    result.decision,
                )
            )
