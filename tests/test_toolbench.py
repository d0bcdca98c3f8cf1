"""The paper's static metrics: every rule by hand, how the files are read, and the paper's figures where its data is."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from toolbench_fixtures import ANSWERED, CONVERSATIONS, IRREGULAR, call, conversation, gold_lines, write_file

from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.errors import ContextFull, UsageError
from umi_local.evaluation.measuring import measure
from umi_local.evaluation.paper_metrics import argument_f1, read_turn, score_turn
from umi_local.evaluation.report import Report
from umi_local.evaluation.rouge import rouge_l
from umi_local.evaluation.suite import Contestant, Policy
from umi_local.evaluation.toolbench import FILE, ToolBench
from umi_local.markup import markup_for
from umi_local.messages import ModelInfo, Role, Sampling, Speaker, ToolCall
from umi_local.prompts import ChatRenderer, action_calls
from umi_local.roles import Incomplete, Single, Team, TurnLimits, Turns
from umi_local.styles.data import chat_style
from umi_local.trajectory import Decision, Next, Trajectory

TOOLS = ("weather", "time")
GOLD_CALL = 'assistant: x Next: caller.</s>caller: Action: weather\nAction Input: {"city": "Oslo", "days": 2}</s>'
GOLD_BARE = "assistant: x Next: caller.</s>caller: Action: time\nAction Input: {}</s>"
GOLD_ANSWER = "assistant: x Next: conclusion.</s>conclusion: It is cold.</s>"
GIVE_UP = "It is of no use. Next: give up."


def a_call(text: str) -> str:
    return f"assistant: x Next: caller.</s>caller: {text}</s>"


def scores(reference: str, prediction: str) -> dict[str, float]:
    return {name: score / count for name, (score, count) in score_turn(TOOLS, reference, prediction).items()}


# The metrics, rule by rule


@pytest.mark.parametrize("reference", [GOLD_CALL, GOLD_BARE, GOLD_ANSWER, GIVE_UP])
def test_the_reference_itself_is_right_in_everything(reference: str) -> None:
    found = scores(reference, reference)
    assert found.pop("hallu_rate") == 0
    assert found and all(value == pytest.approx(1, abs=1e-7) for value in found.values())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("assistant: Next: conclusion. Next: give up.</s>", "give up"),
        ("assistant: x Next: give up", "give up"),
        ("assistant: x Next: conclusion</s>caller: Action: time\nAction Input: {}</s>", "finish"),
        ("assistant: nothing decided</s>caller: Action: time</s>", "call"),
        (a_call('Action: time\nAction Input: {"why": "Next: give up"}'), "give up"),
        ("", "call"),
    ],
)
def test_the_class_is_the_first_of_give_up_finish_and_call(text: str, kind: str) -> None:
    assert read_turn(text).kind == kind


@pytest.mark.parametrize(
    ("text", "action", "action_input"),
    [
        ("Action: time\nAction Input: {}", "time", "{}"),
        ("Action:  time ", "time", "{}"),
        ("no form at all", "none", "{}"),
        ("Action:\nAction Input: {}", "", "{}"),
        ("Action: a\nAction Input: 1\nAction: b\nAction Input: 2", "b", "2"),
        ('Action: a\nAction Input: {"x": "Action: y"}', 'y"}', '{"x": "Action: y"}'),
        ("Action Input: {}", "none", "{}"),
    ],
)
def test_a_call_is_read_from_the_last_marks(text: str, action: str, action_input: str) -> None:
    turn = read_turn(a_call(text))
    assert (turn.action, turn.action_input) == (action, action_input)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("assistant: x Next: conclusion.</s>conclusion: a conclusion: b</s>", "b"),
        ("assistant: x Next: conclusion.</s>b</s>", "assistant: x Next: conclusion.b"),
    ],
)
def test_an_answer_is_what_follows_the_last_mark_or_the_whole_text(text: str, answer: str) -> None:
    assert read_turn(text).answer == answer


@pytest.mark.parametrize(
    ("prediction", "invented"),
    [
        (a_call("Action: sunshine\nAction Input: {}"), 1),
        (a_call("Action:\nAction Input: {}"), 1),
        (a_call("Action: Weather\nAction Input: {}"), 1),
        (a_call("Action: none\nAction Input: {}"), 0),
        (a_call("nothing"), 0),
        (GOLD_ANSWER, 0),
        ("", 0),
    ],
)
@pytest.mark.parametrize("reference", [GOLD_CALL, GOLD_ANSWER, GIVE_UP])
def test_an_invented_tool_counts_at_every_step(reference: str, prediction: str, invented: int) -> None:
    assert scores(reference, prediction)["hallu_rate"] == invented


def test_which_metrics_a_step_counts_in() -> None:
    assert set(scores(GOLD_CALL, "")) == {
        "plan_em",
        "hallu_rate",
        "recall_call",
        "action_em",
        "f1",
        "easy_f1",
        "hard_f1",
    }
    assert set(scores(GOLD_CALL, GOLD_CALL)) == {"plan_em", "hallu_rate", "recall_call", "action_em", "f1", "hard_f1"}
    assert set(scores(GOLD_BARE, GOLD_BARE)) == {"plan_em", "hallu_rate", "recall_call", "action_em", "f1", "easy_f1"}
    assert set(scores(GOLD_ANSWER, "")) == {"plan_em", "hallu_rate", "recall_finish", "rouge"}
    assert set(scores(GIVE_UP, "")) == {"plan_em", "hallu_rate", "recall_give_up"}


@pytest.mark.parametrize(
    ("expected", "written", "f1"),
    [
        ({"city": "Oslo", "days": 2}, '{"days": 2, "city": "Oslo"}', 1),
        ({"city": "Oslo", "days": 2}, '{"city": "Oslo", "days": "2"}', 0.75),
        ({"city": "Oslo"}, '{"city": "oslo"}', 0.5),
        ({"city": "Oslo"}, '{"city": "Oslo", "days": 2}', 2 / 3),
        ({"city": "Oslo", "days": 2}, '{"city": "Oslo"}', 2 / 3),
        ({"city": "Oslo"}, '{"town": "Oslo"}', 0),
        ({"city": "Oslo"}, "{}", 0),
        ({"city": "Oslo"}, '["city"]', 0),
        ({"city": "Oslo"}, '{"city": ', 0),
        ({"city": "Oslo"}, "[" * 100_000, 0),
        ({}, "{}", 1),
        ({}, '{"city": "Oslo"}', 0),
        ({}, "[]", 0),
        ({}, "", 0),
    ],
)
def test_arguments_earn_half_for_the_key_alone_and_nothing_is_normalised(
    expected: dict[str, Any], written: str, f1: float
) -> None:
    assert argument_f1(expected, written) == pytest.approx(f1)


def test_a_reference_that_is_no_json_is_skipped_where_the_name_is_right() -> None:
    broken = a_call("Action: time\nAction Input: {")
    assert "f1" not in scores(broken, GOLD_BARE)
    assert scores(broken, GOLD_CALL)["f1"] == 0


def test_what_is_no_answer_is_scored_as_the_word_none() -> None:
    reference = "assistant: x Next: conclusion.</s>conclusion: none</s>"
    assert scores(reference, GOLD_CALL)["rouge"] == pytest.approx(1, abs=1e-7)
    assert scores(GOLD_ANSWER, GIVE_UP)["rouge"] == 0


@pytest.mark.parametrize(
    ("hypothesis", "reference", "f"),
    [  # the values are those of the package rouge 1.0.1
        ("the cat sat on the mat", "the cat was on a mat", 0.727272722314),
        ("The cat. It sat down.", "the cat sat. It was down here.", 0.666666661806),
        ("none", "I am sorry.", 0.0),
        ("a b c a b", "b a c b a. c b", 0.999999995),
        ("x  y.. z", "z y x.x y", 0.999999995),
    ],
)
def test_rouge_l_is_that_of_the_package(hypothesis: str, reference: str, f: float) -> None:
    assert rouge_l(hypothesis, reference) == pytest.approx(f, abs=1e-11)


@pytest.mark.parametrize("empty", ["", ".", "..."])
def test_a_text_without_words_is_none_where_the_package_crashes(empty: str) -> None:
    assert rouge_l(empty, "a b") == 0
    assert rouge_l(empty, "none") == pytest.approx(1, abs=1e-7)


# The files


def test_every_decided_turn_is_a_step_on_the_gold_history(tmp_path: Path) -> None:
    items = ToolBench(write_file(tmp_path)).items()
    assert [[step.turn for step in item.content.steps] for item in items] == [[1, 4], [1, 4], [1, 5, 9]]
    last = items[2].content.steps[-1].start
    assert [message.speaker for message in last.history] == [
        *(Speaker.USER, Speaker.PLANNER, Speaker.CALLER, Speaker.OBSERVATION),
        *(Speaker.USER, Speaker.PLANNER, Speaker.CALLER, Speaker.OBSERVATION, Speaker.PLANNER),
    ]
    assert last.history[-1].text == "I am not sure."
    assert (last.query, last.steps) == ("", ())
    middle = items[2].content.steps[1].start
    assert (middle.query, len(middle.history), middle.steps) == ("Try again.", 4, ())


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("{'detail': 'An API key is missing.'}", True),
        ("404 page not found", True),
        ("", False),
        ("{'status': 'ok', 'terror': 1}", False),
        ("No hotel was found. " * 20 + "Error", False),
    ],
)
def test_a_short_result_that_speaks_of_an_error_is_one(tmp_path: Path, told: str, error: bool) -> None:
    turns = [("user", "Oslo?"), *call()[:2], ("observation", told), ("assistant", GIVE_UP)]
    suite = ToolBench(write_file(tmp_path, [conversation(*turns)]))
    *_, last = suite.items()[0].content.steps
    assert [seen.is_error for step in last.start.steps for seen in step.observations] == [error]


def test_earlier_calls_are_written_in_the_style_that_is_asked_for(tmp_path: Path) -> None:
    file = write_file(tmp_path, [IRREGULAR])
    chat = ToolBench(file).items()[0].content.steps[1].start.history[2].text
    paper = ToolBench(file, action_calls).items()[0].content.steps[1].start.history[2].text
    assert chat == '{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}'
    assert paper == 'Action: weather\nAction Input: {"city": "Oslo", "days": 2}'


def test_the_documents_become_schemas_without_required_arguments(tmp_path: Path) -> None:
    words = {"a": "INT, how many", "b": "a free text", "c": "list", "d": "bool, whether, or not"}
    tools = [{"Name": "t", "function": "f", "input": words}]
    file = write_file(tmp_path, [conversation(("user", "q"), ("assistant", "Next: give up."), tools=tools)])
    (spec,) = ToolBench(file).items()[0].content.steps[0].start.tools
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "how many"},
            "b": {"type": "string", "description": "a free text"},
            "c": {"type": "array"},
            "d": {"type": "boolean", "description": "whether, or not"},
        },
        "required": [],
    }


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"a": 1}, "not a ToolBench file"),
        ([{"query": "q", "steps": []}], "not a ToolBench file: 0.tools"),
        ([conversation(("user", "q"), ("robot", "x"))], "not a ToolBench file: 0.conversations.1.from"),
        ([conversation(("user", "q"), tools=[])], "Conversation 0 of .* lists no tools"),
        ([ANSWERED, conversation(("user", "q"), ("assistant", "Next: caller."))], "Conversation 1 .* turn 1"),
    ],
)
def test_a_file_of_another_form_is_one_sentence(tmp_path: Path, data: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        ToolBench(write_file(tmp_path, data))


@pytest.mark.parametrize("raw", [None, b"", b"\xff\xfe", b"\x1f\x8bnot gzip", gzip.compress(b"[]" * 999)[:20]])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, raw: bytes | None) -> None:
    path = tmp_path / "broken.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"broken\.json"):
        ToolBench(path)


# Whole measurements


class _Crew:
    """Always calls, and fails as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        assert set(choices) == set(Next)
        return Decision("x", Next.CALL)

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        raise self.error

    def conclude(self, trajectory: Trajectory) -> str:
        return "."


