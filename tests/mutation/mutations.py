"""The promises, each broken on purpose in several ways, and where that should be noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break a promise.

    ``promise``: its number in docs/guarantees.md; ``what``: what the code does then;
    ``old``: text that stands exactly once in ``file``; ``new``: what stands there instead;
    ``tests``: what to run, as arguments of pytest.
    """

    promise: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS: Final = (
    # 1. Durable.
    Mutation(
        1,
        "commit without waiting for the disk (`synchronous=NORMAL`)",
        "mailqueue/outbox/recipe.py",
        '"synchronous=FULL"',
        '"synchronous=NORMAL"',
        ("tests/outbox/test_engine.py", "-k", "recipe or promises"),
    ),
    Mutation(
        1,
        "return the receipt before the log is flushed",
        "mailqueue/outbox/writing.py",
        "            self._writing.bring_to_disk(kept.flush)\n",
        "            pass\n",
        ("tests/outbox/test_writing.py",),
    ),
    Mutation(
        1,
        "return the receipt though the flush has failed",
        "mailqueue/outbox/writing.py",
        "                raise\n\n    def _is_moved",
        "                return\n\n    def _is_moved",
        ("tests/outbox/test_writing.py", "-k", "disk"),
    ),
    Mutation(
        1,
        "return the receipt of a transaction that is rolled back",
        "mailqueue/outbox/writing.py",
        "                kept.commit()\n",
        "                kept.roll_back()\n",
        ("tests/client/test_outbox.py", "-k", "test_enqueue"),
    ),
    Mutation(
        1,
        "commit the caller's transaction for the caller",
        "mailqueue/client/producer.py",
        "        return work(connection)\n",
        "        done = work(connection)\n        connection.commit()\n        return done\n",
        ("tests/client/test_transactions.py", "-k", "roll_back"),
    ),
    Mutation(
        1,
        "prune what somebody is asking to be sent again at this moment",
        "mailqueue/outbox/prune.py",
        'if connection.dialect.name == "postgresql":',
        'if connection.dialect.name == "nowhere":',
        ("tests/postgres/test_races.py", "-k", "pruned"),
    ),
    # 2. Exactly one state.
    Mutation(
        2,
        "let an operator send again what was sent",
        "mailqueue/mail/lifecycle.py",
        "    State.SENT: {},\n",
        "    State.SENT: {Event.RETRY: State.QUEUED},\n",
        ("tests/mail/test_lifecycle.py", "tests/docs/test_states.py"),
    ),
    Mutation(
        2,
        "let an operator cancel what a worker is sending",
        "mailqueue/mail/lifecycle.py",
        "        Event.HOLD_DOUBT: State.HELD,\n",
        "        Event.HOLD_DOUBT: State.HELD,\n        Event.CANCEL: State.CANCELLED,\n",
        ("tests/mail/test_lifecycle.py",),
    ),
    Mutation(
        2,
        "let a final recipient have no time at which it was finished",
        "mailqueue/outbox/record.py",
        "trial.ended_at if state.is_final else None",
        "None",
        ("tests/outbox/test_record.py",),
    ),
    # 3. A 5xx is final, a 4xx is not.
    Mutation(
        3,
        "retry a 5xx to RCPT",
        "mailqueue/mail/verdict.py",
        "Verdict(Outcome.FAIL, Scope.RECIPIENT, Rule.RECIPIENT_REFUSED)",
        "Verdict(Outcome.DEFER, Scope.RECIPIENT, Rule.RECIPIENT_REFUSED)",
        ("tests/mail/test_verdict.py", "tests/mail/test_verdict_table.py"),
    ),
    Mutation(
        3,
        "fail for a 4xx to the message",
        "mailqueue/mail/verdict.py",
        "Verdict(Outcome.DEFER, Scope.MESSAGE, Rule.MESSAGE_DEFERRED)",
        "Verdict(Outcome.FAIL, Scope.MESSAGE, Rule.MESSAGE_DEFERRED)",
        ("tests/mail/test_verdict.py", "tests/mail/test_verdict_table.py"),
    ),
    Mutation(
        3,
        "lease every recipient of a message of which one is due",
        "mailqueue/outbox/claim.py",
        '"several"), *_is_due(unindexed(recipients.c.relay)))',
        '"several"))',
        ("tests/outbox/test_claim.py",),
    ),
    Mutation(
        3,
        "give the answer to the message to those who had their own",
        "mailqueue/mail/dialogue.py",
        "            if finding is None:\n",
        "            if True:\n",
        ("tests/mail/test_dialogue.py",),
    ),
    # 4. Sent twice only after recorded doubt.
    Mutation(
        4,
        "record `sent` before the reply to the final dot",
        "mailqueue/smtp/upload.py",
        "    return await wire.finish(last + ending(raw), timeout=timeouts.end_of_data)\n",
        "    await wire.finish(last + ending(raw), timeout=timeouts.end_of_data)\n"
        "    from mailqueue.mail.reply import Reply\n\n"
        '    return Evidence(Stage.END_OF_DATA, Reply(250), ".")\n',
        ("tests/smtp/test_transaction.py",),
    ),
    Mutation(
        4,
        "take silence after the final dot for silence before it",
        "mailqueue/mail/verdict.py",
        "return _in_doubt(Rule.SILENCE_AFTER_DOT)",
        "return _session(Rule.SILENCE_BEFORE_DOT)",
        ("tests/mail/test_verdict.py", "tests/mail/test_verdict_table.py"),
    ),
    Mutation(
        4,
        "forget that the final dot was written",
        "mailqueue/smtp/wire.py",
        "            self.dot_written = True\n",
        "            self.dot_written = False\n",
        ("tests/smtp/test_wire.py", "tests/smtp/test_transaction.py"),
    ),
    Mutation(
        4,
        "forget that the final dot of a message in a line was written",
        "mailqueue/smtp/pipelined.py",
        "        self._dot_written = True\n",
        "        self._dot_written = False\n",
        ("tests/smtp/test_pipelining.py", "tests/smtp/test_transaction.py"),
    ),
    Mutation(
        4,
        "take what is held behind the final dot for the dot",
        "mailqueue/smtp/outlet.py",
        "            return held > self._behind_dot\n",
        "            return held > 0\n",
        ("tests/smtp/test_pipelining.py",),
    ),
    Mutation(
        4,
        "retry what is to be held in doubt",
        "mailqueue/mail/decision.py",
        "case Outcome.IN_DOUBT if on_doubt is OnDoubt.HOLD:",
        "case Outcome.IN_DOUBT if on_doubt is OnDoubt.RETRY:",
        ("tests/mail/test_decision.py",),
    ),
    Mutation(
        4,
        "write the final dot of a held message without the mark",
        "mailqueue/daemon/leave.py",
        "return on_doubt is OnDoubt.RETRY or self._mark(leases)",
        "return True",
        ("tests/daemon/test_dispatcher.py",),
    ),
    Mutation(
        4,
        "hand back the leases of a dead worker as if nothing could have been sent",
        "mailqueue/outbox/reap.py",
        "known_unsent = on_doubt is OnDoubt.HOLD and row.dot_at is None",
        "known_unsent = True",
        ("tests/outbox/test_reap.py",),
    ),
    Mutation(
        4,
        "take a COMMIT that is still on its way for one that was not made",
        "mailqueue/outbox/outcome.py",
        "    if wait is not None:\n",
        "    if wait is not None and not connection:\n",
        ("tests/postgres/test_outcomes.py", "-k", "arrives_late and plain"),
    ),
    Mutation(
        4,
        "claim again without a look at what became of the last claim",
        "mailqueue/daemon/outcome.py",
        "if (found := self._proof(written)) is not None:",
        "if (found := self._proof(written)) is None:",
        ("tests/postgres/test_daemon_outcomes.py", "-k", "after"),
    ),
    # 5. Trouble that is not the message's costs it nothing.
    Mutation(
        5,
        "charge a refused connection",
        "mailqueue/mail/verdict.py",
        "Outcome.DEFER, Scope.RELAY, rule, charged=False,",
        "Outcome.DEFER, Scope.RELAY, rule, charged=True,",
        ("tests/mail/test_verdict.py", "tests/mail/test_verdict_table.py"),
    ),
    Mutation(
        5,
        "go on asking a relay that is in trouble",
        "mailqueue/daemon/feedback.py",
        "return Health.RELAY_TROUBLE, decision.finding.evidence",
        "return Health.UNKNOWN, None",
        ("tests/daemon/test_feedback.py", "tests/daemon/test_reception.py"),
    ),
    Mutation(
        5,
        "charge our own shutdown",
        "mailqueue/mail/verdict.py",
        "Verdict(Outcome.DEFER, Scope.LOCAL, rule, charged=False, drops_session=True)",
        "Verdict(Outcome.DEFER, Scope.LOCAL, rule, charged=True, drops_session=True)",
        ("tests/mail/test_verdict.py", "tests/mail/test_verdict_table.py"),
    ),
    Mutation(
        5,
        "lengthen a pause by a clock that was set back",
        "mailqueue/daemon/breaker.py",
        "return left <= 0 or left > microseconds(self.settings.maximum)",
        "return left <= 0",
        ("tests/hostile/test_clock.py", "-k", "outlast"),
    ),
    # 6. Only the holder of the lease writes.
    Mutation(
        6,
        "forget the lease check",
        "mailqueue/outbox/record.py",
        "            columns.lease == new.new_lease,\n",
        "",
        ("tests/outbox/test_record.py",),
    ),
    Mutation(
        6,
        "give two claims of a recipient the same token",
        "mailqueue/outbox/claim.py",
        'lease=columns.lease + literal_column("1"),',
        "lease=columns.lease,",
        ("tests/outbox/test_claim.py",),
    ),
    Mutation(
        6,
        "write the final dot under a lease that may have ended",
        "mailqueue/daemon/keeper.py",
        "        return wall and monotonic\n",
        "        return True\n",
        ("tests/hostile/test_contention.py", "-k", "renewed"),
    ),
    Mutation(
        6,
        "reap what this very worker is sending, because a clock has jumped",
        "mailqueue/daemon/janitor.py",
        "spared=self._dispatcher.messages(),",
        "spared=(),",
        ("tests/hostile/test_clock.py", "-k", "jump_after"),
    ),
    Mutation(
        6,
        "let go of a lease between the look at it and the result",
        "mailqueue/outbox/record.py",
        "    .with_for_update(),\n",
        "    .order_by(recipients.c.id),\n",
        ("tests/postgres/test_races.py", "-k", "lease"),
    ),
    # 7. One bad message never stops the queue.
    Mutation(
        7,
        "let a message that raises take its delivery along",
        "mailqueue/daemon/delivery.py",
        "except Exception as error:  # noqa: BLE001 - one bad message never stops the queue",
        "except StopAsyncIteration as error:",
        ("tests/daemon/test_delivery.py",),
    ),
    Mutation(
        7,
        "let one write that raises cost the others in its transaction",
        "mailqueue/daemon/recorder.py",
        "except Exception:  # noqa: BLE001 - one bad write must not cost the others",
        "except StopAsyncIteration:",
        ("tests/daemon/test_recorder.py",),
    ),
    Mutation(
        7,
        "stop at a row that is not UTF-8",
        "mailqueue/outbox/recipe.py",
        'return octets.decode("utf-8", "replace")',
        'return octets.decode("utf-8")',
        ("tests/hostile/test_rows.py",),
    ),
    Mutation(
        7,
        "let recipients without a message fill every claim",
        "mailqueue/outbox/claim.py",
        "        .join(messages, messages.c.id == columns.message_id)\n",
        "        .outerjoin(messages, messages.c.id == columns.message_id)\n",
        ("tests/acceptance/test_bad_rows.py", "-k", "without_a_message"),
    ),
    # 8. Hostile input stays data.
    Mutation(
        8,
        "store what a relay wrote as it came",
        "mailqueue/mail/reply.py",
        'lines = "\\n".join(map(_printable, clean.split("\\n")))',
        "lines = clean",
        ("tests/mail/test_reply_text.py", "tests/fuzz/test_targets.py", "-k", "text"),
    ),
    Mutation(
        8,
        "take what follows a reply for the next one",
        "mailqueue/smtp/tap.py",
        "        if parsed.rest:\n",
        "        if parsed.rest == b'never':\n",
        ("tests/smtp/test_transaction.py",),
    ),
    Mutation(
        8,
        "take what follows the last reply of a group for the next one",
        "mailqueue/smtp/pipeline.py",
        "if end < whole and self._is_last_awaited:",
        "if end < 0 and self._is_last_awaited:",
        ("tests/smtp/test_transaction.py",),
    ),
    Mutation(
        8,
        "give somebody the refusal of another",
        "mailqueue/smtp/pipelined.py",
        "        if not void:\n            self._take_rcpt()\n",
        "        self._take_rcpt()\n",
        ("tests/smtp/test_pipelining.py",),
    ),
    Mutation(
        8,
        "send a stored address unread",
        "mailqueue/smtp/transaction.py",
        "if fault := path_fault(recipient) or self._offer.lacks_for(recipient):",
        "if fault := self._offer.lacks_for(recipient):",
        ("tests/smtp/test_transaction.py", "-k", "tampered"),
    ),
    Mutation(
        8,
        "send a dot in the content as it is",
        "mailqueue/smtp/upload.py",
        'replace(b"\\n.", b"\\n..")',
        'replace(b"\\n.", b"\\n.")',
        ("tests/smtp/test_upload.py", "tests/fuzz/test_targets.py", "-k", "stuff or upload"),
    ),
    Mutation(
        8,
        "go on in the clear where STARTTLS was taken out of the offer",
        "mailqueue/smtp/opening.py",
        "return Evidence(Stage.STARTTLS, NoReply(NoReplyKind.TLS, detail))",
        "return offer",
        ("tests/smtp/test_tls.py", "-k", "stripped"),
    ),
)
