"""Where the words go: text, JSON lines, or the journal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mailqueue import events
from mailqueue.events import log
from mailqueue.events.wording import word
from tests.events.samples import ALL, answered, decision
from tests.support.leases import ACCEPTED, SILENCE


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where a test's log goes; afterwards the logger is as it was."""
    before = (list(log.LOGGER.handlers), log.LOGGER.level, log.LOGGER.propagate)
    yield io.StringIO()
    log.LOGGER.handlers[:], log.LOGGER.propagate = before[0], before[2]
    log.LOGGER.setLevel(before[1])


class Watched(str):
    """A text that notes when somebody words it."""

    __slots__ = ()
    worded = 0

    def __format__(self, spec: str) -> str:
        Watched.worded += 1
        return super().__format__(spec)


def test_text_has_time_and_level_in_front(stream: io.StringIO) -> None:
    """For a file or a terminal, which add neither."""
    log.configure("info", "text", to=stream)
    log.write(events.Stopped())
    assert stream.getvalue().endswith(" INFO stopped\n")
    assert stream.getvalue()[:2] == "20"


def test_each_line_of_json_is_one_event(stream: io.StringIO) -> None:
    """With the name of the event, its text and its fields."""
    log.configure("info", "json", to=stream)
    for event in ALL:
        log.write(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in ALL]
    assert lines[0]["to"] == "anna@example.net"
    assert lines[0]["level"] == "info"
    assert lines[0]["time"].endswith("+00:00")
    assert all(line["text"] for line in lines)


def test_json_is_ascii_whatever_is_in_it(stream: io.StringIO) -> None:
    """No text breaks a line or an encoding."""
    log.configure("info", "json", to=stream)
    log.write(answered(decision(ACCEPTED), recipient="\u2028\n\ud800ä@example.net"))
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["to"] == "\u2028\n\ud800ä@example.net"


def test_json_keeps_the_traceback_inside_its_line(stream: io.StringIO) -> None:
    """One event is one line even where a part failed."""
    log.configure("info", "json", to=stream)
    log.write(_failure())
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError" in json.loads(line)["traceback"]


@pytest.mark.parametrize(
    ("event", "mark"),
    [
        (events.Stopped(), "<6>"),
        (events.RelayUnknown("typo"), "<4>"),
        (events.DiskLow(1, 2), "<3>"),
    ],
)
def test_the_journal_reads_the_priority_from_the_front(
    stream: io.StringIO, event: events.Event, mark: str
) -> None:
    """As sd-daemon(3) says, and without the time, which the journal knows itself."""
    log.configure("info", "text", journal=True, to=stream)
    log.write(event)
    assert stream.getvalue().startswith(mark + word(event).text)


def test_every_line_of_a_traceback_has_its_priority(stream: io.StringIO) -> None:
    """Or the journal would file it as a notice, apart from its error."""
    log.configure("info", "text", journal=True, to=stream)
    log.write(_failure())
    lines = stream.getvalue().splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


def test_a_message_costs_nothing_where_its_level_is_off(stream: io.StringIO) -> None:
    """Millions of recipients are not worded for nobody."""
    log.configure("warning", "text", to=stream)
    Watched.worded = 0
    log.write(answered(decision(ACCEPTED), recipient=Watched("anna@example.net")))
    assert Watched.worded == 0
    assert stream.getvalue() == ""
    log.configure("info", "text", to=stream)
    log.write(answered(decision(ACCEPTED), recipient=Watched("anna@example.net")))
    assert Watched.worded == 1


def test_doubt_is_told_where_only_warnings_are(stream: io.StringIO) -> None:
    """What may be sent twice is never passed over for the sake of speed."""
    log.configure("warning", "text", to=stream)
    log.write(answered(decision(SILENCE)))
    assert "in doubt" in stream.getvalue()


def test_the_level_holds_for_all_events(stream: io.StringIO) -> None:
    """Only errors are told where only errors are wanted."""
    log.configure("error", "text", to=stream)
    for event in ALL:
        log.write(event)
    told = [word(event) for event in ALL]
    expected = [line.text for line in told if line.level >= logging.ERROR]
    assert [text for text in expected if text not in stream.getvalue()] == []
    assert stream.getvalue().count(" ERROR ") == len(expected)


def test_a_later_set_up_replaces_an_earlier_one(stream: io.StringIO) -> None:
    """No line is written twice."""
    log.configure("info", "text", to=io.StringIO())
    log.configure("info", "text", to=stream)
    log.write(events.Stopped())
    assert stream.getvalue().count("stopped") == 1
    assert len(log.LOGGER.handlers) == 1


def _failure() -> events.PartFailed:
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        return events.PartFailed("Keeper", error)