def contestant(crew: Any) -> Contestant:
    def no_run(start: Trajectory, toolbox: object) -> Trajectory:
        raise AssertionError

    return Contestant(crew, no_run)


def figures(report: Report) -> dict[str, float | None]:
    return {
        name: value.value if value.value is None else round(value.value, 2) for name, value in report.values.items()
    }


def test_a_call_that_was_cut_off_is_the_name_none(tmp_path: Path) -> None:
    report = measure(ToolBench(write_file(tmp_path)), contestant(_Crew(Incomplete())))
    assert figures(report)["hallu_rate"] == 0
    assert figures(report)["action_em"] == 0
    assert figures(report)["plan_em"] == pytest.approx(57.14)


def test_a_step_that_does_not_fit_is_wrong_and_the_next_goes_on(tmp_path: Path) -> None:
    report = measure(ToolBench(write_file(tmp_path)), contestant(_Crew(ContextFull("It is full."))))
    assert figures(report)["plan_em"] == 0
    assert "turn 1: It is full." in report.cases[0].failed


def test_an_answer_of_nothing_is_none_as_in_the_papers_pipeline(tmp_path: Path) -> None:
    suite = ToolBench(write_file(tmp_path))
    policy = Policy(lambda _: Next.CONCLUDE, lambda t: ToolCall("time"), lambda _: " . ")
    said = suite.predict(suite.items()[0], contestant(policy))["steps"][0]["predictions"]
    assert said == "assistant: x Next: conclusion.</s>conclusion: none</s>"


