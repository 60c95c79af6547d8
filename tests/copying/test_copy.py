"""An outbox copied to another database: what is kept, what is refused, and what comes next."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, text, update

from mailqueue import Outbox, OutboxFencedError
from mailqueue.operate.copying import CopyError, DifferenceError, NotNowError, UnfitRowError
from mailqueue.operate.copying import lift as lift_fence
from mailqueue.operate.copying.rows import COPIED, LEFT
from mailqueue.outbox.fence import Phase
from mailqueue.outbox.location import database_path
from mailqueue.outbox.locks import WorkerLock
from mailqueue.outbox.tables import contents, messages, metadata, recipients
from mailqueue.outbox.workers import Worker, register
from tests.copying.conftest import MakeUrl
from tests.copying.places import (
    ask,
    copy,
    copy_up_to,
    copying,
    fence_of,
    mail_of,
    opened,
    pauses_of,
)
from tests.support import rows
from tests.support.leases import take

RAW = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"
WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite")]


@pytest.fixture(params=WAYS, ids="-".join)
def ends(request: pytest.FixtureRequest, make_url_of: MakeUrl) -> tuple[str, str]:
    """An outbox with a little of everything, and an empty place to copy it to."""
    source, target = map(make_url_of, request.param)
    fill(source)
    return source, target


@pytest.fixture
def files(make_url_of: MakeUrl) -> tuple[str, str]:
    """The same, in two files."""
    source, target = make_url_of("sqlite"), make_url_of("sqlite")
    fill(source)
    return source, target


def fill(url: str) -> None:
    """Put in mail in every state, with attempts, decisions, odd text and a paused relay."""
    with opened(url, create=True) as engine, engine.begin() as connection:
        for state in ("queued", "deferred", "held", "sent", "failed", "expired", "cancelled"):
            number = rows.add_message(
                connection,
                f"{state}@bücher.example",
                raw=bytes(range(256)) * 3,
                recipient={"state": state, "attempts": 3, "doubts": 1, "lease": 7},
                eight_bit=True,
                tags='{"order": "42", "snow": "☃"}',
                idempotency_key=f"key-{state}",
                digest=b"\x00\xff",
            )
            (recipient,) = rows.recipient_ids(connection, number)
            rows.add_attempt(connection, recipient, text="später: 'quoted' \\ %s :x")
            rows.add_action(connection, recipient)
        rows.add_message(connection, raw=None, recipient={"state": "sent"})
        gone = rows.add_message(connection)
        connection.execute(delete(messages).where(messages.c.id == gone))
        rows.add_relay(connection, "main", is_default=True)
        rows.add_relay(connection, "bulk", paused_at=1, paused_by="olga", pause_reason="a list")


def test_every_row_is_the_same_there(ends: tuple[str, str]) -> None:
    """Ids, states, attempts, decisions, contents and pauses stay what they are."""
    source, target = ends
    before = mail_of(source)
    report = copy(source, target)
    assert report is not None
    assert mail_of(target) == mail_of(source) == before
    assert [one.rows for one in report.tables] == [len(found) for found in before.values()]
    assert (
        pauses_of(target) == pauses_of(source) == [("bulk", "olga", "a list"), ("main", None, None)]
    )


def test_new_mail_gets_ids_that_nobody_had(ends: tuple[str, str]) -> None:
    """Not even those of mail that was pruned before the copy."""
    source, target = ends
    last = ask(source, "SELECT max(id) FROM mailqueue_messages")
    copy(source, target)
    with Outbox(target) as outbox:
        assert outbox.enqueue(RAW).id == last + 2
    assert ask(target, "SELECT max(id) FROM mailqueue_recipients") == last + 2
    with opened(target) as engine, engine.begin() as connection:
        rows.add_attempt(connection, last)
        rows.add_action(connection, last)


def test_the_source_stays_closed_and_says_where_it_went(ends: tuple[str, str]) -> None:
    """Whoever writes there later hears of the new place, without its password."""
    source, target = ends
    copy(source, target)
    fence = fence_of(source)
    assert fence is not None
    assert (fence.phase, fence_of(target)) == (Phase.MOVED, None)
    with Outbox(source) as outbox, pytest.raises(OutboxFencedError) as refused:
        outbox.enqueue(RAW)
    assert refused.value.place == fence.place
    assert "password" not in str(refused.value)


def test_a_second_run_does_nothing(ends: tuple[str, str]) -> None:
    """What is sent from the target meanwhile stays as it is."""
    source, target = ends
    copy(source, target)
    with Outbox(target) as outbox:
        outbox.enqueue(RAW)
    before = mail_of(target)
    assert copy(source, target) is None
    assert mail_of(target) == before


def test_there_and_back_is_the_same(make_url_of: MakeUrl) -> None:
    """From a file to PostgreSQL and into another file: every row as it was."""
    first, between, last = map(make_url_of, ("sqlite", "postgresql", "sqlite"))
    fill(first)
    copy(first, between)
    copy(between, last)
    assert mail_of(last) == mail_of(first)


def test_a_look_writes_nothing(ends: tuple[str, str]) -> None:
    """Neither tables nor a file nor a fence."""
    source, target = ends
    with copying(source, target) as course:
        found = course.survey()
    assert found.rows["mailqueue_messages"] == 8
    assert fence_of(source) is None
    path = database_path(target)
    if path is not None:
        assert not path.exists()
    else:
        assert ask(target, "SELECT count(*) FROM pg_class WHERE relname LIKE 'mailqueue%'") == 0


def test_a_target_with_other_mail_is_refused(files: tuple[str, str]) -> None:
    """And nothing is closed."""
    source, target = files
    with opened(target, create=True) as engine, engine.begin() as connection:
        rows.add_message(connection)
    with pytest.raises(CopyError, match="holds other mail"):
        copy(source, target)
    assert fence_of(source) is None


def test_mail_that_comes_to_the_target_at_the_last_moment_is_not_mixed_in(
    ends: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the target is closed anybody may enqueue there; then it is looked at once more."""
    source, target = ends

    def meddle(moment: str, step: str) -> None:
        if (moment, step) == ("after", "copy-fence-commit"):
            with Outbox(target) as outbox:
                outbox.enqueue(RAW)

    monkeypatch.setattr("mailqueue.operate.copying.course.reach", meddle)
    with pytest.raises(CopyError, match="holds other mail, 1 messages"):
        copy(source, target)
    assert fence_of(target) is None
    with copying(source, target) as course:
        assert course.undo() == 0
    assert fence_of(source) is None


