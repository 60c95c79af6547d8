"""The states of a recipient, and each move between them or its refusal."""

from __future__ import annotations

import pytest

from mailqueue.mail.lifecycle import (
    FINAL,
    OPERATOR_EVENTS,
    TRANSITIONS,
    WAITING,
    Event,
    IllegalMoveError,
    State,
    advance,
    sources,
)

# Every event at every state; a dot is a move that there is not.
TABLE = """
                queued     deferred   sending   held       sent  failed  expired  cancelled

    claim       sending    sending    .          .          .     .       .        .
    expire      expired    expired    .          .          .     .       .        .

    send        .          .          sent       .          .     .       .        .
    defer       .          .          deferred   .          .     .       .        .
    fail        .          .          failed     .          .     .       .        .
    give-up     .          .          expired    .          .     .       .        .
    hold-doubt  .          .          held       .          .     .       .        .
    hand-back   .          .          queued     .          .     .       .        .

    hold        held       held       .          .          .     .       .        .
    release     .          .          .          queued     .     .       .        .
    cancel      cancelled  cancelled  .          cancelled  .     .       .        .
    retry       queued     queued     .          queued     .     queued  queued   queued
    fail-by-hand  failed   failed     .          failed     .     .       .        .
"""

COLUMNS, *ROWS = [words for line in TABLE.splitlines() if (words := line.split())]
MOVES = {
    (State(column), Event(event)): None if word == "." else State(word)
    for event, *words in ROWS
    for column, word in zip(COLUMNS, words, strict=True)
}
LEGAL = {key: target for key, target in MOVES.items() if target is not None}
ILLEGAL = [key for key, target in MOVES.items() if target is None]


def test_the_table_is_about_every_state_and_every_event() -> None:
    """No state and no event is forgotten."""
    assert set(MOVES) == {(state, event) for state in State for event in Event}


@pytest.mark.parametrize(("state", "event"), LEGAL)
def test_a_move_of_the_table_leads_where_it_says(state: State, event: Event) -> None:
    """Each legal move of a recipient that was never charged has its one target."""
    assert advance(state, event) is MOVES[state, event]


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
@pytest.mark.parametrize("attempts", [0, 1])
def test_any_other_move_is_an_error(state: State, event: Event, attempts: int) -> None:
    """What the table does not have does not happen, and the error says what was tried."""
    with pytest.raises(
        IllegalMoveError, match=f"{event} does not happen to a recipient that is {state}"
    ):
        advance(state, event, attempts=attempts)


@pytest.mark.parametrize("attempts", [1, 2, 1000])
@pytest.mark.parametrize(("state", "event"), LEGAL)
def test_who_was_charged_waits_as_deferred(state: State, event: Event, attempts: int) -> None:
    """Once charged, who is handed back or released is deferred; only an operator's retry is new."""
    target = MOVES[state, event]
    if event in (Event.HAND_BACK, Event.RELEASE):
        target = State.DEFERRED

    assert advance(state, event, attempts=attempts) is target


@pytest.mark.parametrize("event", Event)
def test_the_sources_of_an_event_are_the_states_it_happens_to(event: Event) -> None:
    """They come in the order of the states, so that statements made of them are always the same."""
    assert sources(event) == tuple(state for state in State if (state, event) in LEGAL)


def test_only_a_person_leaves_a_final_state() -> None:
    """Failed, expired and cancelled are left by an operator's retry, and sent by nothing at all."""
    leaving = {(state, event) for state, event in LEGAL if state.is_final}

    assert leaving == {
        (State.FAILED, Event.RETRY),
        (State.EXPIRED, Event.RETRY),
        (State.CANCELLED, Event.RETRY),
    }
    assert all(event.is_operators for _, event in leaving)


def test_the_final_states_are_those_the_daemon_leaves_alone() -> None:
    """Only a person moves a recipient out of a final state, or out of held, which is no end."""
    moved_by_daemon = {state for state, event in LEGAL if not event.is_operators}

    assert set(State) - moved_by_daemon - {State.HELD} == FINAL
    assert {state for state in State if state.is_final} == FINAL


def test_a_person_never_moves_what_a_worker_holds() -> None:
    """While a recipient is being sent to, only its worker's result moves it."""
    assert not [event for event in OPERATOR_EVENTS if (State.SENDING, event) in LEGAL]
    assert {event for event in Event if event.is_operators} == OPERATOR_EVENTS


def test_what_waits_is_what_can_be_claimed() -> None:
    """Queued and deferred recipients are taken by the dispatcher, and no others."""
    assert set(sources(Event.CLAIM)) == WAITING == {State.QUEUED, State.DEFERRED}


def test_every_state_can_be_reached() -> None:
    """From queued, where each recipient begins, some way leads to each state."""
    reached = {State.QUEUED}
    while fresh := {target for (state, _), target in LEGAL.items() if state in reached} - reached:
        reached |= fresh

    assert reached == set(State)


@pytest.mark.parametrize("state", [state for state in State if not state.is_final])
def test_every_recipient_can_come_to_an_end(state: State) -> None:
    """From each state that is not final, some way leads to each that is."""
    reached = {state}
    while fresh := {target for (origin, _), target in LEGAL.items() if origin in reached} - reached:
        reached |= fresh

    assert reached >= FINAL


def test_a_recipient_is_sent_by_one_move_alone() -> None:
    """Sent is reached only from sending, and only by a relay that accepted."""
    assert [key for key, target in LEGAL.items() if target is State.SENT] == [
        (State.SENDING, Event.SEND)
    ]


def test_the_table_in_use_has_a_row_for_each_state() -> None:
    """A state without a row could not even be asked for its moves."""
    assert list(TRANSITIONS) == list(State)
