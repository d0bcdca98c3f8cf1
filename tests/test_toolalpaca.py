"""ToolAlpaca replayed: what the recorded APIs answer, and what a run scores, by hand on two small records."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from umi_local.errors import UsageError
from umi_local.evaluation.suite import Contestant, Item
from umi_local.evaluation.toolalpaca import Replay, ToolAlpaca, golden_facts, tells, toolalpaca
from umi_local.messages import ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

SEARCH = {
    "name": "search",
    "description": "",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}, "page": {"type": "integer"}},
        "required": ["query"],
    },
}
BOOK = {"name": "book", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}}
FOUND = (
    'Status Code: 200. Response: {"hotels": [{"name": "Grand Inn", "price": 1250.0, "url": "http://x"}], "ok": true}'
)
BROKEN = "Status Code: 500. Response: Internal Server Error"


def record(id: str, steps: Sequence[tuple[str, dict[str, Any], str]], **meta: Any) -> dict[str, Any]:
    told = [{"thought": "", "tool": tool, "arguments": a, "observation": seen} for tool, a, seen in steps]
    base = {"id": f"toolalpaca-sim-{id}", "source": "toolalpaca", "tools": [SEARCH, BOOK], "history": []}
    return {**base, "query": "A hotel", "steps": told, "answer": "", "meta": meta}


def write(folder: Path, data: Any) -> Path:
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "toolalpaca_simulated.json.gz").write_bytes(gzip.compress(json.dumps(data).encode()))
    return folder


@pytest.fixture
def suite(tmp_path: Path) -> ToolAlpaca:
    records = [
        record("Hotels-0", [("search", {"query": "hotel"}, FOUND), ("book", {"id": 7}, "")]),
        record("Hotels-1", [("search", {"query": "${x}"}, BROKEN)], reference_args=True),
    ]
    return toolalpaca(write(tmp_path, {"apis": [], "golden_runs": [], "records": records}))


def runner(calls: Callable[[Item], Sequence[ToolCall]], answer: str | None = None) -> Callable[[Item], Contestant]:
    """A contestant that makes these calls and answers with `answer`, or with all that it saw."""

    def make(item: Item) -> Contestant:
        def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
            for call in calls(item):
                start = start.with_step(Step(Decision("", Next.CALL), (call,), (toolbox.run(call),)))
            seen = " ".join(observation.content for step in start.steps for observation in step.observations)
            return start.ended(StopReason.ANSWERED, seen if answer is None else answer)

        return Contestant(cast(Crew, None), run)

    return make


def gold_calls(item: Item) -> Sequence[ToolCall]:
    return cast(Sequence[ToolCall], item.content.calls)


def scores(suite: ToolAlpaca, contestant_for: Callable[[Item], Contestant]) -> dict[str, tuple[float, float]]:
    total: dict[str, tuple[float, float]] = {}
    for item in suite.items():
        prediction = json.loads(json.dumps(suite.predict(item, contestant_for(item))))
        for name, (score, count) in suite.tally(item, prediction).items():
            before = total.get(name, (0.0, 0.0))
            total[name] = (before[0] + score, before[1] + count)
    return total


def test_the_golden_run_scores_everything(suite: ToolAlpaca) -> None:
    assert scores(suite, runner(gold_calls)) == {
        "step_tool": (3, 3),
        "procedure": (2, 2),
        "step_arguments": (2, 2),
        "whole": (1, 1),
        "answer": (1, 1),
        "overall": (1, 1),
    }
    assert [item.stratum for item in suite.items()] == ["Hotels", "Hotels"]


def test_no_calls_score_nothing(suite: ToolAlpaca) -> None:
    found = scores(suite, runner(lambda item: (), "I cannot help."))
    assert set(found) == set(suite.metrics)
    assert all(score == 0 for score, _ in found.values())


def test_right_tools_with_wrong_arguments(suite: ToolAlpaca) -> None:
    found = scores(suite, runner(lambda item: [ToolCall(call.name, {"query": "no"}) for call in gold_calls(item)]))
    assert (found["step_tool"], found["procedure"]) == ((3, 3), (2, 2))
    assert (found["step_arguments"], found["whole"], found["answer"], found["overall"]) == (
        (0, 2),
        (0, 1),
        (0, 1),
        (0, 1),
    )


def test_a_call_too_much_leaves_the_steps_right_but_not_the_procedure(suite: ToolAlpaca) -> None:
    found = scores(suite, runner(lambda item: [ToolCall("book", {}), *gold_calls(item)]))
    assert (found["step_tool"], found["procedure"], found["whole"]) == ((3, 3), (0, 2), (0, 1))


def test_what_the_recorded_apis_answer(suite: ToolAlpaca) -> None:
    replay = Replay(suite.items()[0].content)
    assert replay.run(ToolCall("search", {"query": " HOTEL "})).content == FOUND
    assert replay.run(ToolCall("search", {"query": "hotel", "page": 2})).content == FOUND
    other = replay.run(ToolCall("search", {"query": "inn"}))
    assert (other.is_error, other.content) == (True, "search has no result for these arguments.")
    assert replay.run(ToolCall("fly")).is_error
    assert replay.run(ToolCall("book", {"id": 8})).content == "Done."
    assert Replay(suite.items()[1].content).run(ToolCall("search", {"query": "${x}"})).is_error


def test_a_recorded_step_answers_before_one_that_was_used(tmp_path: Path) -> None:
    steps = [("search", {"query": "a"}, "one"), ("search", {"query": "a"}, "two")]
    replay = Replay(toolalpaca(write(tmp_path, {"records": [record("H-0", steps)]})).items()[0].content)
    assert [replay.run(ToolCall("search", {"query": "a"})).content for _ in range(3)] == ["one", "two", "one"]


def test_the_facts_of_the_golden_results(suite: ToolAlpaca) -> None:
    assert [golden_facts(item.content) for item in suite.items()] == [["Grand Inn", "1250"], []]


@pytest.mark.parametrize(
    ("answer", "facts", "right"),
    [
        ("The grand inn is full.", ["Grand Inn", "1250"], True),
        ("It costs 1,250.00 euros.", ["Grand Inn", "1250"], True),
        ("It costs 12500.", ["Grand Inn", "1250"], False),
        ("one two three", ["one", "two", "three", *(f"f{i}" for i in range(9))], True),
        ("one two", ["one", "two", *(f"f{i}" for i in range(9))], False),
        ("A psychological story about school", ["A psychological thriller about a high school student"], True),
        ("A story", ["A psychological thriller about a high school student"], False),
        ("", ["x1"], False),
    ],
)
def test_the_rule_for_answers(answer: str, facts: list[str], right: bool) -> None:
    assert tells(answer, facts) is right


def test_what_went_wrong_is_told(suite: ToolAlpaca) -> None:
    item = suite.items()[0]
    prediction = suite.predict(item, runner(lambda item: [ToolCall("book", {})], "No.")(item))
    assert suite.failed(item, prediction) == [
        'called book{}; golden: search{"query": "hotel"}, book{"id": 7}',
        "the answer does not tell enough of: Grand Inn; 1250",
    ]
    assert suite.failed(item, suite.predict(item, runner(gold_calls)(item))) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "has no list of records"),
        ({"records": [{}]}, "is not a recorded run"),
        ({"records": [{**record("H-0", []), "tools": []}]}, "lists no tools"),
    ],
)
def test_a_file_of_another_format_is_refused(data: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        toolalpaca(write(tmp_path, data))
    with pytest.raises(UsageError, match="no split"):
        toolalpaca(tmp_path, "real")


@pytest.mark.skipif("UMI_LOCAL_DATA" not in os.environ, reason="UMI_LOCAL_DATA names no data folder")
def test_on_the_real_file_the_golden_runs_score_everything() -> None:
    suite = toolalpaca(Path(os.environ["UMI_LOCAL_DATA"]))
    assert len(suite.items()) == 100
    assert all(score == count for score, count in scores(suite, runner(gold_calls)).values())
