"""BFCL: schemas, how calls are collected, and (where bfcl-eval is installed) what its own checkers say of them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from umi_local.constraints import inexpressible
from umi_local.errors import ContextFull, UsageError
from umi_local.evaluation import bfcl_checker
from umi_local.evaluation.bfcl import Bfcl, Session, as_code, bfcl
from umi_local.evaluation.bfcl_data import Question, read_questions, tool_spec
from umi_local.evaluation.suite import Contestant, Item
from umi_local.messages import Speaker, ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew, Incomplete
from umi_local.styles.data import chat_style
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

needs_package = pytest.mark.skipif(not importlib.util.find_spec("bfcl_eval"), reason="bfcl-eval is not installed")

AREA = {
    "name": "shape.area",
    "description": "The area",
    "parameters": {
        "type": "dict",
        "properties": {"base": {"type": "integer"}, "unit": {"type": "string", "default": "m", "optional": True}},
        "required": ["base", "gone"],
    },
}
HOTEL = {"name": "Hotels_2_BookHouse", "description": "", "parameters": {"type": "dict", "properties": {}}}


def question(category: str, function: dict[str, Any], truth: Sequence[Any] | None, number: int = 0) -> Question:
    entry = {
        "id": f"{category}_{number}",
        "question": [[{"role": "user", "content": "q"}]],
        "function": [{**function, "parameters": {"required": [], **function["parameters"]}}],
    }
    return Question(category, entry, truth, (tool_spec(function),))


def area(base: Any, *more: Any) -> dict[str, Any]:
    return {"shape.area": {"base": [base, *more], "unit": ["m", ""]}}


@dataclass
class Turns:
    """Makes the calls of `turns`, one entry per turn, and then concludes."""

    turns: Sequence[Sequence[ToolCall]]
    seen: list[Trajectory] = field(default_factory=list)

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        self.seen.append(trajectory)
        return Decision("so", Next.CALL if len(trajectory.steps) < len(self.turns) else Next.CONCLUDE)

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        return tuple(self.turns[len(trajectory.steps) - 1])

    def conclude(self, trajectory: Trajectory) -> str:
        return ""


def contestant(*turns: Sequence[ToolCall]) -> Contestant:
    return Contestant(Turns(turns), lambda start, toolbox: start)


def base(value: Any) -> ToolCall:
    return ToolCall("shape.area", {"base": value})


def predicted(suite: Bfcl, item: Item, who: Contestant) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(json.dumps(suite.predict(item, who))))


def scored(asked: Question, who: Contestant) -> dict[str, tuple[float, float]]:
    suite = Bfcl([asked], "")
    (item,) = suite.items()
    tally = suite.tally(item, predicted(suite, item, who))
    assert set(tally) == set(suite.metrics)
    return dict(tally)


def test_bfcl_types_become_json_schema() -> None:
    described = {
        "name": "f.g",
        "description": "d",
        "parameters": {
            "type": "dict",
            "properties": {
                "n": {"type": "float", "description": "x", "optional": True},
                "pair": {"type": "tuple", "items": {"type": "float"}},
                "who": {"type": "any"},
                "deep": {"type": "dict", "properties": {"k": {"type": "boolean"}}, "required": ["k"]},
                "free": {"type": "dict"},
                "days": {"type": "array", "items": {"type": "string"}, "enum": ["Mo", "Tu"]},
                "kind": {"type": "integer", "enum": ["1", "2"]},
            },
            "required": ["n", "not there"],
        },
    }
    spec = tool_spec(described)
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "n": {"type": "number", "description": "x"},
            "pair": {"type": "array", "items": {"type": "number"}},
            "who": {},
            "deep": {"type": "object", "properties": {"k": {"type": "boolean"}}, "required": ["k"]},
            "free": {"type": "object"},
            "days": {"type": "array", "items": {"enum": ["Mo", "Tu"]}},
            "kind": {"enum": ["1", "2"]},
        },
        "required": ["n"],
    }
    assert inexpressible(spec, chat_style().language) == ""


def test_messages_become_context_history_and_query() -> None:
    said = [("system", "be kind"), ("user", "one"), ("assistant", "two"), ("user", "three")]
    entry = {"id": "x", "question": [[{"role": role, "content": text} for role, text in said]], "function": []}
    (start,) = Question("live_irrelevance", entry, None, ()).starts()
    assert (start.query, start.context) == ("three", "be kind")
    assert [(m.speaker, m.text) for m in start.history] == [(Speaker.USER, "one"), (Speaker.CONCLUSION, "two")]


def test_no_call_is_right_where_nothing_fits_and_wrong_where_something_does() -> None:
    call = contestant([base(1)])
    assert scored(question("irrelevance", AREA, None), contestant()) == {"irrelevance": (1, 1)}
    assert scored(question("irrelevance", AREA, None), call) == {"irrelevance": (0, 1)}
    assert scored(question("live_relevance", AREA, None), contestant()) == {"live_relevance": (0, 1)}
    assert scored(question("live_relevance", AREA, None), call) == {"live_relevance": (1, 1)}


def test_live_items_on_sgd_schemas_count_apart() -> None:
    assert scored(question("live_irrelevance", HOTEL, None), contestant()) == {"live_irrelevance_sgd": (1, 1)}
    assert scored(question("irrelevance", HOTEL, None), contestant()) == {"irrelevance": (1, 1)}


def test_calls_are_collected_until_the_crew_concludes_or_repeats_itself() -> None:
    suite = Bfcl([question("parallel", AREA, [area(1)])], "")
    (item,) = suite.items()
    who = Turns([[base(1), base(2)], [base(2)], [base(3)]])
    prediction = predicted(suite, item, Contestant(who, lambda start, toolbox: start))
    assert [call["arguments"]["base"] for call in prediction["calls"]] == [1, 2]
    assert [observation.content for observation in who.seen[1].steps[0].observations] == ["Done.", "Done."]
    assert len(predicted(suite, item, contestant(*([base(i)] for i in range(20))))["calls"]) == 8


@pytest.mark.parametrize(("problem", "told"), [(Incomplete(), "a call was cut off"), (ContextFull("Full."), "Full.")])
def test_a_call_that_was_begun_is_not_the_same_as_none(problem: Exception, told: str) -> None:
    class Cut(Turns):
        def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
            raise problem

    suite = Bfcl([question("irrelevance", AREA, None)], "")
    (item,) = suite.items()
    prediction = predicted(suite, item, Contestant(Cut([[base(1)]]), lambda start, toolbox: start))
    assert suite.tally(item, prediction) == {"irrelevance": (False, 1)}
    assert suite.failed(item, prediction) == [told]


@needs_package
@pytest.mark.parametrize(
    ("category", "truth", "calls", "right", "names"),
    [
        ("simple_python", [area(3)], [base(3)], 1, 1),
        ("simple_python", [area(3)], [base(4)], 0, 1),
        ("simple_python", [area(3)], [base(3), base(4)], 0, 0),
        ("multiple", [area(3)], [ToolCall("shape.area", {"base": 3, "unit": "M"})], 1, 1),
        ("multiple", [area(3)], [ToolCall("other", {"base": 3})], 0, 0),
        ("multiple", [area(3)], [ToolCall("shape.area", {"base": "3"})], 0, 1),
        ("parallel", [area(3), area(4, 5)], [base(5), base(3)], 1, 1),
        ("parallel", [area(3), area(4)], [base(3)], 0, 0),
    ],
)
def test_the_original_checker_judges(
    category: str, truth: list[Any], calls: list[ToolCall], right: int, names: int
) -> None:
    asked = question(category, {**AREA, "parameters": {**AREA["parameters"], "required": ["base"]}}, truth)  # type: ignore[dict-item]
    assert scored(asked, contestant(*([[call] for call in calls]))) == {category: (right, 1), "names": (names, 1)}


@needs_package
def test_an_answer_that_the_checker_trips_over_is_wrong() -> None:
    function = {"name": "f", "parameters": {"properties": {"x": {"type": "array"}}, "required": []}}
    said = bfcl_checker.check_calls("simple_python", [function], [ToolCall("f", {"x": [1]})], [{"f": {"x": [[1]]}}])
    assert said == "the checker failed: KeyError: 'items'"

    # What stood in for other modules is gone afterwards.
    assert "bfcl_eval.constants.model_config" not in sys.modules


@needs_package
def test_the_package_s_own_items_are_read_and_counted() -> None:
    suite = bfcl(Path(), "irrelevance,live_simple")
    assert len(suite.items()) == 240 + 258
    assert list(suite.metrics) == ["irrelevance", "live_simple", "live_simple_sgd", "names"]


def whole_run(turns: Sequence[Sequence[ToolCall]]) -> Contestant:
    """Makes the calls of each of the user's turns in runs of their own."""
    left = list(turns)

    def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
        for call in left.pop(0):
            start = start.with_step(Step(Decision("", Next.CALL), (call,), (toolbox.run(call),)))
        return start.ended(StopReason.ANSWERED, "Done.")

    return Contestant(cast(Crew, None), run)


