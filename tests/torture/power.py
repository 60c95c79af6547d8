"""A model of lost power: what was synced is on the disk, and of the rest anything or nothing."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mailqueue import Limits, Outbox
from tests.torture.mails import SENDER, Mail
from tests.torture.past import Past, fingerprint, log_of
from tests.torture.tally import Tally

CUTS = 100
"""Cuts into the same past."""
_SECTOR = 512
_PAGE = 4096
_ANY_ROW = "UPDATE mailqueue_recipients SET lease = lease + 1"
_TORN = 0.3
"""How often the power fails in a checkpoint, and not while the log grows."""
_SHARED = 0.3
"""How often there is something left that was shared memory."""
_GOES_ON = 0.1
"""How often the next mail is enqueued by a producer; otherwise any row is written."""


@dataclass(frozen=True, slots=True)
class Wreck:
    """The files after a cut, and the moments of which one must be found in them."""

    how: str
    file: bytes
    log: bytes
    allowed: tuple[str, ...]


def run(seed: int, seconds: float) -> Tally:
    """Cut the power for about so many seconds. Raises AssertionError with how to replay it."""
    deadline = time.monotonic() + seconds
    pasts = 0
    while not pasts or time.monotonic() < deadline:
        cut(f"{seed}-{pasts}")
        pasts += 1
    return Tally("power", "power cuts", pasts * CUTS, duplicates=0, doubts=0, losses=0)


def cut(seed: str, cuts: int = CUTS) -> None:
    """Live through one past, and lose the power at ``cuts`` places of it.

    Raises AssertionError where anything is gone that had been acknowledged, or there is
    something that never was.
    """
    chance = Random(seed)
    with tempfile.TemporaryDirectory(prefix="power-") as directory:
        past = Past(Path(directory, "outbox.db"), chance)
        past.live()
        for number in range(cuts):
            wreck = (_torn if chance.random() < _TORN else _lost)(past, chance)
            try:
                _recover(Path(directory, f"{number}.db"), wreck, chance)
            except AssertionError as error:
                raise AssertionError(
                    f"power, seed {seed!r}, cut {number}, {wreck.how}: {error}\n"
                    f"replay: python -c 'from tests.torture.power import cut; cut({seed!r})'"
                ) from error


def _lost(past: Past, chance: Random) -> Wreck:
    """Lose the power after a commit: what the log had behind its sync is there in part, or not."""
    number = chance.randrange(len(past.eras))
    era = past.eras[number]
    last = chance.randrange(len(era.moments))
    synced = era.moments[last].synced
    at = chance.randint(synced, len(era.log))
    # The log begins anew with each era, over the octets of the one before.
    older = past.eras[number - 1].log if number else b""
    found = chance.choice((_nothing, _zeros, _garbage, _sectors, _older))
    return Wreck(
        f"{found.__name__.strip('_')} from octet {at} of {len(era.log)}, {synced} synced",
        era.file,
        era.log[:at] + found(era.log[at:], older[at:], chance),
        tuple(moment.fingerprint for moment in era.moments[last:]),
    )


def _nothing(_written: bytes, _older: bytes, _chance: Random) -> bytes:
    return b""


def _zeros(written: bytes, _older: bytes, _chance: Random) -> bytes:
    return bytes(len(written))


def _garbage(written: bytes, _older: bytes, chance: Random) -> bytes:
    return chance.randbytes(len(written))


def _sectors(written: bytes, _older: bytes, chance: Random) -> bytes:
    """Return ``written`` with some of its sectors, as a disk that writes in its own order."""
    cuts = range(0, len(written), _SECTOR)
    sectors = [written[start : start + _SECTOR] for start in cuts]
    return b"".join(one if chance.random() < 0.5 else bytes(len(one)) for one in sectors)


def _older(_written: bytes, older: bytes, _chance: Random) -> bytes:
    return older


def _torn(past: Past, chance: Random) -> Wreck:
    """Lose the power in a checkpoint: the file has some of its new pages, and the log is whole."""
    number = chance.randrange(len(past.eras) - 1)
    era, new = past.eras[number], past.eras[number + 1].file
    length = chance.choice((len(era.file), len(new)))
    pages = (
        chance.choice((era.file, new))[start : start + _PAGE].ljust(_PAGE, b"\0")
        for start in range(0, length, _PAGE)
    )
    return Wreck(
        f"in the checkpoint of era {number}",
        b"".join(pages),
        era.log,
        (era.moments[-1].fingerprint,),
    )


def _recover(path: Path, wreck: Wreck, chance: Random) -> None:
    """Open what is left, and go on with it."""
    path.write_bytes(wreck.file)
    log_of(path).write_bytes(wreck.log)
    if chance.random() < _SHARED:
        # Shared memory has no meaning after a boot, whatever the file system made of it.
        path.with_name(f"{path.name}-shm").write_bytes(chance.randbytes(32_768))
    with closing(sqlite3.connect(path)) as connection:
        ((found,),) = connection.execute("PRAGMA integrity_check")
        assert found == "ok", found
        assert fingerprint(connection) in wreck.allowed, "what was acknowledged is gone or changed"
        connection.execute(_ANY_ROW)
        connection.commit()
    if chance.random() < _GOES_ON:
        _enqueue(path)


def _enqueue(path: Path) -> None:
    mail = Mail(10_000)
    with Outbox(f"sqlite:///{path}", limits=Limits(free_disk=None)) as outbox:
        receipt = outbox.enqueue(mail.raw, sender=SENDER, recipients=mail.recipients)
        assert outbox.status(receipt.id).message_id == mail.message_id