def test_a_place_is_not_copied_to_itself(files: tuple[str, str]) -> None:
    """However it is spelt."""
    with pytest.raises(CopyError, match="name another"):
        copy(files[0], files[0].replace("outbox-", "./outbox-"))


def test_an_outbox_that_moves_to_one_place_does_not_move_to_another(
    files: tuple[str, str], make_url_of: MakeUrl
) -> None:
    """Mail that is in two places would be sent from both."""
    source, target = files
    copy(source, target)
    with pytest.raises(CopyError, match=r"has moved to .*, and not to"):
        copy(source, make_url_of("sqlite"))


def test_rows_whose_message_is_gone_are_told_before_anything_is_closed(
    files: tuple[str, str],
) -> None:
    """A shell without foreign keys leaves them, and PostgreSQL would not take them."""
    source, target = files
    with opened(source) as engine, engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.commit()
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("DELETE FROM mailqueue_messages WHERE id = 1")
    with pytest.raises(CopyError, match="not in mailqueue_messages"):
        copy(source, target)
    assert fence_of(source) is None


def test_a_row_that_does_not_fit_is_named_and_the_copy_can_be_given_up(
    make_url_of: MakeUrl,
) -> None:
    """SQLite's integers are wider than a column of PostgreSQL."""
    source, target = make_url_of("sqlite"), make_url_of("postgresql")
    fill(source)
    with opened(source) as engine, engine.begin() as connection:
        connection.execute(update(recipients).values(attempts=2**40))
    with pytest.raises(UnfitRowError, match="mailqueue_recipients"):
        copy(source, target)
    with copying(source, target) as course:
        course.undo()
    assert fence_of(source) is fence_of(target) is None
    assert not any(mail_of(target).values())
    with Outbox(source) as outbox:
        outbox.enqueue(RAW)


def test_text_that_postgresql_cannot_hold_is_replaced_and_counted(make_url_of: MakeUrl) -> None:
    """A NUL, which only another hand can have written, keeps nobody's mail from moving."""
    source, target = make_url_of("sqlite"), make_url_of("postgresql")
    fill(source)
    with opened(source) as engine, engine.begin() as connection:
        connection.execute(update(recipients).values(last_text="a\0b"))
    report = copy(source, target)
    assert report is not None
    assert {one.table: one.replaced for one in report.tables if one.replaced} == {
        "mailqueue_recipients": 8
    }
    assert ask(target, "SELECT max(last_text) FROM mailqueue_recipients") == "a�b"


