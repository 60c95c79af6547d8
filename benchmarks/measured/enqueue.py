"""How fast one application puts mail in, beside what its disk and the standard library allow."""

from __future__ import annotations

from functools import partial

from benchmarks.ground import Ground, patience
from benchmarks.ledger import WrongCount
from benchmarks.program import Program, run_together

SHARE = 4
"""One mail in so many of those asked for: each kind prepares its own."""
KINDS = {
    "bare-single": "bare commits",
    "enqueue-bytes": "Outbox, bytes",
    "enqueue-messages": "Outbox, EmailMessage",
    "render": "as_bytes",
    "bare-messages": "as_bytes, bare commits",
    "enqueue-awaited": "AsyncOutbox, 1",
    "enqueue-concurrent": "AsyncOutbox, 50",
    "bare-bulk": "bare commits of 100",
    "enqueue-many": "enqueue_many of 100",
}
BATCH = 100
_BEGUN = {"bare-single", "bare-bulk", "bare-messages"}
_SHARED = {"Outbox, bytes", "Outbox, EmailMessage", "bare commits", "as_bytes, bare commits"}


def measure(ground: Ground) -> None:
    """Run each kind once, on an outbox of its own."""
    # A whole number of batches, so that all kinds store the same.
    mails = max(BATCH, ground.choice.mails // SHARE // BATCH * BATCH)
    kinds = [(name, partial(_run, ground, kind, mails)) for kind, name in KINDS.items()]
    ground.in_turn(kinds)
    _note_share(ground)


def own_share(cpu: dict[str, float]) -> float | None:
    """Return mailqueue's own CPU on an EmailMessage over that on prebuilt bytes.

    Its own is what remains after the bare commit, and for an EmailMessage after the standard
    library's rendering and a bare commit, one behind the other.
    None where prebuilt bytes cost no more than the bare commit: that is noise.
    """
    on_bytes = cpu["Outbox, bytes"] - cpu["bare commits"]
    on_message = cpu["Outbox, EmailMessage"] - cpu["as_bytes, bare commits"]
    return on_message / on_bytes if on_bytes > 0 else None


def _run(ground: Ground, kind: str, mails: int, system: str) -> None:
    outbox = ground.outboxes.new()
    log = ground.room() / "producer.log"
    what = ("benchmarks.producer", kind, outbox.url, 0, mails)
    profile = ground.profile(kind, mails)
    module, *arguments = what if profile is None else ("benchmarks.profiled", profile, *what)
    with Program(str(module), *arguments, log=log) as producer:
        (done,) = run_together([producer], timeout=patience(mails))
    stored = sum(outbox.states().values())
    ground.outboxes.remove(outbox)
    # Bare commits began with one mail, whose rows they repeat.
    expected = 0 if kind == "render" else mails + (kind in _BEGUN)
    if stored != expected:
        raise WrongCount(f"{stored} mails stored, and not {expected}")
    ground.note("enqueue", system, rate=mails / done["seconds"], cpu=done["cpu"] / mails * 1000)


def _note_share(ground: Ground) -> None:
    cpu = {
        key.system: rounds[ground.number]
        for key, rounds in ground.figures.values.items()
        if key.measurement == "enqueue" and key.quantity == "cpu" and ground.number in rounds
    }
    if cpu.keys() >= _SHARED and (share := own_share(cpu)) is not None:
        ground.note("enqueue", "own share", ratio=share)
