"""What must come of each cell: a conversation played through by the rulings, without a wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.cells import PER_TRANSACTION, Cell, Place
from tests.faults.expectation import Expectation, Pause, Row
from tests.faults.hearing import BROKEN, HEARD, Heard, Spot, noticed
from tests.faults.rulings import (
    ACCEPTED,
    LATER,
    NEVER,
    OVERLOADED,
    PRIMER_REFUSED,
    ended,
    is_orderly,
    is_positive,
    is_verdict,
    lost,
    opening_trouble,
    refused,
)


def expectations(cell: Cell, *, pipelined: bool = False) -> tuple[Expectation, ...]:
    """Return what may come of ``cell``: one thing, or two where the wire itself leaves it open."""
    course = _PipelinedCourse if pipelined else _Course
    return tuple(course(cell, spot, heard).run() for spot, heard in noticed(cell))


def leaves_doubt(cell: Cell) -> bool:
    """Whether the fault itself takes away the answer to the final dot."""
    heard = HEARD[cell.fault.name]
    return cell.place is Place.DOT and (
        heard in BROKEN or (isinstance(heard, int) and not is_verdict(heard))
    )


@dataclass(slots=True)
class _Course:
    """One cell from its first session to its last, with the fault at one spot."""

    cell: Cell
    spot: Spot
    heard: int | Heard
    sessions: int = 0
    carried: int = 0
    is_fit: bool = False
    holds_envelope: bool = False
    primer: tuple[Row, ...] = ()
    pauses: list[Pause] = field(default_factory=list)
    target: list[list[Row]] = field(default_factory=list)

    def run(self) -> Expectation:
        self.target = [[] for _ in range(self.cell.recipients)]
        if self.cell.reused:
            self._prime()
        self._open_for_target()
        everybody = range(self.cell.recipients)
        for number in range(self.cell.transactions):
            begin = number * PER_TRANSACTION
            self._transact(number, everybody[begin : begin + PER_TRANSACTION])
        self._have_session()  # for the mail after it
        return Expectation(
            tuple(map(tuple, self.target)),
            self.primer,
            tuple(self.pauses),
            self.sessions,
            tuple(map(self._taken, self.target)),
        )

    def _prime(self) -> None:
        self._have_session()
        self.carried += 1
        is_refused = self.cell.place is Place.RSET
        self.holds_envelope = is_refused
        self.primer = (PRIMER_REFUSED if is_refused else ACCEPTED,)
        if (heard := self._hear("primer-data", 0)) in BROKEN:
            self.primer, self.is_fit = (lost("data", heard),), False
        elif (heard := self._hear("primer-dot", 0)) in BROKEN:
            self.primer, self.is_fit = (ended(heard),), False

    def _open_for_target(self) -> None:
        for stage in ("greeting", "ehlo", "starttls", "handshake", "ehlo-in-tls", "auth"):
            if self.spot[0] == stage and (trouble := opening_trouble(stage, self._hear(stage, 0))):
                self._have_session()
                self.pauses.append(trouble)
                self.is_fit = False

    def _transact(self, number: int, members: range) -> None:
        self._have_session()
        answer = self._begin(number)
        self.carried += 1
        if answer == 421:
            # The relay has no room, and has seen nothing of the mail: it is put off, uncharged.
            self._close(members, OVERLOADED)
            self.pauses.append(Pause("mail", 421))
        elif not is_positive(answer):
            self._close(members, refused("mail", answer))
        else:
            self._name(number, members)

    def _begin(self, number: int) -> int | Heard:
        """Return what MAIL is answered on a session that turned out not to be stale."""
        if self.holds_envelope:
            self.holds_envelope = False
            if not is_positive(self._hear("rset", 0)):
                self._replace_session()
            return self._hear("mail", number)
        answer = self._hear("mail", number)
        if self.carried and (answer in BROKEN or answer in (421, 503)):
            self._replace_session()
            return Heard.USUAL
        return answer

    def _name(self, number: int, members: range) -> None:
        self.holds_envelope = True
        accepted: list[int] = []
        for position in members:
            answer = self._hear("rcpt", position)
            planned = {"ok": None, "later": LATER, "never": NEVER}[self.cell.answer(position)]
            if not is_positive(answer):
                planned = refused("rcpt", answer)
                if planned.scope == "session":
                    self._close([*accepted, *range(position, members.stop)], planned)
                    return
                rule = planned.rule.replace("message", "recipient")
                planned = Row(planned.verdict, "recipient", rule, "rcpt", planned.code)
            if planned is None:
                accepted.append(position)
            else:
                self._give([position], planned)
        if accepted:
            self._send(number, accepted)

    def _send(self, number: int, accepted: list[int]) -> None:
        answer = self._hear("data", number)
        if answer not in (354, Heard.USUAL):
            self._close(accepted, refused("data", answer))
            return
        if (answer := self._hear("long-body", number)) in BROKEN:
            self._close(accepted, lost("data", answer))
            return
        answer = self._hear("dot", number)
        self.holds_envelope = False
        self._close(accepted, ended(answer))
        if answer is Heard.LAST_WORDS:
            self.is_fit = False

    # Steps

    def _hear(self, stage: str, number: int) -> int | Heard:
        """Return what the relay says there; the fault is shown once."""
        if self.spot != (stage, number):
            return Heard.USUAL
        self.spot = ("", 0)
        return self.heard

    def _have_session(self) -> None:
        if not self.is_fit or self.carried >= self.cell.messages_per_session:
            self.sessions += 1
            self.carried, self.is_fit, self.holds_envelope = 0, True, False

    def _replace_session(self) -> None:
        self.is_fit = False
        self._have_session()

    def _close(self, members: list[int] | range, row: Row) -> None:
        self._give(members, row)
        self.is_fit = self.is_fit and is_orderly(row)

    def _give(self, members: list[int] | range, row: Row) -> None:
        for position in members:
            self.target[position].append(row)

    def _taken(self, rows: list[Row]) -> int:
        last = rows[-1]
        is_lost = last.verdict == "in-doubt" and (
            self.cell.place is Place.BODY or self.cell.place is Place.DATA
        )
        return int(last.verdict in ("sent", "in-doubt") and not is_lost)


_FORETOLD = {"rcpt": 250, "data": 354, "dot": 250}
"""What a relay says that answers a command before it has read it."""


@dataclass(slots=True)
class _PipelinedCourse(_Course):
    """The same where MAIL, RCPT and DATA go in one group: replies are told by their order alone."""

    is_foretold: bool = False

    def _transact(self, number: int, members: range) -> None:
        self._have_session()
        has_reset, self.holds_envelope = self.holds_envelope, False
        stream = self._stream(number, members, has_reset=has_reset)
        if has_reset and not is_positive(stream.pop(0)):
            self._begin_elsewhere(number, members)
            return
        answer = stream.pop(0)
        is_stale = answer in BROKEN or answer in (421, 503)
        if self.carried and not has_reset and is_stale:
            self._begin_elsewhere(number, members)
            return
        self.carried += 1
        if answer == 421:
            self._close(members, OVERLOADED)
            self.pauses.append(Pause("mail", 421))
        elif not is_positive(answer):
            self._close(members, refused("mail", answer))
        else:
            self.holds_envelope = True
            self._read(number, members, stream)

    def _begin_elsewhere(self, number: int, members: range) -> None:
        self._replace_session()
        self._transact(number, members)

    def _stream(self, number: int, members: range, *, has_reset: bool) -> list[int | Heard]:
        """Return what the relay says to the group, in its order, up to where it breaks off."""
        codes = {"ok": 250, "later": 450, "never": 550}
        usual: dict[Spot, int] = {("rset", 0): 250} if has_reset else {}
        usual[("mail", number)] = 250
        usual |= {("rcpt", position): codes[self.cell.answer(position)] for position in members}
        usual[("data", number)] = 354
        stream: list[int | Heard] = []
        for spot, code in usual.items():
            if self.is_foretold and spot == self._own_spot:
                continue
            stream += self._said(spot, code)
            if stream[-1] in BROKEN:
                break
        return stream

    @property
    def _own_spot(self) -> Spot:
        is_rcpt = self.cell.place.verb == "RCPT"
        return ("rcpt", self.cell.position) if is_rcpt else (str(self.cell.place), 0)

    def _said(self, spot: Spot, usual: int) -> list[int | Heard]:
        heard = self._hear(*spot)
        if heard is not Heard.SURPLUS:
            return [usual if heard is Heard.USUAL else heard]
        if self.cell.fault.is_early:
            self.is_foretold = True
            return [usual, _FORETOLD[self._own_spot[0]]]
        return [usual, 421 if self.cell.fault.name == "reply-and-421" else 250]

    def _read(self, number: int, members: range, stream: list[int | Heard]) -> None:
        given: dict[int, Row] = {}
        for position in members:
            answer = stream.pop(0)
            if not is_positive(answer):
                row = refused("rcpt", answer)
                if row.scope == "session":
                    self._break_off(members, given, row, is_void=answer == 354)
                    return
                rule = row.rule.replace("message", "recipient")
                given[position] = Row(row.verdict, "recipient", rule, "rcpt", row.code)
        answer = stream.pop(0)
        accepted = [position for position in members if position not in given]
        if stream:
            row = lost("data", Heard.SURPLUS)
            self._break_off(members, given, row, is_void=answer != 354)
        elif answer == 354 or (is_verdict(answer) and not is_positive(answer)):
            self._give_each(given)
            self._go_on(number, accepted, answer)
        else:
            row = refused("data", answer)
            self._break_off(members, given, row, is_void=is_positive(answer))

    def _break_off(self, members: range, given: dict[int, Row], row: Row, *, is_void: bool) -> None:
        """The session ends; who has an answer keeps it only if it was surely his own."""
        kept = {} if is_void else given
        self._give_each(kept)
        self._close([position for position in members if position not in kept], row)
        self.is_fit = False

    def _give_each(self, given: dict[int, Row]) -> None:
        for position, row in given.items():
            self._give([position], row)

    def _go_on(self, number: int, accepted: list[int], answer: int | Heard) -> None:
        if answer == 421:
            self.is_fit = False
        if not accepted:
            return
        if answer != 354:
            self._close(accepted, refused("data", answer))
        else:
            self._send(number, accepted)
