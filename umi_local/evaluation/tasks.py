"""Everyday tasks: whole runs with real tools, scored by what was called and what the answer contains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from umi_local.errors import ContextFull, UsageError
from umi_local.evaluation.matching import plain
from umi_local.evaluation.meter import Meter
from umi_local.evaluation.store import Result, Store
from umi_local.trajectory import Trajectory
from umi_local.wire import step_to_json

# How a run of one query is made: with a workspace and a notes file of its own.
Run = Callable[[str], Trajectory]

_TODAY = {"weekday": ("%A",), "year": ("%Y",), "month": ("%B", "%Y-%m"), "date": ("%Y-%m-%d", "%-d %B", "%B %-d")}


class Task(BaseModel):
    """One line of a task file. `tools` is what a right run calls at least; empty: it must call none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    query: str
    tools: tuple[str, ...]
    answer_any: tuple[str, ...] = ()
    answer_all: tuple[str, ...] = ()
    answer_today: Literal["weekday", "year", "month", "date"] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How one task went. `called` has every tool called, in order; `steps` are as `wire.step_to_json` writes them;
    `cost` is what `Meter.stop` gives."""

    task: Task
    called: tuple[str, ...]
    tools_right: bool
    answer: str
    answer_right: bool
    stop: str
    cost: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]] = ()

    @property
    def passed(self) -> bool:
        return self.tools_right and self.answer_right


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file, one JSON object per line.

    Raises:
        UsageError: the file is missing, a line is not a task or two have one id; the sentence names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The task file {path} cannot be read: {error}.", "Name one with --file.") from None
    tasks: dict[str, Task] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = Task.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise UsageError(
                f"Line {number} of {path} is not a task: {where}: {first['msg'].lower()}.",
                "A task is a JSON object with id, query and the tools to call; answer_all and answer_any may follow.",
            ) from None
        if task.id in tasks:
            raise UsageError(f"Line {number} of {path} has the id {task.id!r} of a task before it.", "Give it another.")
        tasks[task.id] = task
    return list(tasks.values())


def run_tasks(tasks: Sequence[Task], run: Run, meter: Meter, store: Store) -> Iterator[Score]:
    """Run and score each task that the store does not hold yet.

    A run that does not fit into the context scores as failed, with the sentence as its stop. Any other failure is not
    the agent's and ends the measurement.

    Args:
        meter: it has to hear the events of the runs.
    """
    for number, task in enumerate(tasks, 1):
        name = f"{number} {task.id}"
        if name not in store.finished:
            meter.start()
            prediction = _prediction(run, task.query)
            store.add(Result(name, prediction, meter.stop()))
        yield score(task, store.finished[name])


def _prediction(run: Run, query: str) -> dict[str, Any]:
    """What became of a query, as JSON. The day is told since an answer may have to name it."""
    try:
        made = run(query)
    except ContextFull as error:
        return {"called": [], "answer": "", "stop": str(error), "day": date.today().isoformat(), "steps": []}
    return {
        "called": [call.name for step in made.steps for call in step.calls],
        "answer": made.answer,
        "stop": made.stop.value if made.stop else "",
        "day": date.today().isoformat(),
        "steps": [step_to_json(step) for step in made.steps],
    }


def score(task: Task, result: Result) -> Score:
    """Whether what became of a task is what it asks for."""
    made = result.prediction
    called = tuple(made["called"])
    tools_right = set(task.tools) <= set(called) if task.tools else not called
    answer_right = _contains(task, made["answer"], date.fromisoformat(made["day"]))
    return Score(
        task, called, tools_right, made["answer"], answer_right, made["stop"], result.cost, made.get("steps", ())
    )


def _contains(task: Task, answer: str, today: date) -> bool:
    said = plain(answer)
    any_of = list(task.answer_any)
    if task.answer_today:
        any_of += [today.strftime(form) for form in _TODAY[task.answer_today]]
    one = not any_of or any(plain(part) in said for part in any_of)
    return bool(said) and one and all(plain(part) in said for part in task.answer_all)


def report(scores: Sequence[Score], **provenance: object) -> dict[str, object]:
    """The JSON report; `provenance` says what was run (pack, mode, seed, versions)."""
    return {
        "schema_version": 1,
        "suite": "tasks",
        **provenance,
        "n": len(scores),
        "passed": sum(s.passed for s in scores),
        "tasks": [
            {
                "id": s.task.id,
                "query": s.task.query,
                "passed": s.passed,
                "tools": list(s.task.tools),
                "called": list(s.called),
                "tools_right": s.tools_right,
                "answer": s.answer,
                "answer_right": s.answer_right,
                "stop": s.stop,
                "steps": list(s.steps),
                "seconds": round(s.cost["wall_s"], 2),
                "cost": dict(s.cost),
            }
            for s in scores
        ],
    }