@pytest.fixture
def session() -> Item:
    """The first multi-turn item: its reference moves a file, then searches, sorts and compares."""
    return bfcl(Path(), "multi_turn_base").items()[0]


def move(name: str) -> ToolCall:
    return ToolCall("mv", {"source": name, "destination": "temp"})


PDF = {"file_name": "final_report.pdf"}
MOVE = [ToolCall("cd", {"folder": "document"}), ToolCall("mkdir", {"dir_name": "temp"}), move("final_report.pdf")]
SEARCH = [ToolCall("cd", {"folder": "temp"}), ToolCall("grep", {**PDF, "pattern": "budget analysis"})]
SORT = [ToolCall("sort", PDF)]
DIFF = ToolCall("diff", {"file_name1": "final_report.pdf", "file_name2": "previous_report.pdf"})
COMPARE = [ToolCall("cd", {"folder": ".."}), move("previous_report.pdf"), ToolCall("cd", {"folder": "temp"}), DIFF]


@needs_package
def test_a_session_is_right_if_state_and_results_are_after_every_turn(session: Item) -> None:
    suite = bfcl(Path(), "multi_turn_base")
    right = predicted(suite, session, whole_run([MOVE, SEARCH, SORT, COMPARE]))
    assert suite.tally(session, right) == {"multi_turn_base": (True, 1)}
    wrong = predicted(suite, session, whole_run([MOVE[:2], SEARCH, SORT, COMPARE]))
    assert suite.tally(session, wrong) == {"multi_turn_base": (False, 1)}
    assert "does not match the state" in suite.failed(session, wrong)[0]


