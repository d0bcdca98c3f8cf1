"""What roles may write, and what is read from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from umi_local import parse
from umi_local.constraints import constraint_for, inexpressible, may_plan
from umi_local.messages import Message, Observation, Role, Speaker, ToolCall, ToolSpec
from umi_local.observations import REPEATED, Repeats, cut
from umi_local.prompts import action_calls, json_calls, signature
from umi_local.styles.data import chat_style, flat_style, worked_examples
from umi_local.trajectory import Decision, Next, Step, Trajectory

SIMPLE = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
ARGUMENTS = st.dictionaries(
    st.text(max_size=8), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)
)


@pytest.mark.parametrize("language", [chat_style().language, flat_style().language], ids=["chat", "alpha-umi"])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("choices", [tuple(Next), (Next.CONCLUDE,)], ids=["all", "conclude"])
@pytest.mark.parametrize("most_calls", [1, 4])
def test_every_roles_grammar_compiles(language, role, choices, most_calls):
    names = ["plain", 'with "quotes"', "größe 名前", "$arguments", "a\nb"]
    run = Trajectory("q", tuple(ToolSpec(name, "", SIMPLE) for name in names))
    grammar = constraint_for(role, language, run, choices, most_calls).grammar
    failed, messages = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_lark(grammar))
    assert not failed, messages


def test_only_the_decisions_that_are_open_may_be_written():
    grammar = constraint_for(Role.PLANNER, chat_style().language, Trajectory("q"), (Next.CONCLUDE,), 1).grammar
    assert "conclusion" in grammar
    assert "caller" not in grammar


def test_a_narrowed_tool_is_held_to_its_closer_schema_and_a_server_to_the_plain_one():
    closer = {"type": "object", "properties": {"x": {"type": "string", "pattern": '^(a|"b c")$'}}, "required": ["x"]}
    run = Trajectory("q", (ToolSpec("t", "", SIMPLE),), narrowed={"t": closer})
    made = constraint_for(Role.CALLER, chat_style().language, run, (Next.CALL,), 1)
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_lark(made.grammar))
    call = json_calls([ToolCall("t", {"x": '"b c"'})])
    assert matcher.validate_tokens(list(call.encode())) == len(call.encode())
    wrong = json_calls([ToolCall("t", {"x": "d"})])
    assert matcher.validate_tokens(list(wrong.encode())) < len(wrong.encode())
    assert "pattern" not in json.dumps(made.schema)


@pytest.mark.parametrize("role", [Role.CALLER, Role.SINGLE])
def test_references_in_a_tools_schema_hold_in_that_of_a_whole_turn(role):
    from jsonschema import Draft202012Validator

    colour = {"$defs": {"C": {"enum": ["red"]}}, "type": "object", "properties": {"c": {"$ref": "#/$defs/C"}}}
    size = {"$defs": {"C": {"enum": ["big"]}}, "type": "object", "properties": {"c": {"$ref": "#/$defs/C"}}}
    run = Trajectory("q", (ToolSpec("a/b", "", colour), ToolSpec("size", "", size)))
    schema = constraint_for(role, chat_style().language, run, (Next.CALL,), 1).schema

    def fits(tool, value):
        turn = {"calls": [{"name": tool, "arguments": {"c": value}}]}
        turn |= {"rationale": "r", "next": "caller"} if role is Role.SINGLE else {}
        return Draft202012Validator(schema).is_valid(turn)

    assert fits("a/b", "red") and fits("size", "big")
    assert not fits("a/b", "big") and not fits("size", "red")


def test_an_argument_of_the_papers_style_may_speak_of_actions():
    call = ToolCall("note", {"text": "Action: go home\nAction Input: none"})
    assert parse.action_calls(action_calls([call])) == (call,)


def test_a_schema_that_cannot_be_constrained_is_found_alone():
    language = chat_style().language
    odd = {"type": "object", "properties": {"x": {"$ref": "https://example.org/schema"}}}
    assert inexpressible(ToolSpec("odd", "", odd), language)
    assert not inexpressible(ToolSpec("fine", "", SIMPLE), language)


TAUGHT = chat_style().language.model_copy(
    update={"plans": {**chat_style().plans, **worked_examples().plans}, "caller_follows": True}
)


def plans_after(*observations: Observation) -> str:
    steps = (Step(Decision("Use look_up to see.", Next.CALL), (), observations),) if observations else ()
    run = Trajectory("q", (ToolSpec("look_up", "", SIMPLE), ToolSpec("other", "", SIMPLE)), steps=steps)
    return constraint_for(Role.PLANNER, TAUGHT, run, tuple(Next), 1).grammar


def test_what_a_taught_planner_may_write_follows_how_far_the_run_is():
    assert "No tool (is needed|can)" in plans_after()
    assert "The (result is" in plans_after(Observation("fine"))
    assert "give up" not in plans_after(Observation("fine"))
    assert "give up" in plans_after(Observation("broken", is_error=True))
    assert "Use (look_up|other) to" in plans_after()


@pytest.mark.parametrize(
    ("speakers", "told"),
    [
        ((Speaker.USER, Speaker.PLANNER, Speaker.CALLER, Speaker.OBSERVATION, Speaker.PLANNER), True),
        ((Speaker.USER, Speaker.OBSERVATION, Speaker.USER, Speaker.PLANNER), False),
        ((), False),
    ],
)
def test_a_run_that_goes_on_in_its_history_knows_whether_a_result_is_there(speakers, told):
    history = tuple(Message(speaker, "text") for speaker in speakers)
    run = Trajectory("", (ToolSpec("look_up", "", SIMPLE),), history)
    assert may_plan(TAUGHT, run, Decision("The result is there.", Next.CONCLUDE)) is told
    assert may_plan(TAUGHT, run, Decision("No tool is needed for this.", Next.CONCLUDE)) is not told
    asked = replace(run, query="And now?")
    assert may_plan(TAUGHT, asked, Decision("No tool is needed for this.", Next.CONCLUDE))


@pytest.mark.parametrize("language", [chat_style().language, TAUGHT], ids=["free", "taught"])
@pytest.mark.parametrize("role", [Role.PLANNER, Role.SINGLE])
@pytest.mark.parametrize("text", ["Use look_up to see Next Next Nevertheless", "No tool is needed Next to New York"])
def test_no_rationale_breaks_the_constraint(language, role, text):
    run = Trajectory("q", (ToolSpec("look_up", "", SIMPLE),))
    matcher = LLMatcher(
        LLTokenizer("byte"),
        LLMatcher.grammar_from_lark(constraint_for(role, language, run, tuple(Next), 1).grammar),
    )
    for byte in text.encode():
        matcher.compute_bitmask()
        matcher.consume_token(byte)
    assert not matcher.is_error(), matcher.get_error()


def test_the_decision_that_ends_a_plan_counts_whatever_its_rationale_speaks_of():
    text = "Use a to b. Next: conclusion. And so on. Next: caller."
    assert parse.closing_decision(text).next is Next.CALL
    assert parse.closing_decision("no decision at all").next is Next.CALL
    assert parse.whole_step(f"{text}\n{{}}") == (parse.closing_decision(text), "{}")


def test_a_single_models_answer_may_speak_of_decisions():
    text = "Done. Next: conclusion.\nThe file says: Next: give up."
    assert parse.whole_step(text) == (Decision("Done.", Next.CONCLUDE), "The file says: Next: give up.")


def test_a_taught_caller_is_bound_to_the_tool_that_the_plan_names():
    tools = (ToolSpec("look_up", "", SIMPLE), ToolSpec("other", "", SIMPLE))

    def callable_after(rationale: str) -> list[str]:
        run = Trajectory("q", tools, steps=(Step(Decision(rationale, Next.CALL)),))
        grammar = constraint_for(Role.CALLER, TAUGHT, run, (), 1).grammar
        return [tool.name for tool in tools if tool.name in grammar]

    assert callable_after("Use other to see.") == ["other"]
    assert callable_after("Something else.") == ["look_up", "other"]


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("Add. Next: caller.", Decision("Add.", Next.CALL)),
        ("Next: conclusion.", Decision("", Next.CONCLUDE)),
        ("No. Next: give up. Next: caller.", Decision("No.", Next.GIVE_UP)),
        ("A Next: conclusion. Next: caller.", Decision("A", Next.CONCLUDE)),
        ("no decision at all", Decision("no decision at all", Next.CALL)),
    ],
)
def test_a_decision_is_read_in_the_papers_order(text, decision):
    assert parse.decision(text) == decision


@given(st.lists(st.builds(ToolCall, st.text(min_size=1, max_size=9), ARGUMENTS), min_size=1, max_size=3))
def test_calls_that_are_written_are_read_back(calls):
    assert list(parse.json_calls(json_calls(calls))) == calls


@given(ARGUMENTS)
def test_a_call_of_the_papers_form_is_read_back(arguments):
    call = ToolCall("look_up", json.loads(json.dumps(arguments)))
    assert parse.action_calls(action_calls([call])) == (call,)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": "a"}', '{"name": 1, "arguments": {}}', "Action: x", "nonsense"]
)
def test_what_is_no_call_is_refused(text):
    for read in (parse.json_calls, parse.action_calls):
        with pytest.raises(ValueError):
            read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'I look.\nAction: a\nAction Input: {"x": 1}',
            (Decision("I look.", Next.CALL), 'Action: a\nAction Input: {"x": 1}'),
        ),
        ("Done.\nconclusion: It is 5.", (Decision("Done.", Next.CONCLUDE), "It is 5.")),
        ("Lost.\nconclusion: give up.", (Decision("Lost.", Next.GIVE_UP), "")),
    ],
)
def test_a_single_models_step_of_the_papers_form_is_read(text, expected):
    assert parse.paper_step(text) == expected


@given(st.text(max_size=400), st.integers(min_value=20, max_value=60))
def test_a_text_is_cut_only_where_it_is_too_long_and_says_how_much_is_missing(text, limit):
    def count(piece: str) -> int:
        return len(piece.encode(errors="replace")) // 2

    short = cut(text, limit, count)
    if count(text) <= limit:
        assert short == text
    else:
        missing = int(short.split("[... ")[1].split(" ")[0])
        marker = f"\n[... {missing} characters are missing here ...]\n"
        assert len(short) - len(marker) + missing == len(text)
        assert count(short) <= limit or len(short) == len(marker)


def test_a_repeat_is_counted_by_call_and_result_whatever_the_order_of_arguments():
    repeats = Repeats()
    seen = Observation("same")
    assert repeats.note(ToolCall("t", {"a": 1, "b": 2}), seen) == (seen, 1)
    noted, times = repeats.note(ToolCall("t", {"b": 2, "a": 1}), seen)
    assert (times, noted.content) == (2, f"same\n{REPEATED}")
    assert repeats.note(ToolCall("t", {"a": 1, "b": 2}), Observation("other"))[1] == 1


def test_a_schema_may_say_that_anything_will_do_or_name_several_types():
    odd = {"type": "object", "properties": {"x": True, "y": {"type": ["string", "null"]}}}
    assert signature(ToolSpec("odd", "", odd)) == "odd(x?: any, y?: string | null)"