def test_a_difference_is_found_and_both_stay_closed(files: tuple[str, str]) -> None:
    """Whoever altered a copied row by force is told which one it is."""
    source, target = files
    copy_up_to(source, target, "before-copy-moved-commit")
    with opened(target) as engine, engine.begin() as connection:
        connection.execute(text("DROP TRIGGER mailqueue_fence_recipients_update"))
        connection.execute(update(recipients).where(recipients.c.id == 3).values(attempts=4))
    with pytest.raises(DifferenceError, match="row 3 differs in attempts"):
        copy(source, target)
    with opened(target) as engine, engine.begin() as connection:
        connection.execute(text("DROP TRIGGER mailqueue_fence_messages_insert"))
        connection.execute(update(recipients).where(recipients.c.id == 3).values(attempts=3))
        values = dict.fromkeys(("enqueued_at", "size", "recipient_count", "priority"), 1)
        connection.execute(
            insert(messages).values(
                **values, header_message_id="<x>", sender="", relay="", on_doubt="retry",
                eight_bit=False, utf8_header=False,
            )
        )  # fmt: skip
    with pytest.raises(DifferenceError, match="on one side only"):
        copy(source, target)
    assert fence_of(source) is not None
    assert fence_of(target) is not None


def test_an_unfinished_copy_is_given_up(ends: tuple[str, str]) -> None:
    """The target is empty and open, the source as it was, and a new copy may begin."""
    source, target = ends
    before = mail_of(source)
    copy_up_to(source, target, "before-copy-moved-commit")
    with copying(source, target) as course:
        assert course.undo() == sum(map(len, before.values()))
    assert not any(mail_of(target).values())
    assert mail_of(source) == before
    copy(source, target)
    assert mail_of(target) == before


def test_a_copy_that_has_ended_is_not_undone(files: tuple[str, str]) -> None:
    """The mail is the target's now, and opening the source would send it twice."""
    source, target = files
    copy(source, target)
    with copying(source, target) as course, pytest.raises(CopyError, match="sent from there"):
        course.undo()
    assert fence_of(source) is not None


def test_only_a_fence_that_doubles_nothing_is_lifted_without_being_insisted_on(
    files: tuple[str, str],
) -> None:
    """One that has moved takes --anyway."""
    source, target = files
    copy(source, target)
    with copying(source, target) as course:
        with pytest.raises(CopyError, match="--anyway"):
            lift_fence(course._source, source, anyway=False)
        assert lift_fence(course._source, source, anyway=True).phase is Phase.MOVED
        with pytest.raises(CopyError, match="no fence"):
            lift_fence(course._source, source, anyway=True)


def test_leases_of_the_dead_are_settled_as_doubt(files: tuple[str, str]) -> None:
    """A worker whose lock is free says nothing any more, and where it stood nobody knows."""
    source, target = files
    path = database_path(source)
    assert path is not None
    with opened(source) as engine, engine.begin() as connection:
        taken = take(connection)
        register(connection, Worker("w1", "here", 1, "0", rows.NOW, rows.NOW))
        connection.execute(
            update(recipients).where(recipients.c.worker == "w1").values(due_at=2**60)
        )
    lock = WorkerLock(path, "w1")
    lock.acquire()
    with pytest.raises(NotNowError, match="w1"):
        copy(source, target, wait=0.0)
    file = path.with_name(f"{path.name}.worker-w1")
    lock.release()
    file.touch()
    copy(source, target)
    doubts = "SELECT count(*) FROM mailqueue_attempts WHERE verdict = 'in-doubt'"
    assert ask(target, doubts) == len(taken)
    assert ask(target, "SELECT count(*) FROM mailqueue_recipients WHERE state = 'sending'") == 0


def test_a_content_larger_than_a_batch_goes_alone(files: tuple[str, str]) -> None:
    """Memory is bounded by the largest content, and none is left out."""
    source, target = files
    with opened(source) as engine, engine.begin() as connection:
        for size in (3_000_000, 9_000_000, 1, 2_000_000, 2_000_000, 2_000_000):
            rows.add_message(connection, raw=b"x" * size)
    copy(source, target)
    lengths = "SELECT sum(length(raw)) FROM mailqueue_contents"
    assert ask(target, lengths) == ask(source, lengths)
    assert contents in COPIED


def test_every_table_is_copied_or_left_for_a_reason() -> None:
    """A table that is new has to be decided about."""
    assert {*COPIED, *LEFT} == {*metadata.tables.values()}