def test_a_team_is_led_through_the_gold_history_with_its_own_plans(tmp_path: Path) -> None:
    backend = ScriptedBackend(gold_lines())
    style = chat_style()
    markup = markup_for("chatml", ModelInfo("scripted", 8192), style.speakers, style.cues)
    turns = Turns(backend, ChatRenderer(style, markup), Sampling(), TurnLimits(64, 64, 64), lambda _: None)
    suite = ToolBench(write_file(tmp_path))
    report = measure(suite, contestant(Team(turns)))
    assert [case.failed for case in report.cases] == [[], [], []]
    assert {name: value for name, value in figures(report).items() if value != 100} == {"hallu_rate": 0}
    seen = [prompt.text for role, prompt in backend.prompts if role is Role.CALLER]
    assert all("I need" in text.rpartition("planner")[2] for text in seen)
    steps = suite.evaluator_input({case.id: case.prediction for case in report.cases})
    assert len(steps) == 7
    assert set(steps[0]) == {"tools", "instruction", "history", "reference", "predictions"}
    assert [len(step["history"]) for step in steps] == [1, 4, 1, 4, 1, 5, 9]
    assert steps[0]["tools"] == CONVERSATIONS[0]["tools"]
    json.dumps(steps)


def test_a_single_model_writes_plan_and_call_in_one_go(tmp_path: Path) -> None:
    turns = [
        'I need weather. Next: caller.\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}',
        "I know it. Next: conclusion.\nIt is cold. In Oslo.",
    ]
    backend = ScriptedBackend([Line(Role.SINGLE, turn) for turn in turns])
    style = chat_style()
    markup = markup_for("chatml", ModelInfo("scripted", 8192), style.speakers, style.cues)
    renderer = ChatRenderer(style, markup, folded=True)
    crew = Single(Turns(backend, renderer, Sampling(), TurnLimits(64, 64, 64), lambda _: None))
    report = measure(ToolBench(write_file(tmp_path, [ANSWERED])), contestant(crew))
    assert not report.failures


