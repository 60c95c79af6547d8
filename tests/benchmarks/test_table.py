from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures, Key, Spread
from benchmarks.ledger import WrongCount
from benchmarks.measured.end_to_end import shares
from benchmarks.measured.enqueue import own_share
from benchmarks.measured.latency import WARM_UP, delays
from benchmarks.measured.round_trips import trips
from benchmarks.table import BEGIN, END, NoPlace, line, number, rewrite, section, spread
from benchmarks.targets import LINES, Bound, Line, Of, stand

OURS, THEIRS = Key("drain", "mailqueue", "rate"), Key("drain", "Postfix", "rate")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def figures(ours: list[float], theirs: list[float]) -> Figures:
    """Return the rounds of two systems."""
    found = Figures()
    for key, values in ((OURS, ours), (THEIRS, theirs)):
        for at, value in enumerate(values):
            found.add(key, at, value)
    return found


def test_a_ratio_is_that_of_the_same_round() -> None:
    """The median is taken of the ratios, not the ratio of the medians."""
    found = figures([10, 30, 100], [10, 10, 100])
    assert found.ratio(OURS, THEIRS) == Spread(1.0, 1.0, 3.0, 3)
    assert found.spread(OURS) == Spread(30, 10, 100, 3)


def test_a_round_that_failed_has_no_ratio() -> None:
    """Rounds are matched by their number, also where one of them is missing."""
    found = figures([10, 30], [10])
    assert found.ratio(OURS, THEIRS) == Spread(1.0, 1.0, 1.0, 1)
    assert found.ratio(OURS, Key("drain", "nobody", "rate")) is None
    assert found.spread(Key("drain", "nobody", "rate")) is None


@pytest.mark.parametrize(
    ("bound", "value", "is_met"),
    [
        (Bound(Of.RATIO, least=8), 8.0, True),
        (Bound(Of.RATIO, least=8), 7.9, False),
        (Bound(Of.FIGURE, most=3), 3.0, True),
        (Bound(Of.FIGURE, most=3), 3.1, False),
    ],
)
def test_a_bound_holds_its_own_limit(bound: Bound, value: float, is_met: bool) -> None:
    """A target that is just reached is reached."""
    assert bound.is_met(value) is is_met


def test_a_line_is_judged_only_when_all_that_it_asks_was_measured() -> None:
    """Without Postfix there is a figure and no verdict."""
    asked = Line("Drain", "mails/s", OURS, THEIRS, (Bound(Of.RATIO, least=2),))
    (judged,) = stand(figures([40, 50, 60], [10, 10, 10]), [asked])
    assert judged.reached is True
    assert line(judged) == (
        "| Drain (mails/s) | 50 [40…60] | Postfix: 10 [10…10] | 5 [4…6] | ≥ 2 times | yes |"
    )
    (missed,) = stand(figures([10], [10]), [asked])
    assert missed.reached is False
    assert line(missed).endswith("| **no** |")
    (alone,) = stand(figures([10], []), [asked])
    assert alone.reached is None
    assert stand(Figures(), [asked]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (99.94, "99.9"), (1.2345, "1.23"), (0.01234, "0.0123"), (100, "100")],
)
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    """No figure claims to be more exact than it is."""
    assert number(value) == text


def test_one_round_has_no_brackets() -> None:
    """A single value is no spread."""
    assert spread(Spread.of([3.0])) == "3"


def test_the_table_goes_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    """What was there before goes, what stands around it stays, however often it is written."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    for text in ("first\n", "second\n"):
        rewrite(page, text)
    assert page.read_text() == f"above\n{BEGIN}\n\nsecond\n\n{END}\nbelow\n"
    page.write_text("no markers")
    with pytest.raises(NoPlace):
        rewrite(page, "x")
    assert page.read_text() == "no markers"


def test_the_documented_page_has_a_place_for_the_table() -> None:
    """`--write docs/performance.md` finds its markers, each of them once."""
    text = PAGE.read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert text.index(BEGIN) < text.index(END)


def test_what_was_left_out_stands_under_the_table() -> None:
    """A reader sees what is missing, and why."""
    text = section([("Cores", "2")], [], ["Postfix (not installed)"])
    assert "- Cores: 2\n" in text
    assert text.endswith("Left out or failed:\n\n- Postfix (not installed)\n")


def test_no_two_lines_have_the_same_label() -> None:
    """Verdicts in the JSON file are found by their label."""
    labels = [each.label for each in LINES]
    assert len(labels) == len(set(labels))


def test_round_trips_follow_from_rate_and_delay() -> None:
    """Twenty sessions that send 400 mails a second at 50 ms wait once for each mail."""
    assert trips(20, 400.0, 0.05) == pytest.approx(1.0)
    assert trips(20, 100.0, 0.05) == pytest.approx(4.0)


def test_own_share_leaves_out_the_commit_and_the_rendering() -> None:
    """What the disk and the standard library cost is not mailqueue's."""
    cpu = {
        "bare commits": 0.10,
        "as_bytes, bare commits": 0.21,
        "Outbox, bytes": 0.20,
        "Outbox, EmailMessage": 0.36,
    }
    assert own_share(cpu) == pytest.approx(1.5)
    assert own_share(cpu | {"Outbox, bytes": 0.09}) is None


def test_the_first_samples_of_the_latency_are_left_out() -> None:
    """They pay for what is done once; and a sample that never arrived is no sample."""
    began = {str(sample): float(sample) for sample in range(WARM_UP + 2)}
    arrived = {name: at + 0.5 for name, at in began.items()}
    assert delays(began, arrived) == [0.5, 0.5]
    with pytest.raises(WrongCount):
        delays(began, {})


@pytest.mark.parametrize(("mails", "producers"), [(20, 8), (3, 8), (1000, 7)])
def test_producers_share_all_mails_and_none_twice(mails: int, producers: int) -> None:
    """The parts are as many as the producers, and together they are all mails."""
    parts = shares(mails, producers)
    assert len(parts) == producers
    assert [number for part in parts for number in part] == [*range(mails)]
