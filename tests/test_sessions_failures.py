"""Saved conversations when things go wrong: real files, real locks, real processes, real kills."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umi_local.errors import StorageError
from umi_local.events import RunEnded, RunStarted, StepEnded
from umi_local.sessions import SessionStore
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
def store(path: Path) -> SessionStore:
    return SessionStore(path, lock_seconds=0.2)


def saved(store: SessionStore) -> str:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    step = Step(Decision("look", Next.CONCLUDE))
    emit(RunStarted(Trajectory("q")))
    emit(StepEnded(0, step))
    emit(RunEnded(Trajectory("q", steps=(step,)).ended(StopReason.ANSWERED, "a")))
    return session


@posix_only
def test_only_the_owner_can_read_what_was_said(store: SessionStore, path: Path) -> None:
    umask = os.umask(0)
    try:
        saved(store)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_no_database_is_left_alone_and_told_to_be_moved(store: SessionStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 100)
    with pytest.raises(StorageError, match="move it away"):
        store.create("p", "/", "multi")
    assert path.read_bytes() == b"Dear diary, " * 100


@pytest.mark.parametrize("version", [0, 1, 7])
def test_another_programs_database_is_left_alone(store: SessionStore, path: Path, version: int) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.executescript(f"CREATE TABLE diary (day TEXT); PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="not written by umi-local"):
        store.list()
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_left_alone(store: SessionStore, path: Path) -> None:
    saved(store)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="newer umi-local"):
        store.list()


def test_a_damaged_record_is_a_sentence(store: SessionStore, path: Path) -> None:
    session = saved(store)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE steps SET step = '{}'")
    connection.close()
    with pytest.raises(StorageError, match="damaged"):
        store.trajectories(session)


def test_a_file_that_another_process_keeps_locked_is_a_sentence(store: SessionStore, path: Path) -> None:
    session = saved(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StorageError, match="in use by another process"):
            store.remove(session)
        assert store.list()[0].id == session
    finally:
        other.close()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        SessionStore(tmp_path / "file" / "sessions.db").list()


def test_a_folder_in_the_place_of_the_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be used"):
        SessionStore(tmp_path).list()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_a_sentence(store: SessionStore, path: Path) -> None:
    saved(store)
    path.chmod(0o400)
    with pytest.raises(StorageError, match="could not be used"):
        store.create("p", "/", "multi")


HEAD = """
import sys
from pathlib import Path
from umi_local.errors import StorageError
from umi_local.events import RunEnded, RunStarted, StepEnded
from umi_local.sessions import SessionStore
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

store = SessionStore(Path(sys.argv[1]))

def record(emit, run, steps):
    trajectory = Trajectory(f"query {run}")
    emit(RunStarted(trajectory))
    for index in range(steps):
        step = Step(Decision(f"{run}.{index} " + "x" * 3000, Next.CALL))
        trajectory = trajectory.with_step(step)
        emit(StepEnded(index, step))
        print(run, index, flush=True)
    emit(RunEnded(trajectory.ended(StopReason.ANSWERED, "done")))
    print(run, "end", flush=True)
"""

FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
emit = store.record(store.create("p", "/", "multi"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for run in range(1000):
        record(emit, run, 10)
except StorageError as error:
    print(error)
"""

ENDLESS = """
session = store.create("p", "/", "multi")
print(session, flush=True)
emit = store.record(session)
for run in range(100_000):
    record(emit, run, 3)
"""

SEVERAL = """
sys.stdin.readline()
session = store.create("p", "/", "multi")
print(session, flush=True)
emit = store.record(session)
for run in range(10):
    record(emit, run, 3)
"""


def child(code: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEAD + code, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@posix_only
def test_a_disk_that_takes_no_more_is_a_sentence_and_what_was_stored_stays(store: SessionStore, path: Path) -> None:
    output, _ = child(FULL_DISK, path).communicate(timeout=60)
    *acknowledged, last = output.splitlines()
    assert str(path) in last
    runs = store.trajectories(store.latest().id)
    assert sum(len(run.steps) for run in runs) >= sum(not line.endswith("end") for line in acknowledged)


@posix_only
def test_a_kill_at_any_moment_loses_at_most_the_step_in_flight(store: SessionStore, path: Path) -> None:
    for _ in range(6):
        process = child(ENDLESS, path)
        assert process.stdout is not None
        session = process.stdout.readline().strip()
        time.sleep(random.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        # A full pipe may have taken a part of the last line; only what ends was said.
        complete = process.communicate()[0].rpartition("\n")[0]
        acknowledged = [line.split() for line in complete.splitlines()]
        runs = store.trajectories(session)
        for number, run in enumerate(runs):
            assert run.query == f"query {number}"
            assert [step.decision.rationale.split()[0] for step in run.steps] == [
                f"{number}.{index}" for index in range(len(run.steps))
            ]
        for told, what in acknowledged:
            run = runs[int(told)]
            assert run.stop is StopReason.ANSWERED if what == "end" else len(run.steps) > int(what)
        assert [run.stop for run in runs[:-1]] == [StopReason.ANSWERED] * (len(runs) - 1)


def test_processes_that_start_and_write_at_once_lose_nothing(store: SessionStore, path: Path) -> None:
    processes = [child(SEVERAL, path) for _ in range(3)]
    time.sleep(0.5)  # until each waits for its line
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        runs = store.trajectories(output.split()[0])
        assert [(run.query, len(run.steps)) for run in runs] == [(f"query {number}", 3) for number in range(10)]
