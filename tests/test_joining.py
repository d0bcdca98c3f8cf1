"""Requests that were joined, and observations that were made, are runs like any other."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_variation import record, tool

from umi_local.errors import UsageError
from umi_local.records import Record, to_line
from umi_local.training.inventing import with_observations
from umi_local.training.joining import joined, stands_alone, with_joined
from umi_local.training.mix import mixed
from umi_local.training.recipe import Part, load_recipe
from umi_local.training.samples import canonical
from umi_local.training.thoughts import with_thoughts
from umi_local.training.variation import with_a_failure, without_the_tool
from umi_local.trajectory import Next


def train(**changes: Any) -> Record:
    return record(history=[], **changes)


def weather(**changes: Any) -> Record:
    return train(
        id="w1",
        tools=[tool("GetWeather", "Get the weather of a city", city="Where")],
        query="What will it be like in Bath?",
        steps=[{"tool": "GetWeather", "arguments": {"city": "Bath"}, "observation": '{"sky": "grey"}'}],
        answer="Grey.",
        meta={"services": {"GetWeather": "Weather_1"}},
        **changes,
    )


@pytest.mark.parametrize("seed", range(8))
def test_two_requests_become_one_run_with_both_calls_and_answers(seed: int) -> None:
    both = joined(train(), [weather()], random.Random(seed))
    run = both.trajectory
    assert run.query.startswith("To York, please")
    assert "like in Bath?" in run.query
    assert [call.name for call in both.calls] == ["FindTrain", "GetWeather"]
    assert [step.decision.next for step in run.steps] == [Next.CALL, Next.CALL, Next.CONCLUDE]
    assert {"FindTrain", "GetWeather"} <= {tool.name for tool in run.tools} <= {"FindTrain", "BookHotel", "GetWeather"}
    assert run.answer == "There is one at 9:05. Grey."
    assert both.meta["services"]["GetWeather"] == "Weather_1"
    canonical(with_thoughts(both).trajectory)
    to_line(both)


@pytest.mark.parametrize(
    "other",
    [
        train(id="again"),
        replace(weather(), trajectory=replace(weather().trajectory, context="Today is Friday.")),
        train(id="another", tools=[tool("FindTrain", "Find another train", town="Where")], steps=[
            {"tool": "FindTrain", "arguments": {"town": "Hull"}, "observation": "[]"}
        ]),
    ],
    ids=["the same call", "another day", "another tool of the same name"],
)  # fmt: skip
def test_what_does_not_go_together_is_not_joined(other: Record) -> None:
    assert joined(train(), [other], random.Random(0)) == train()


@pytest.mark.parametrize(
    "changes",
    [
        {"history": [["user", "Hello"]]},
        {"steps": []},
        {"steps": [{"tool": "FindTrain", "arguments": {"city": "York"}, "observation": ""}]},
        {"meta": {"grounded": False}},
    ],
)
def test_a_record_that_needs_something_beside_it_does_not_stand_alone(changes: dict[str, Any]) -> None:
    assert stands_alone(train())
    assert not stands_alone(record(**{"history": [], **changes}))


def test_a_share_is_joined_and_the_same_ones_every_time() -> None:
    records = [replace(train(), id=f"r{number}") for number in range(200)]
    once = list(with_joined(records, [weather()], 0.25))
    assert 30 <= sum(len(each.calls) == 2 for each in once) <= 70
    assert once == list(with_joined(records, [weather()], 0.25))


def test_a_call_without_a_result_gets_one_and_a_recorded_one_is_kept() -> None:
    steps = [
        {"tool": "FindTrain", "arguments": {"city": "York"}, "observation": ""},
        {"tool": "FindTrain", "arguments": {"city": "Hull"}, "observation": ""},
    ]
    seen = set()
    for number in range(40):
        made = with_observations(replace(train(steps=steps, answer=""), id=f"r{number}"))
        assert made.meta["independent"]
        texts = [step.observations[0].content for step in made.trajectory.steps[:2]]
        assert all(texts)
        seen.update(texts)
        assert made.trajectory.steps[-1].decision.next is Next.CONCLUDE
    assert len(seen) > 60
    assert with_observations(train()) == train()


def test_what_fails_among_several_is_tried_again_or_left_and_the_others_are_done() -> None:
    both = joined(train(), [weather()], random.Random(1))
    lengths = set()
    for number in range(30):
        run = with_a_failure(both, random.Random(number)).trajectory
        lengths.add(len(run.steps))
        assert {call.name for step in run.steps for call in step.calls} == {"FindTrain", "GetWeather"}
        assert sum(step.observations[0].is_error for step in run.steps if step.calls) == 1
        assert bool(run.answer) is (len(run.steps) == 4)
    assert lengths == {3, 4}


def test_of_several_things_the_one_that_no_tool_can_do_is_told_and_the_others_are_done() -> None:
    both = joined(train(), [weather()], random.Random(1))
    seen = set()
    for number in range(20):
        varied = without_the_tool(both, random.Random(number))
        run, (call,) = varied.trajectory, varied.calls
        assert len(run.tools) == len(both.trajectory.tools) - 1
        said, lost = {
            "GetWeather": ("Grey.", "find a train to a city"),
            "FindTrain": ("There is one at 9:05.", "get the weather of a city"),
        }[call.name]
        assert run.answer == f"{said} I'm sorry, none of my tools can {lost}."
        assert run.steps[-1].decision.next is Next.CONCLUDE
        seen.add(call.name)
    assert seen == {"GetWeather", "FindTrain"}


def test_calls_that_may_need_each_other_keep_their_tools() -> None:
    both = joined(train(), [weather()], random.Random(1))
    linked = replace(both, meta={})
    assert without_the_tool(linked, random.Random(1)) == linked
    assert len(without_the_tool(train(), random.Random(1)).trajectory.tools) == 1


def test_the_parts_of_a_recipe_draw_what_they_ask_for(tmp_path: Path) -> None:
    lines = [to_line(replace(train(), id=f"a{number}")) for number in range(10)]
    lines += [to_line(replace(weather(), id=f"b{number}")) for number in range(10)]
    lines.append(to_line(joined(train(), [weather()], random.Random(1))))
    lines.append(to_line(train(id="talk", steps=[])))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x.jsonl").write_text("\n".join(lines))
    recipe = load_recipe("cpu-0.5b-on")
    part = Part(file="train/x.jsonl", count=1, several=True)
    several = recipe.model_copy(update={"parts": {"several": part}})
    assert [len(each.calls) for _, each in mixed(several, tmp_path, [])] == [2]
    alone = part.model_copy(update={"several": False, "alone": True, "joined": 1.0, "count": 8})
    drawn = [each for _, each in mixed(recipe.model_copy(update={"parts": {"alone": alone}}), tmp_path, [])]
    assert len(drawn) == 8
    assert any(len(each.calls) > 1 for each in drawn)
    assert all(json.loads(to_line(each))["steps"] for each in drawn)
    too_many = recipe.model_copy(update={"parts": {"several": part.model_copy(update={"count": 2})}})
    with pytest.raises(UsageError, match=r"asks for 2 records, and .* has 1 of that kind"):
        list(mixed(too_many, tmp_path, []))
