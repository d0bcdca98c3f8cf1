"""Saved conversations: what was recorded, found again, shown and removed."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from umi_local.errors import StorageError, UsageError
from umi_local.events import RunEnded, RunStarted, StepEnded, TurnStarted
from umi_local.messages import Message, Observation, Role, Speaker, ToolCall, ToolSpec
from umi_local.sessions import SessionStore
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
def store(path: Path) -> SessionStore:
    return SessionStore(path, lock_seconds=0.2)


def a_step(rationale: str = "look it up") -> Step:
    call, observation = (
        ToolCall("search", {"text": "a\u00e4\u65e5"}),
        Observation("nothing", is_error=True, denied=True),
    )
    return Step(Decision(rationale, Next.CALL), (call,), (observation,))


def a_run(query: str, *steps: Step, answer: str = "42") -> Trajectory:
    tools = (ToolSpec("search", "Finds.", {"type": "object"}),)
    return Trajectory(query, tools, context="Today is Friday.", steps=steps).ended(StopReason.ANSWERED, answer)


def record(store: SessionStore, session: str, run: Trajectory) -> None:
    emit = store.record(session)
    emit(RunStarted(Trajectory(run.query, run.tools, run.history, run.context)))
    for index, step in enumerate(run.steps):
        emit(TurnStarted(Role.PLANNER, index))
        emit(StepEnded(index, step))
    emit(RunEnded(run))


def saved(store: SessionStore, *runs: Trajectory) -> str:
    session = store.create("qwen", "/work", "multi")
    for run in runs:
        record(store, session, run)
    return session


def test_runs_come_back_as_they_were_recorded_and_in_order(store: SessionStore) -> None:
    runs = (a_run("first", a_step(), a_step("again")), a_run("second"))
    assert store.trajectories(saved(store, *runs)) == runs


def test_a_branch_begins_as_its_session_does_and_leaves_it_alone(store: SessionStore) -> None:
    runs = (a_run("first", a_step(), a_step("again")), a_run("second"), a_run("third"))
    session = saved(store, *runs)
    branch = store.branch(session, 2)
    record(store, branch, a_run("another"))
    assert store.trajectories(branch) == (*runs[:2], a_run("another"))
    assert store.trajectories(session) == runs
    store.remove(session)
    assert store.trajectories(branch)[:2] == runs[:2]


def test_what_was_said_before_is_not_stored_twice(store: SessionStore) -> None:
    run = Trajectory("q", history=(Message(Speaker.USER, "earlier"),)).ended(StopReason.ANSWERED, "a")
    assert store.trajectories(saved(store, run)) == (Trajectory("q").ended(StopReason.ANSWERED, "a"),)


def test_a_run_that_has_not_ended_is_kept_with_its_steps_and_called_interrupted(store: SessionStore) -> None:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    emit(RunStarted(Trajectory("q")))
    emit(StepEnded(0, a_step()))
    assert store.trajectories(session) == (Trajectory("q", steps=(a_step(),)),)
    assert store.get(session).state == "interrupted"
    assert json.loads(store.export(session, "json"))["runs"][0]["stop"] == "interrupted"


def test_the_end_of_a_run_has_the_last_word_on_its_steps(store: SessionStore) -> None:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    emit(RunStarted(Trajectory("q")))
    emit(StepEnded(1, a_step()))
    ended = Trajectory("q", steps=(a_step(), Step(Decision("stopped here", Next.CALL)))).ended(StopReason.CANCELLED)
    emit(RunEnded(ended))
    assert store.trajectories(session) == (ended,)


def test_one_recorder_takes_run_after_run_from_any_thread(store: SessionStore) -> None:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    for query in ("first", "second"):
        for event in (RunStarted(Trajectory(query)), RunEnded(a_run(query))):
            thread = threading.Thread(target=emit, args=(event,))
            thread.start()
            thread.join()
    assert [run.query for run in store.trajectories(session)] == ["first", "second"]


def test_text_that_is_not_unicode_is_stored(store: SessionStore) -> None:
    run = a_run("caf\udce9 \x00", a_step("\ud800"), answer="\udfff")
    session = saved(store, run)
    assert store.trajectories(session) == (run,)
    assert [found.id for found in store.list(search="caf\udce9")] == [session]


def test_sessions_are_listed_by_last_use_with_first_question_and_last_state(store: SessionStore) -> None:
    older, newer = saved(store, a_run("one")), saved(store, a_run("two"))
    assert [found.id for found in store.list()] == [newer, older]
    record(store, older, Trajectory("three").ended(StopReason.GAVE_UP))
    latest = store.latest()
    assert (latest.id, latest.runs, latest.title, latest.state) == (older, 2, "one", "gave_up")
    assert (latest.pack, latest.workspace, latest.mode) == ("qwen", "/work", "multi")
    assert [found.id for found in store.list(limit=1)] == [older]


def test_a_search_looks_in_questions_and_answers_whatever_the_case(store: SessionStore) -> None:
    first, second = saved(store, a_run("Wo ist die STRASSE?")), saved(store, a_run("x", answer="\u00c4rger 100%"))
    assert [found.id for found in store.list(search="stra\u00dfe")] == [first]
    assert [found.id for found in store.list(search="\u00e4RGER 100%")] == [second]
    assert store.list(search="%_") == ()


def test_a_session_in_which_nothing_was_asked_is_not_listed(store: SessionStore) -> None:
    session = store.create("qwen", "/work", "multi")
    assert store.list() == ()
    assert store.get(session).state == "empty"
    with pytest.raises(UsageError, match="no session yet"):
        store.latest()


def test_ids_sort_by_time_and_their_beginning_is_enough(store: SessionStore) -> None:
    ids = [store.create("p", "/", "multi") for _ in range(3)]
    assert len(set(ids)) == 3
    assert store.get(ids[0]).id == ids[0]
    assert store.get(ids[0][:-1]).id in ids
    with pytest.raises(UsageError, match="begins several session ids"):
        store.get("2")
    for unknown in ("x", "", "%", ids[0] + "0"):
        with pytest.raises(UsageError, match="There is no session"):
            store.get(unknown)


def test_a_removed_session_is_gone_from_the_file_as_well(store: SessionStore, path: Path) -> None:
    kept, doomed = (
        saved(store, a_run("kept", a_step())),
        saved(store, a_run("a secret thing", a_step("my secret plan"))),
    )
    assert b"secret" in path.read_bytes()
    store.remove(doomed)
    assert [found.id for found in store.list()] == [kept]
    assert b"secret" not in path.read_bytes()
    with pytest.raises(UsageError, match="There is no session"):
        store.remove(doomed)


def test_a_session_removed_while_it_is_recorded_is_a_sentence_and_stays_removed(store: SessionStore) -> None:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    emit(RunStarted(Trajectory("q")))
    store.remove(session)
    with pytest.raises(StorageError, match="removed in the meantime"):
        emit(StepEnded(0, a_step()))
    with pytest.raises(StorageError, match="removed in the meantime"):
        emit(RunStarted(Trajectory("q")))
    assert store.list() == ()


def test_a_run_is_not_written_into_the_session_that_has_its_number_now(store: SessionStore) -> None:
    first = store.create("qwen", "/work", "multi")
    emit = store.record(first)
    emit(RunStarted(Trajectory("a secret thing")))
    store.remove(first)
    second = store.create("qwen", "/work", "multi")
    store.record(second)(RunStarted(Trajectory("another")))  # SQLite gives its number again
    for event in (StepEnded(0, a_step()), RunEnded(a_run("a secret thing", a_step()))):
        with pytest.raises(StorageError, match="removed in the meantime"):
            emit(event)
    assert [(run.query, run.steps) for run in store.trajectories(second)] == [("another", ())]


def test_an_export_as_json_holds_everything(store: SessionStore) -> None:
    session = saved(store, a_run("q", a_step()))
    told = json.loads(store.export(session, "json"))
    assert (told["schema_version"], told["id"], told["pack"], told["title"]) == (1, session, "qwen", "q")
    (run,) = told["runs"]
    assert (run["query"], run["answer"], run["stop"]) == ("q", "42", "answered")
    assert run["steps"][0]["observations"] == [{"content": "nothing", "is_error": True, "denied": True}]
    assert run["started"] <= run["ended"]


def test_an_export_as_markdown_can_be_read(store: SessionStore) -> None:
    page = store.export(saved(store, a_run("What is it?", a_step())), "markdown")
    assert "> What is it?" in page
    assert "look it up" in page
    assert page.endswith("42\n")


def test_a_file_of_the_version_before_titles_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    store = SessionStore(path)
    session = store.create("pack", tmp_path, "multi")
    store.record(session)(RunStarted(Trajectory("What is new?")))
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE titles; PRAGMA user_version = 1;")
    (held,) = SessionStore(path).list()
    assert held.title == "What is new?"
    SessionStore(path).rename(session, "  News\n of today ")
    assert SessionStore(path).get(session).title == "News of today"
    SessionStore(path).rename(session, "")
    assert SessionStore(path).get(session).title == "What is new?"
