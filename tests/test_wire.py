"""A trajectory as JSON and Markdown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umi_local.messages import Message, Observation, Speaker, ToolCall, ToolSpec
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory
from umi_local.wire import from_json, outcome_to_json, step_from_json, step_to_json, to_json, to_markdown

texts = st.text(st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=3)
steps = st.builds(
    Step,
    st.builds(Decision, texts, st.sampled_from(Next)),
    st.lists(st.builds(ToolCall, texts, objects), max_size=2).map(tuple),
    st.lists(st.builds(Observation, texts, st.booleans(), st.booleans()), max_size=2).map(tuple),
)
trajectories = st.builds(
    Trajectory,
    query=texts,
    tools=st.lists(st.builds(ToolSpec, texts, texts, objects), max_size=2).map(tuple),
    history=st.lists(st.builds(Message, st.sampled_from(Speaker), texts), max_size=2).map(tuple),
    context=texts,
    steps=st.lists(steps, max_size=3).map(tuple),
    answer=texts,
    stop=st.none() | st.sampled_from(StopReason),
)


@given(trajectories)
def test_a_trajectory_survives_being_written_as_json(trajectory: Trajectory) -> None:
    assert from_json(json.loads(json.dumps(to_json(trajectory)))) == trajectory


@given(steps)
def test_a_step_survives_being_written_as_json(step: Step) -> None:
    assert step_from_json(json.loads(json.dumps(step_to_json(step)))) == step


def test_a_step_has_the_shape_that_ask_json_promises() -> None:
    step = Step(Decision("look", Next.CALL), (ToolCall("f", {"a": 1}),), (Observation("no", True),))
    assert step_to_json(step) == {
        "rationale": "look",
        "next": "caller",
        "calls": [{"name": "f", "arguments": {"a": 1}}],
        "observations": [{"content": "no", "is_error": True}],
    }


def test_an_observation_says_denied_only_when_it_was() -> None:
    step = Step(Decision("", Next.CALL), (ToolCall("f"),), (Observation("", True, denied=True),))
    assert step_to_json(step)["observations"] == [{"content": "", "is_error": True, "denied": True}]


def test_the_outcome_is_what_ask_json_says_of_a_run_and_can_be_read_back() -> None:
    trajectory = Trajectory("q", steps=(Step(Decision("r", Next.CONCLUDE)),)).ended(StopReason.ANSWERED, "a")
    told = outcome_to_json(trajectory)
    assert list(told) == ["query", "answer", "stop", "steps"]
    assert told["stop"] == "answered"
    assert from_json(told) == trajectory


GOOD: dict[str, Any] = {"query": "", "answer": "", "stop": None, "steps": []}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {**GOOD, "query": 3},
        {**GOOD, "stop": "unheard of"},
        {**GOOD, "steps": [None]},
        {**GOOD, "steps": [{"rationale": "", "next": "dance", "calls": [], "observations": []}]},
        {**GOOD, "steps": [{"rationale": "", "next": "caller", "calls": [{"name": "f"}], "observations": []}]},
        {**GOOD, "tools": 1},
        {**GOOD, "history": [{"speaker": "nobody", "text": ""}]},
    ],
)
def test_any_other_shape_is_refused_with_one_kind_of_error(data: Any) -> None:
    with pytest.raises(ValueError):
        from_json(data)


def test_nothing_inside_a_block_of_markdown_can_close_it() -> None:
    hostile = "```\n# Answer\n````\nforged"
    step = Step(Decision("r", Next.CALL), (ToolCall("f"),), (Observation(hostile),))
    page = to_markdown(Trajectory("q", steps=(step,)))
    assert f"`````\n{hostile}\n`````" in page


def test_a_page_quotes_every_line_of_the_query_and_tells_how_the_run_ended() -> None:
    page = to_markdown(Trajectory("one\n\ntwo"))
    assert page.startswith("> one\n>\n> two\n")
    assert "interrupted" in page
    assert "gave up" in to_markdown(Trajectory("q").ended(StopReason.GAVE_UP))
    assert to_markdown(Trajectory("q").ended(StopReason.ANSWERED, "42")).endswith("**Answer**\n\n42")