@needs_package
def test_calls_of_a_session_see_those_before_them(session: Item) -> None:
    world = Session(session.content)
    assert not world.run(ToolCall("cd", {"folder": "document"})).is_error
    assert "final_report.pdf" in world.run(ToolCall("ls", {})).content
    assert world.run(ToolCall("cd", {"folder": "nowhere"})).is_error
    assert world.run(ToolCall("rm_all", {})).is_error
    assert world.run(ToolCall("cd", {"a b": 1})).content == "cd failed: a parameter's name is no name."
    assert len(world.calls) == 3


@needs_package
def test_a_full_context_ends_a_session_and_not_the_measurement(session: Item) -> None:
    def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
        toolbox.run(MOVE[0])
        raise ContextFull("It is full.")

    suite = bfcl(Path(), "multi_turn_base")
    prediction = predicted(suite, session, Contestant(cast(Crew, None), run))
    assert [len(turn["calls"]) for turn in prediction["turns"]] == [1, 0, 0, 0]
    assert suite.tally(session, prediction) == {"multi_turn_base": (False, 1)}


@needs_package
def test_a_session_that_never_ends_is_ended(session: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfcl_checker, "_LIMITS", bfcl_checker.Limits(wall_seconds=0.01))
    said = Session(session.content).run(MOVE[0])
    assert (said.is_error, said.content) == (True, "cd failed: out of time.")


def test_a_call_as_code_quotes_its_values() -> None:
    call = ToolCall("f", {"a": "it's; __import__('os')", "b": [1, None, True]})
    assert as_code(call) == """f(a="it's; __import__('os')", b=[1, None, True])"""


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        bfcl(Path())
    assert "pip install --no-deps bfcl-eval==2026.3.23" in raised.value.remedy
    with pytest.raises(UsageError, match="There is no category 'simple_java'"):
        bfcl(Path(), "multiple,simple_java")


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "cannot be read"), ('{"id": "a", "question": []}', "is not a file of BFCL questions")],
)
def test_a_broken_file_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "BFCL_v4_irrelevance.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        read_questions(tmp_path, "irrelevance")