def test_with_the_gold_plan_the_other_roles_are_measured_apart(tmp_path: Path) -> None:
    suite = ToolBench(write_file(tmp_path), gold_plan=True)
    policy = Policy(lambda _: Next.GIVE_UP, the_tool_named_last, lambda _: "wrong")
    report = measure(suite, contestant(policy))
    assert figures(report)["action_em"] == 0
    assert figures(report)["gold_action_em"] == 100
    assert figures(report)["gold_f1"] == 50
    assert figures(report)["gold_rouge"] == 0


def the_tool_named_last(run: Trajectory) -> ToolCall:
    return ToolCall(run.steps[-1].decision.rationale.split()[-1].strip("."))


def test_the_trunk_of_a_conversation_only_grows_at_its_end(tmp_path: Path) -> None:
    style = chat_style()
    renderer = ChatRenderer(style, markup_for("chatml", ModelInfo("scripted", 8192), style.speakers, style.cues))
    for item in ToolBench(write_file(tmp_path)).items():
        trunks = [renderer.render(step.start, Role.PLANNER).trunk for step in item.content.steps]
        texts = ["".join(segment.text for segment in trunk) for trunk in trunks]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


DATA = Path(os.environ.get("UMI_LOCAL_DATA", ""), FILE)

# paper.md: Plan ACC, Act. EM, Arg. F1, R-L of each policy on the development file, by the original evaluator.
PAPER = {
    "always the first tool, {}": (71.67, 31.62, 14.23, 0.00),
    "first unused tool, {}": (77.90, 40.32, 17.39, 3.37),
    "the same, at most 4 calls": (79.60, 40.32, 17.39, 2.38),
    "gold plan, first tool, {}": (100, 31.62, 14.23, 100),
    "gold plan and tool, {}": (100, 100, 41.50, 100),
    "gold": (100, 100, 100, 100),
}


@pytest.mark.skipif(not DATA.is_file(), reason="UMI_LOCAL_DATA does not name the folder with the paper's file")
def test_the_trivial_policies_score_what_the_original_evaluator_says() -> None:
    suite = ToolBench(DATA)
    assert len(suite.items()) == 100
    for name, policy in suite.baselines().items():
        found = figures(measure(suite, policy))
        assert [found[key] for key in ("plan_em", "action_em", "f1", "rouge")] == list(PAPER[name]), name
        assert found["hallu_rate"] == 0
    rows = {row.name: row.values for row in suite.reference_rows()}
    assert round(rows["best decision by number of calls"]["plan_em"], 1) == 75.4
    assert round(rows["a random listed tool"]["action_em"], 1) == 33.3
