import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.cli.output import duration, instant, iso, one_line, printable, relative

HOSTILE = st.text(st.characters(codec=None))


@given(HOSTILE)
def test_nothing_acts_on_the_terminal(text: str) -> None:
    """Whatever a relay or a row says, only printable characters and line breaks come out."""
    shown = printable(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.encode().decode() == shown


@given(HOSTILE)
def test_one_line_is_one_line(text: str) -> None:
    """A text that goes into a column cannot begin another line."""
    assert one_line(text).isprintable()


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_what_is_printable_stays(text: str) -> None:
    """Text in any language is shown as it is."""
    assert printable(text) == one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\u202eevil", "?evil"),
        ("a\tb", "a b"),
        ("a\r\nb", "a?\nb"),
        ("\x9b2J", "?2J"),
    ],
)
def test_escape_sequences_are_shown_as_question_marks(text: str, shown: str) -> None:
    """Escapes, C1 controls, carriage returns and changes of direction lose their effect."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (86_400, "1d"),
        (86_400 + 60, "1d"),
        (90_061, "1d 1h"),
        (-61, "1m 1s"),
    ],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    """A length of time is told in its two largest units."""
    assert duration(seconds) == words


def test_instants() -> None:
    """Instants are UTC, and relative to now they say on which side of it they lie."""
    at = 1_700_000_000_000_000
    assert instant(at) == "2023-11-14T22:13:20Z"
    assert iso(at + 7) == "2023-11-14T22:13:20.000007Z"
    assert iso(None) is None
    assert relative(at + 252_000_000, at) == "in 4m 12s"
    assert relative(at - 252_000_000, at) == "4m 12s ago"


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_number_in_a_row_can_be_shown(at: int) -> None:
    """An instant that no calendar has is no reason to fail."""
    assert instant(at)
    iso(at)
