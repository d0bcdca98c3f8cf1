"""The loop, driven by the scripted backend."""

from __future__ import annotations

import json
import threading
from itertools import pairwise

import pytest

from umi_local.backends.scripted import Line
from umi_local.errors import ContextFull
from umi_local.events import CallEnded, RunEnded, RunStarted, StepEnded, TextWritten
from umi_local.messages import Message, Role, Speaker
from umi_local.observations import REPEATED
from umi_local.toolbox import Approval, LocalToolbox, policy_of
from umi_local.trajectory import Next, StopReason

PLAN, CALL, SUM, ONE = Role.PLANNER, Role.CALLER, Role.SUMMARIZER, Role.SINGLE


def call(name: str, **arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments})


ADD = [Line(PLAN, "Add them. Next: caller."), Line(CALL, call("add", a=2, b=3))]
END = [Line(PLAN, "Done. Next: conclusion."), Line(SUM, "It is 5.")]


def test_a_query_is_planned_called_observed_and_answered(scripted):
    run = scripted([*ADD, *END]).agent.run("2 + 3?")
    assert run.stop is StopReason.ANSWERED
    assert run.answer == "It is 5."
    assert run.steps[0].observations[0].content == "2 + 3 = 5"
    assert [step.decision.next for step in run.steps] == [Next.CALL, Next.CONCLUDE]


def test_a_greeting_needs_no_call(scripted):
    run = scripted([Line(PLAN, "A greeting. Next: conclusion."), Line(SUM, "Hello!")]).agent.run("hi")
    assert (run.answer, run.steps[0].calls) == ("Hello!", ())


def test_several_independent_calls_fit_into_one_turn(scripted):
    calls = "\n".join([call("add", a=1, b=1), call("add", a=2, b=2)])
    run = scripted([Line(PLAN, "Both. Next: caller."), Line(CALL, calls), *END]).agent.run("q")
    assert [o.content for o in run.steps[0].observations] == ["1 + 1 = 2", "2 + 2 = 4"]


def test_giving_up_stops_without_an_answer(scripted):
    run = scripted([Line(PLAN, "No tool fits. Next: give up.")]).agent.run("q")
    assert (run.stop, run.answer) == (StopReason.GAVE_UP, "")


def test_an_error_goes_back_to_the_planner(scripted):
    made = scripted([Line(PLAN, "Try. Next: caller."), Line(CALL, call("fail", reason="the disk is on fire")), *END])
    run = made.agent.run("q")
    assert run.steps[0].observations[0].is_error
    assert "the disk is on fire" in made.backend.prompts[2][1].text


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [("nothing", {}, "There is no tool 'nothing'"), ("add", {"a": "x", "b": 1}, "a:"), ("add", {"a": 1}, "b:")],
)
def test_a_call_that_does_not_fit_is_told_to_the_planner(scripted, name, arguments, told):
    run = scripted([Line(PLAN, "x Next: caller."), Line(CALL, call(name, **arguments)), *END]).agent.run("q")
    assert run.steps[0].observations[0].is_error
    assert told in run.steps[0].observations[0].content


def test_the_second_time_the_same_result_is_pointed_out_and_the_third_ends_the_run(scripted):
    made = scripted([*ADD, *ADD, *ADD, *END])
    run = made.agent.run("q")
    notes = [REPEATED in step.observations[0].content for step in run.steps if step.calls]
    assert notes == [False, True, True]
    assert (run.stop, run.answer) == (StopReason.LOOP, "It is 5.")
    assert "caller" not in made.backend.constraints[6].grammar


def test_the_same_call_with_another_result_is_no_repeat(scripted, tmp_path):
    lines = [Line(PLAN, "x Next: caller."), Line(CALL, call("long", lines=2)), Line(PLAN, "x Next: caller.")]
    run = scripted([*lines, Line(CALL, call("long", lines=3)), *END]).agent.run("q")
    assert run.stop is StopReason.ANSWERED
    assert REPEATED not in run.steps[1].observations[0].content


