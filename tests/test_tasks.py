"""How everyday tasks are read and scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from umi_local.cli.eval_tasks import digest_of
from umi_local.errors import ContextFull, ModelFailed, UsageError
from umi_local.evaluation.meter import Meter
from umi_local.evaluation.store import Result, Store
from umi_local.evaluation.tasks import Task, read_tasks, run_tasks, score
from umi_local.trajectory import StopReason, Trajectory


def answered(answer: str) -> Trajectory:
    return Trajectory("q").ended(StopReason.ANSWERED, answer)


@pytest.mark.parametrize(
    ("fields", "answer", "tools", "passed"),
    [
        ({"tools": ["a"], "answer_any": ["42"]}, "It is 42.", ["a"], True),
        ({"tools": ["a"], "answer_any": ["42"]}, "It is 42.", [], False),
        ({"tools": ["a"], "answer_any": ["42"]}, "It is 41.", ["a"], False),
        ({"tools": ["a"], "answer_any": ["42"]}, "It is 42.", ["b", "a", "a"], True),
        ({"tools": ["a", "b"], "answer_any": ["42"]}, "42", ["a"], False),
        ({"tools": [], "answer_any": ["hello"]}, "HELLO!", [], True),
        ({"tools": [], "answer_any": ["hello"]}, "hello", ["a"], False),
        ({"tools": [], "answer_any": ["1845"]}, "1,845.00", [], True),
        ({"tools": [], "answer_any": ["22,140"]}, "22140", [], True),
        ({"tools": [], "answer_all": ["tea", "milk"]}, "Tea", [], False),
        ({"tools": [], "answer_all": ["tea", "milk"]}, "Milk, tea", [], True),
        ({"tools": [], "answer_today": "weekday"}, "It is Monday.", [], True),
        ({"tools": [], "answer_today": "year"}, "2025", [], False),
        ({"tools": [], "answer_today": "date"}, "23 November 2026", [], True),
        ({"tools": []}, "", [], False),
    ],
)
def test_a_task_needs_its_tools_and_its_answer(fields, answer, tools, passed):
    task = Task.model_validate({"id": "t", "query": "q", **fields})
    made = {"called": tools, "answer": answer, "stop": "answered", "day": "2026-11-23"}  # a Monday
    assert score(task, Result("t", made)).passed is passed


TASKS = [Task(id="same", query=query, tools=(), answer_any=("fine",)) for query in ("long", "good", "last")]


def test_a_run_that_does_not_fit_counts_as_failed_and_the_next_goes_on(tmp_path: Path):
    def run(query: str) -> Trajectory:
        if query == "long":
            raise ContextFull("It is too long.")
        return answered("fine")

    scores = list(run_tasks(TASKS, run, Meter(), Store(tmp_path, {})))
    assert [(s.passed, s.stop) for s in scores] == [(False, "It is too long."), *[(True, "answered")] * 2]


def test_a_backend_that_dies_ends_the_measurement_and_finished_tasks_are_kept(tmp_path: Path):
    asked: list[str] = []

    def run(query: str) -> Trajectory:
        asked.append(query)
        if len(asked) == 3:
            raise ModelFailed("The server is gone.")
        return answered("fine")

    with pytest.raises(ModelFailed):
        list(run_tasks(TASKS, run, Meter(), Store(tmp_path, {})))
    scores = list(run_tasks(TASKS, run, Meter(), Store(tmp_path, {})))
    assert asked == ["long", "good", "last", "last"]
    assert all(score.passed for score in scores) and len(scores) == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "Line 2"),
        ('{"id": "x"}', "query"),
        ('{"id": "x", "query": "q", "tools": [], "answr": []}', "answr"),
        ('{"id": "a", "query": "another", "tools": []}', "Line 2 of .* has the id 'a' of a task before it"),
    ],
)
def test_a_line_that_is_no_task_is_named(tmp_path: Path, line: str, told: str):
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"id": "a", "query": "q", "tools": []}\n' + line)
    with pytest.raises(UsageError, match=told):
        read_tasks(file)


def test_files_of_other_content_are_another_workspace(tmp_path: Path):
    (tmp_path / "a.txt").write_text("1")
    before = digest_of(tmp_path)
    (tmp_path / "a.txt").write_text("2")
    changed = digest_of(tmp_path)
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert len({before, changed, digest_of(tmp_path)}) == 3


EVERYDAY = Path(__file__).parent / "everyday"  # apart_*: by other authors, run at the end alone


@pytest.mark.parametrize("name", ["dev", "pasted", "household", "apart_1", "apart_2"])
def test_the_tasks_that_we_keep_can_be_read(name):
    tasks = read_tasks(EVERYDAY / f"{name}.jsonl")
    assert len({task.id for task in tasks}) == len(tasks) > 15
