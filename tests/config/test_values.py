import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.config.values import (
    LARGEST,
    LONGEST,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

seconds = st.floats(min_value=0, max_value=LONGEST, allow_subnormal=False).filter(
    # Twenty digits after the point are all that a configuration may have.
    lambda value: value == 0 or value >= 1e-3,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (30, 30.0),
        (1.5, 1.5),
        ("30", 30.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("4 h", 14_400.0),
        ("5d", 432_000.0),
        (" 1w ", 604_800.0),
        ("0.1s", 0.1),
    ],
)
def test_durations(written: object, expected: float) -> None:
    """A duration is a number of seconds, or a number with its unit."""
    assert parse_duration(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        True, None, "", "s", "5 minutes", "5M", "-5s", "1e3s", "5m30s", "0x10", "inf", "nan",
        "٣s", "5\ns", "9" * 5000, math.inf, math.nan, -1, -0.001, LONGEST + 1, 10**400, [5],
    ],
)  # fmt: skip
def test_what_is_no_duration(written: object) -> None:
    """Anything but a number with a known unit, within a hundred years, is refused."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(seconds)
def test_a_duration_survives_being_written(value: float) -> None:
    """Whatever duration is written out is read back as exactly the same number."""
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0s"),
        (0.5, "0.5s"),
        (90, "90s"),
        (300, "5m"),
        (5400, "90m"),
        (14_400, "4h"),
        (604_800, "7d"),
        (0.00001, "0.00001s"),
    ],
)
def test_durations_are_written_in_the_largest_exact_unit(value: float, written: str) -> None:
    """A duration is shown in the largest unit that needs no fraction."""
    assert format_duration(value) == written


@given(number=st.integers(0, 10**5), unit=st.sampled_from(["ms", "s", "m", "h"]))
def test_units_of_duration_scale(number: int, unit: str) -> None:
    """So many of a unit are as long as the unit times so many."""
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * parse_duration(f"1{unit}"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0),
        (1024, 1024),
        ("1024", 1024),
        ("10B", 10),
        ("512kB", 512_000),
        ("25MiB", 26_214_400),
        ("25mib", 26_214_400),
        ("1.5KiB", 1536),
        ("10 GiB", 10_737_418_240),
        ("1TB", 10**12),
        (2.0, 2),
    ],
)
def test_sizes(written: object, expected: int) -> None:
    """A size is a number of bytes, or a number with a decimal or binary unit, in any case."""
    assert parse_size(written) == expected


@pytest.mark.parametrize(
    "written",
    [False, None, "", "MiB", "25M", "25 megabytes", "-1B", -1, "1e6", 2**63, "9EiB", [1], math.inf],
)
def test_what_is_no_size(written: object) -> None:
    """Anything but a number with an unmistakable unit that SQL can store is refused."""
    with pytest.raises(ValueError, match="size"):
        parse_size(written)


@pytest.mark.parametrize("written", [1.5, "1.5B", "0.0001kB"])
def test_no_part_of_a_byte(written: object) -> None:
    """A size that is no whole number of bytes is refused and never rounded."""
    with pytest.raises(ValueError, match="whole number of bytes"):
        parse_size(written)


@given(st.integers(0, LARGEST))
def test_a_size_survives_being_written(value: int) -> None:
    """Whatever size is written out is read back as exactly the same number."""
    assert parse_size(format_size(value)) == value


@given(st.text())
def test_text_is_a_value_or_a_value_error(text: str) -> None:
    """No text at all makes the parsers raise anything but ValueError, nor return a negative."""
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