def test_the_step_limit_ends_with_what_is_known(scripted):
    made = scripted([*ADD, Line(PLAN, "So far. Next: conclusion."), Line(SUM, "5")], steps=1)
    run = made.agent.run("q")
    assert (run.stop, run.answer) == (StopReason.STEP_LIMIT, "5")


def test_a_model_that_is_held_to_nothing_ends_at_the_limit_too(scripted):
    made = scripted([*ADD, Line(PLAN, "And again. Next: caller."), Line(SUM, "5")], steps=1)
    run = made.agent.run("q")
    assert (run.stop, run.answer) == (StopReason.STEP_LIMIT, "5")


def test_a_call_that_is_cut_off_is_thrown_away_and_told(scripted):
    cut = Line(CALL, '{"name": "add", "arguments": {"a": 1', finished=False)
    run = scripted([Line(PLAN, "x Next: caller."), cut, *END]).agent.run("q")
    assert run.steps[0].observations[0].is_error
    assert "cut off" in run.steps[0].observations[0].content


def test_a_long_observation_is_cut_in_the_open(scripted):
    made = scripted([Line(PLAN, "x Next: caller."), Line(CALL, call("long", lines=500)), *END], observation_tokens=100)
    content = made.agent.run("q").steps[0].observations[0].content
    assert content.startswith("line 0\n")
    assert content.endswith("line 499")
    assert "characters are missing here" in content
    assert len(content.split()) <= 100


def test_a_conversation_that_no_longer_fits_ends_with_an_error_and_is_told(scripted):
    made = scripted([*ADD, *END], context_tokens=200)
    with pytest.raises(ContextFull, match="tokens"):
        made.agent.run("word " * 500)
    assert made.events[-1].trajectory.stop is StopReason.CONTEXT_FULL


def test_a_tool_that_asks_is_denied_where_nobody_can_be_asked(scripted):
    made = scripted([Line(PLAN, "x Next: caller."), Line(CALL, call("launch", target="moon")), *END])
    observation = made.agent.run("q").steps[0].observations[0]
    assert observation.denied
    assert "--allow launch" in observation.content


@pytest.mark.parametrize(
    ("approval", "runs"),
    [
        (Approval(policy_of(allow=["launch"])), True),
        (Approval(ask=lambda request: request.arguments["target"] == "moon"), True),
        (Approval(ask=lambda request: False), False),
        (Approval(policy_of(allow=["launch"], deny=["launch"])), False),
    ],
)
def test_approval_decides_and_deny_wins(scripted, approval, runs):
    made = scripted([Line(PLAN, "x Next: caller."), Line(CALL, call("launch", target="moon")), *END], approval=approval)
    observation = made.agent.run("q").steps[0].observations[0]
    assert (observation.content == "launched at moon") is runs
    assert observation.denied is not runs


def test_cancelling_in_a_turn_ends_the_run_with_what_there_is(scripted):
    made = scripted([*ADD, *END])
    made.agent.emit = lambda event: (made.events.append(event), isinstance(event, CallEnded) and made.agent.cancel())
    run = made.agent.run("q")
    assert run.stop is StopReason.CANCELLED
    assert made.backend.cancelled
    assert run.steps[0].observations[0].content == "2 + 3 = 5"


def test_a_cancel_just_before_a_turn_begins_stops_that_turn(scripted, monkeypatch):
    made, stopped, begun = scripted([*ADD, *END]), threading.Event(), threading.Event()
    plain = made.backend.complete

    def complete(*arguments, **named):
        made.agent.cancel()  # the backend has no turn yet, so it is told in vain
        begun.set()
        assert stopped.wait(10)
        return plain(*arguments, **named)

    monkeypatch.setattr(made.backend, "complete", complete)
    monkeypatch.setattr(made.backend, "cancel", lambda: stopped.set() if begun.is_set() else None)
    assert made.agent.run("q").stop is StopReason.CANCELLED


