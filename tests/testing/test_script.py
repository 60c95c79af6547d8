"""Which rule is played at which cue."""

import asyncio

import pytest

from mailqueue.testing import Cue, Script


def _cue(verb: str = "MAIL", *, session: int = 1, transaction: int = 1, address: str = "") -> Cue:
    return Cue(verb, session=session, transaction=transaction, address=address or None)


def _said(script: Script, cue: Cue) -> bytes:
    rule = script.choose(cue)
    return rule.play(b"usual\r\n").spoken if rule else b"usual\r\n"


def test_the_first_rule_wins() -> None:
    """Rules are tried in the order written."""
    script = Script()
    script.on("MAIL").reply("450 first")
    script.on("MAIL").reply("450 second")
    assert [_said(script, _cue()) for _ in "12"] == [b"450 first\r\n"] * 2


def test_a_rule_that_is_used_up_makes_way() -> None:
    """`times` counts uses; the next rule and then the usual conduct come after it."""
    script = Script()
    script.on("MAIL").times(2).reply("450 a")
    script.on("*").times(1).reply("450 b")
    expected = [b"450 a\r\n", b"450 a\r\n", b"450 b\r\n", b"usual\r\n"]
    assert [_said(script, _cue()) for _ in expected] == expected


def test_occurrences_count_what_fits_whoever_wins() -> None:
    """The third DATA is the third DATA, also where other rules answered the ones before."""
    script = Script()
    script.on("DATA").times(2).reply("450 a")
    script.on("DATA", occurrence=3).reply("450 third")
    script.on("DATA", occurrence=range(4, 6)).reply("450 later")
    said = [_said(script, _cue("DATA")) for _ in range(6)]
    assert said == [
        *[b"450 a\r\n"] * 2,
        b"450 third\r\n",
        *[b"450 later\r\n"] * 2,
        b"usual\r\n",
    ]


def test_occurrences_count_within_the_other_filters() -> None:
    """An occurrence is the nth cue that fits in everything else."""
    script = Script()
    script.on("RCPT", address="a@b.example", occurrence=2).reply("450 again")
    said = [_said(script, _cue("RCPT", address=name)) for name in ("a@b.example", "c@d.example")]
    assert said == [b"usual\r\n"] * 2
    assert _said(script, _cue("RCPT", address="A@B.example")) == b"450 again\r\n"


@pytest.mark.parametrize(
    ("pattern", "address", "fits"),
    [
        ("bad@example.org", "BAD@Example.ORG", True),
        ("*@example.org", "anyone@example.org", True),
        ("a*", "b@a.example", False),
        ("a.b@c.example", "a-b@c.example", False),
        ("x@[127.0.0.1]", "x@[127.0.0.1]", True),
        ("*", "", False),
    ],
)
def test_addresses_may_be_patterns(pattern: str, address: str, fits: bool) -> None:
    """Addresses are compared without case; only the asterisk is special."""
    script = Script()
    script.on("RCPT", address=pattern).reply("550 no")
    assert (script.choose(_cue("RCPT", address=address)) is not None) is fits


def test_sessions_and_transactions_are_numbered() -> None:
    """A rule can be for one session, or for the reused ones."""
    script = Script()
    script.on("MAIL", session=2).reply("450 second session")
    script.on("MAIL", transaction=range(2, 99)).reply("450 reused")
    assert _said(script, _cue()) == b"usual\r\n"
    assert _said(script, _cue(session=2)) == b"450 second session\r\n"
    assert _said(script, _cue(transaction=3)) == b"450 reused\r\n"


def test_predicates_narrow_a_rule() -> None:
    """Every predicate must hold."""
    script = Script()
    script.on("MAIL").when(lambda cue: cue.sender == "a@b").when(
        lambda cue: cue.session == 2
    ).reply("5")
    assert script.choose(_cue(address="a@b")) is None
    assert script.choose(_cue(address="a@b", session=2)) is not None


def test_steps_without_an_answer_get_the_usual_one() -> None:
    """A rule that only delays or paces still answers; one that ends the session does not."""
    script = Script()
    assert script.on("MAIL").delay(1).play(b"u").spoken == b"u"
    assert script.on("MAIL").split_every(1).play(b"u").spoken == b"u"
    assert script.on("MAIL").then(extra=b"x").play(b"u").spoken == b"ux"
    assert script.on("MAIL").reply("1").then(extra=b"x").play(b"u").spoken == b"1\r\nx"
    for ended in (script.on("MAIL").close(), script.on("MAIL").wait_for(asyncio.Event()).silence()):
        assert ended.play(b"u").spoken == b""


def test_early_rules_are_for_what_has_not_come_yet() -> None:
    """Once its command is there an early rule is too late, and counts it as seen."""
    script = Script()
    rule = script.on("MAIL", occurrence=2).early().reply("450 early")
    assert script.foretell(_cue()) is None
    assert script.choose(_cue()) is None
    assert script.foretell(_cue()) is rule
    assert script.choose(_cue()) is None
    assert script.foretells


def test_scripts_change_while_they_run() -> None:
    """Rules come and go, and a script that was cleared has no say."""
    script = Script()
    rule = script.on("MAIL")
    assert script.concerns("MAIL")
    assert not script.concerns("RCPT")
    script.remove(rule)
    script.remove(rule)
    assert not script.concerns("MAIL")
    script.on("*").close()
    assert script.concerns("RCPT")
    assert not script.concerns("BODY")
    script.clear()
    assert not script.concerns("RCPT")


def test_unused_rules_are_known() -> None:
    """A fault that never happened can be asserted on."""
    script = Script()
    used, unused = script.on("MAIL"), script.on("RCPT")
    _said(script, _cue())
    assert used.used == 1
    assert list(script.unused) == [unused]


def test_mistakes_in_a_script_are_told_at_once() -> None:
    """A rule that could never be played is refused where it is written."""
    script = Script()
    with pytest.raises(ValueError, match="RCTP"):
        script.on("RCTP")
    with pytest.raises(ValueError, match="address"):
        script.on("RCPT", address="a@b").early()
    with pytest.raises(ValueError, match="CONNECT"):
        script.on("CONNECT").early()
    with pytest.raises(ValueError, match="BODY"):
        script.on("DATA").after(octets=5)
