from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.bare import Bare
from benchmarks.outbox import Outboxes, UnknownDatabase
from benchmarks.processes import cpu_seconds, pss_mib, tree
from benchmarks.table import BEGIN, END

ROOT = Path(__file__).parents[2]
QUICK = ["--without-postfix", "--mails", "50", "--rounds", "1", "--sessions", "3"]


def bench(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark with few mails and none of Postfix's programs."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--directory", str(directory), *QUICK, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_drain_and_latency_run_without_postfix(tmp_path: Path) -> None:
    """The whole way works with our own sink, writes all it was asked to, and leaves nothing."""
    figures, page, place = tmp_path / "f.json", tmp_path / "page.md", tmp_path / "place"
    page.write_text(f"{BEGIN}\n{END}\n")
    place.mkdir()
    ran = bench(
        place, "--only", "drain,latency", "--samples", "3", "--json", str(figures),
        "--write", str(page),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    written = json.loads(figures.read_text())
    assert written["failed"] == []
    assert written["figures"]["drain"]["mailqueue"]["rate"][0] > 0
    assert any("Postfix" in reason for reason in written["left_out"])
    assert "| Drain (mails/s) |" in page.read_text()
    assert "| Latency when idle, median (ms) |" in ran.stdout
    assert [*place.iterdir()] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_producers_and_long_queues_run_without_postfix(tmp_path: Path) -> None:
    """The measurements that are built otherwise than a drain work as well."""
    ran = bench(
        tmp_path, "--only", "e2e,million", "--queued", "600", "--producers", "2",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for label in ("End to end", "Drain, long queue"):
        assert f"| {label}" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_enqueueing_runs_in_all_its_kinds(tmp_path: Path) -> None:
    """Each kind of producer stores what it says, and the bare commits the same rows."""
    ran = bench(tmp_path, "--only", "enqueue")
    assert ran.returncode == 0, ran.stderr
    assert "| Own CPU on an EmailMessage" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_postgresql_runs_beside_sqlite() -> None:
    """Drains, producers and claims, on a server of its own that leaves nothing behind."""
    # Not in the test's own directory, which the server's user may not enter where root tests.
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        place = Path(name)
        place.chmod(0o755)
        ran = bench(place, "--only", "postgres", "--queued", "5000")
        assert [*place.iterdir()] == []
    assert ran.returncode == 0, ran.stderr
    assert "fsync on, synchronous_commit on" in ran.stderr
    for label in ("drain, 4 daemons", "enqueue, one by one"):
        assert f"| PostgreSQL / SQLite: {label}" in ran.stdout
    assert "| PostgreSQL: claim of 100, held back, stretch 3" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cProfile mixes threads up since 3.12")
def test_a_profile_tells_the_threads_of_the_daemon_apart(tmp_path: Path) -> None:
    """The event loop and the thread that writes each have a table of their own."""
    profiles = tmp_path / "profiles"
    ran = bench(tmp_path, "--only", "drain", "--profile", str(profiles))
    assert ran.returncode == 0, ran.stderr
    assert "MainThread" in ran.stdout
    assert "of CPU per mail under the profiler" in ran.stdout
    assert len([*profiles.glob("drain/*.prof")]) > 1


def test_an_unknown_measurement_is_named(tmp_path: Path) -> None:
    """A slip in ONLY= is told at once, with what there is."""
    ran = bench(tmp_path, "--only", "dran")
    assert ran.returncode == 2
    assert "no measurement dran; there are drain" in ran.stderr


def test_a_page_without_a_place_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """Half an hour of measuring is not lost at its end."""
    page = tmp_path / "page.md"
    page.write_text("no markers")
    ran = bench(tmp_path, "--only", "drain", "--write", str(page))
    assert ran.returncode == 2
    assert "has no lines" in ran.stderr
    assert "round 1" not in ran.stderr


def test_another_database_than_sqlite_is_refused(tmp_path: Path) -> None:
    """Nobody is given SQLite's figures for another database."""
    with pytest.raises(UnknownDatabase):
        Outboxes("postgresql://localhost/bench")


def test_bare_commits_store_what_mailqueue_stores(tmp_path: Path) -> None:
    """The ceiling of enqueueing writes rows that differ from the first in their numbers only."""
    outbox = Outboxes(f"sqlite:///{tmp_path}").new()
    bare = Bare(outbox.url)
    bare.commit()
    bare.commit(2)
    bare.close()
    connection = sqlite3.connect(outbox.path)
    query = (
        "SELECT count(*), count(DISTINCT m.id), count(DISTINCT c.raw), count(DISTINCT r.address) "
        "FROM mailqueue_messages m JOIN mailqueue_contents c ON c.message_id = m.id "
        "JOIN mailqueue_recipients r ON r.message_id = m.id WHERE r.state = 'queued'"
    )
    assert connection.execute(query).fetchone() == (4, 4, 1, 1)
    connection.close()


def test_a_queue_is_multiplied_to_different_recipients(tmp_path: Path) -> None:
    """Each mail of a long queue has its own recipient, content and due time, and is due."""
    outbox = Outboxes(f"sqlite:///{tmp_path}").new()
    outbox.multiply(25)
    connection = sqlite3.connect(outbox.path)
    query = (
        "SELECT count(DISTINCT r.address), count(DISTINCT r.due_at), count(DISTINCT m.id), "
        "max(r.due_at) <= max(m.enqueued_at) "
        "FROM mailqueue_recipients r JOIN mailqueue_messages m ON m.id = r.message_id "
        "JOIN mailqueue_contents c ON c.message_id = m.id"
    )
    assert connection.execute(query).fetchone()[0::2] == (25, 25)
    assert connection.execute(query).fetchone()[3] == 1
    connection.close()
    assert not outbox.is_finished()


def test_the_tree_of_a_process_holds_its_children_and_their_time() -> None:
    """A child that was waited for is counted, and one that runs is found."""
    used = "sum(range(3_000_000))"
    started = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{used}']); input()"
    before = cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", started], stdin=subprocess.PIPE) as process:
        assert process.pid in tree(os.getpid())
        assert pss_mib(process.pid) > 0
        process.communicate(b"\n")
    assert cpu_seconds(os.getpid()) > before