def test_however_often_it_is_cancelled_a_turn_is_stopped_by_one_timer(scripted, monkeypatch):
    made, stops = scripted([*ADD, *END]), []
    plain = made.backend.complete

    def complete(*arguments, **named):
        for _ in range(5):
            made.agent.cancel()
        return plain(*arguments, **named)

    monkeypatch.setattr("umi_local.agent._AGAIN_SECONDS", 3600)
    monkeypatch.setattr(made.backend, "complete", complete)
    monkeypatch.setattr(made.backend, "cancel", lambda: stops.append(1))
    assert made.agent.run("q").stop is StopReason.CANCELLED
    assert len(stops) == 1


def test_a_single_model_plans_calls_and_answers_in_one_turn_each(scripted):
    script = [
        Line(ONE, f"Add them. Next: caller.\n{call('add', a=2, b=3)}"),
        Line(ONE, "Done. Next: conclusion.\nIt is 5."),
    ]
    made = scripted(script, single=True)
    run = made.agent.run("q")
    assert (run.answer, run.stop) == ("It is 5.", StopReason.ANSWERED)
    assert run.steps[0].observations[0].content == "2 + 3 = 5"
    assert "Add them. Next: caller.\n{" in made.backend.prompts[1][1].text


def test_events_tell_the_whole_run_in_order(scripted):
    made = scripted([*ADD, *END])
    run = made.agent.run("q")
    assert isinstance(made.events[0], RunStarted)
    assert made.events[-1] == RunEnded(run)
    assert [e.step for e in made.events if isinstance(e, StepEnded)] == list(run.steps)
    assert "".join(e.text for e in made.events if isinstance(e, TextWritten) and e.role is SUM) == "It is 5."


def test_what_was_said_before_is_part_of_the_prompt(scripted):
    made = scripted(END)
    before = [Message(Speaker.USER, "earlier question"), Message(Speaker.CONCLUSION, "earlier answer")]
    made.agent.run("and now?", history=before)
    text = made.backend.prompts[0][1].text
    assert text.index("earlier question") < text.index("earlier answer") < text.index("and now?")


def test_the_caller_is_held_to_what_the_plan_speaks_of(scripted, monkeypatch):
    def narrowed(_, text, said):
        closer = {"type": "object", "properties": {"a": {"const": 7}, "b": {"const": 8}}, "required": ["a", "b"]}
        return {"add": closer} if "seven" in text else {}

    monkeypatch.setattr(LocalToolbox, "narrowed", narrowed)
    made = scripted([*ADD, Line(PLAN, "Take seven. Next: caller."), Line(CALL, call("add", a=7, b=8)), *END])
    made.agent.run("q")
    grammars = [made.backend.constraints[i].grammar for i in (1, 2, 3)]
    assert ["const" in grammar for grammar in grammars] == [False, False, True]


def test_after_a_failure_the_caller_may_write_all_that_the_tool_takes(scripted, monkeypatch):
    monkeypatch.setattr(
        LocalToolbox, "narrowed", lambda *_: {"add": {"type": "object", "properties": {"a": {"const": 7}}}}
    )
    failing = [Line(PLAN, "Try. Next: caller."), Line(CALL, call("fail", reason="no"))]
    made = scripted([*failing, *ADD, *END])
    made.agent.run("q")
    assert ["const" in made.backend.constraints[i].grammar for i in (1, 3)] == [True, False]


def test_the_trunk_only_grows_at_its_end(scripted):
    made = scripted([*ADD, *ADD, *END])
    made.agent.run("q")
    trunks = ["".join(s.text for s in prompt.trunk) for _, prompt in made.backend.prompts]
    assert all(later.startswith(earlier) for earlier, later in pairwise(trunks))
