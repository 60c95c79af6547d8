"""The script of a relay: rules in the order written, the first that applies is played."""

from collections.abc import Sequence

from mailqueue.testing.rule import Rule
from mailqueue.testing.selector import BODY, VERBS, Cue, Numbers, Selector


class Script:
    """Rules for a `ScriptedRelay`; where none applies the relay is a correct one.

    A script may be changed while the relay runs, from the loop the relay runs in:

        script.on("RCPT", address="bad@example.org").reply("550 5.1.1 no such user")
        script.on("RCPT").times(2).reply("451 4.7.1 greylisted")
        script.on("DATA", occurrence=3).close()
        script.on(".").silence()
        script.clear()                       # the relay is repaired
    """

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._by_verb: dict[str, list[Rule]] = {}

    def on(
        self,
        verb: str,
        *,
        address: str | None = None,
        session: Numbers = None,
        transaction: Numbers = None,
        occurrence: Numbers = None,
    ) -> Rule:
        """Add a rule and return it, to be told what to do.

        Args:
            verb: a command, or one of the moments that are not commands: `CONNECT` (greeting),
                `TLS` (before the handshake), `CREDENTIALS` (an answer to a 334), `BODY` (during
                the upload), `.` (the final dot); `*` is everything that is answered.
            address: of MAIL or RCPT, in any case; `*` in it stands for anything.
            session: number of the session, counted from 1.
            transaction: number of the transaction within its session, counted from 1 by MAIL.
            occurrence: which of the cues that fit otherwise, counted from 1 since the rule exists.

        The three numbers may also be a `range` or any other container. `Rule.when()` takes a
        predicate for all else.

        Raises:
            ValueError: no relay ever meets this verb.
        """
        verb = verb.upper()
        if verb not in VERBS:
            raise ValueError(f"{verb!r} is no moment of a session; there are {sorted(VERBS)}")
        rule = Rule(Selector(verb, address, session, transaction, occurrence))
        self._rules.append(rule)
        self._by_verb.clear()
        return rule

    def remove(self, rule: Rule) -> None:
        """Take one rule out; what is being played goes on. Twice is harmless."""
        self._rules = [kept for kept in self._rules if kept is not rule]
        self._by_verb.clear()

    def clear(self) -> None:
        """Take all rules out, so that the relay behaves from now on."""
        self._rules.clear()
        self._by_verb.clear()

    @property
    def unused(self) -> Sequence[Rule]:
        """The rules that were never played: a test that ends with one has not tested it."""
        return [rule for rule in self._rules if rule.used == 0]

    # For the relay

    def concerns(self, verb: str) -> bool:
        """Whether any rule might be for this verb, early ones included."""
        return bool(self._rules) and bool(self._for(verb))

    @property
    def foretells(self) -> bool:
        """Whether any rule is early."""
        return any(rule.is_early for rule in self._rules)

    def choose(self, cue: Cue) -> Rule | None:
        """Return the first rule for this cue that is neither early nor used up.

        Rules that count occurrences are shown the cue even where an earlier rule wins.
        """
        chosen = None
        for rule in self._for(cue.verb):
            if chosen is not None and not rule.watches:
                continue
            meets = rule.selector.meets(cue)
            if meets and chosen is None and not rule.is_early and not rule.is_spent:
                chosen = rule
        return chosen

    def foretell(self, cue: Cue) -> Rule | None:
        """Return the first early rule for a cue that has not come yet."""
        for rule in self._for(cue.verb):
            if rule.is_early and not rule.is_spent and rule.selector.foresees(cue):
                return rule
        return None

    def next_mark(self, octets: int) -> int | None:
        """Return the nearest place in a body, beyond `octets`, where a BODY rule wants its cue."""
        if not self._rules:
            return None
        marks = (rule.selector.octets for rule in self._for(BODY))
        return min((mark for mark in marks if mark > octets), default=None)

    def _for(self, verb: str) -> list[Rule]:
        if verb not in self._by_verb:
            self._by_verb[verb] = [r for r in self._rules if r.selector.might_meet(verb)]
        return self._by_verb[verb]
