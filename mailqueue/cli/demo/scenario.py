"""The demo from beginning to end: what is done to the queue, and what must come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from mailqueue.cli.demo.chronicle import Chronicle, Late, Seen
from mailqueue.cli.demo.daemon import Daemon
from mailqueue.cli.demo.habits import REOPENED, habit_of
from mailqueue.cli.demo.lookout import Lookout
from mailqueue.cli.demo.mails import Addresses, Mail, few_dozen, locked, tampered, withdrawn
from mailqueue.cli.demo.place import Place
from mailqueue.cli.demo.producers import Producers
from mailqueue.cli.demo.records import Look, history, look
from mailqueue.cli.demo.relays import USER, HeldReply, Relays
from mailqueue.operate import Operator

STOP_SECONDS = 15.0
REFUSED_RESULT = "the lease had ended before this reply came"
"""What the log says where a result came too late."""


class Scenario:
    """Plays once; what happens is written into ``chronicle``."""

    def __init__(
        self,
        place: Place,
        relays: Relays,
        *,
        producers: Producers,
        lookout: Lookout,
        chronicle: Chronicle,
    ) -> None:
        self._place = place
        self._relays = relays
        self._producers = producers
        self._lookout = lookout
        self._chronicle = chronicle
        self._say = lookout.progress.say
        self._addresses = Addresses()
        self._daemons: list[Daemon] = []

    async def play(self) -> None:
        """Do everything; raises `StuckError` where something does not come about."""
        try:
            await self._enqueue()
            await self._send()
            await self._mend()
            await self._crash()
            await self._stall()
            await self._end()
        finally:
            for daemon in self._daemons:
                await daemon.end()
                self._chronicle.logs[daemon.name] = daemon.lines

    # What happens, in order

    async def _enqueue(self) -> None:
        mails, of = few_dozen(self._addresses), self._addresses.of
        self._relays.learn(mails)
        await self._producers.enqueue(mails)
        await self._producers.enqueue_twice(Mail(of("customer")))
        await self._producers.roll_back([Mail(of("customer")), Mail(of("customer"))])
        await self._producers.inject()
        await self._producers.enqueue_and_cancel(withdrawn(self._addresses))
        await self._producers.enqueue_and_die(Mail(of("customer")))
        self._say(
            f"{len(self._chronicle.mails)} mails are enqueued, two more are rolled back, and the "
            "producer of one was killed"
        )

    async def _send(self) -> None:
        self._say("a daemon starts; relay bulk greets with 554, relay account wants a password")
        await self._start("a")
        await self._lookout.until("the daemon is at work", lambda _: self._daemons[0].is_at_work)
        await self._enqueue_hopeless()
        patient = _addresses(
            mail for mail in self._chronicle.mails if mail.relay == "main" and not mail.expires_in
        )
        self._chronicle.halfway = await self._lookout.until(
            "relay main has answered for its mails, and the other two are paused",
            lambda found: (
                found.are_settled(patient)
                and bool(self._relays.greetings_refused and self._relays.logins_refused)
                and "closed" not in (found.breakers.get("bulk"), found.breakers.get("account"))
            ),
        )

    async def _mend(self) -> None:
        self._say("bulk is mended; account's password is put right and the daemon gets SIGHUP")
        self._relays.mend_bulk()
        self._place.write_password(self._relays.account.users[USER])
        self._daemons[-1].reload()
        await self._retry_reopened()
        await self._all_settled("the other two relays have taken their mails")

    async def _crash(self) -> None:
        self._say("the daemon is killed (SIGKILL) while the reply to a final dot is outstanding")
        killed = self._daemons[-1]
        mail = Mail(self._addresses.of("customer"))
        owed = await self._send_unanswered(mail)
        self._lookout.daemons.remove(killed)
        await killed.kill()
        self._chronicle.kills += 1
        owed.release()
        await self._producers.enqueue([Mail(self._addresses.of("customer")) for _ in range(2)])
        self._say("two more mails are enqueued while no daemon runs; then the next one starts")
        await self._start("b")
        await self._all_settled("the next daemon has sent what the killed one left")

    async def _stall(self) -> None:
        self._say("that one stalls (SIGSTOP) at the same point, for longer than its lease of 3 s")
        stalled = self._daemons[-1]
        (address,) = self._addresses.of("customer")
        owed = await self._send_unanswered(Mail((address,)))
        await self._stop_outside_a_transaction(stalled)
        await self._start("c")
        await self._all_settled("another daemon has taken the stalled one's mail over")
        before = await self._lookout.read(_seen(address))
        self._say("it wakes up (SIGCONT) and gets its reply, too late")
        owed.release()
        stalled.resume()
        await self._lookout.until("its result is refused", lambda _: stalled.said(REFUSED_RESULT))
        after = await self._lookout.read(_seen(address))
        refusals = sum(REFUSED_RESULT in line for line in stalled.lines)
        self._chronicle.late.append(Late(address, before, after, refusals))

    async def _end(self) -> None:
        self._say("both daemons are asked to end (SIGTERM)")
        living, self._lookout.daemons = self._lookout.daemons, []
        statuses = await asyncio.gather(*(one.stop(timeout=STOP_SECONDS) for one in living))
        self._chronicle.exits += statuses

    # Steps

    async def _start(self, name: str) -> None:
        daemon = await Daemon.start(name, self._place)
        self._daemons.append(daemon)
        self._lookout.daemons.append(daemon)

    async def _enqueue_hopeless(self) -> None:
        """Enqueue what is going to expire, now that it will be tried before."""
        mail = locked(self._addresses)
        self._relays.learn([mail])
        await self._producers.enqueue([mail])
        await self._producers.tamper(tampered(self._addresses), tampered(self._addresses))

    async def _retry_reopened(self) -> None:
        """Do what an operator does who hears that a mailbox is open again."""
        reopened = [
            one.id
            for one in self._chronicle.enqueued
            if any(habit_of(address).word == REOPENED for address in one.mail.recipients)
        ]
        await asyncio.to_thread(_retry, self._place.url, reopened)

    async def _send_unanswered(self, mail: Mail) -> HeldReply:
        """Enqueue ``mail`` and return when its final dot is written, its reply owed."""
        owed = self._relays.hold_reply(mail.recipients[0])
        await self._producers.enqueue([mail])
        await self._lookout.until("its final dot is written", lambda _: owed.is_owed)
        return owed

    async def _stop_outside_a_transaction(self, daemon: Daemon) -> None:
        # Stopped inside one it would keep the write lock, and nobody could take anything over.
        await daemon.stall()
        while not await self._lookout.can_write():
            daemon.resume()
            await asyncio.sleep(0.02)
            await daemon.stall()

    async def _all_settled(self, what: str) -> None:
        addresses = _addresses(self._chronicle.mails)
        await self._lookout.until(what, lambda found: found.are_settled(addresses))


def _addresses(mails: Iterable[Mail]) -> list[str]:
    return [address for mail in mails for address in mail.recipients]


def _retry(url: str, ids: Iterable[int]) -> None:
    with Operator(url) as operator:
        for number in ids:
            operator.retry(number, reason="the mailbox is open again")


def _seen(address: str) -> Callable[[Connection], Seen]:
    def read(connection: Connection) -> Seen:
        found: Look = look(connection)
        tried = [row for row in history(connection) if row["recipient"] == address]
        return Seen(found.of(address), tuple(tried))

    return read
