"""Everyday runs for training: they are reproducible, true to the tools and varied."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import duckdb
import pytest

from umi_local.errors import ConfigError
from umi_local.messages import Role, Speaker
from umi_local.prompts import plan_text
from umi_local.records import Record, parse_record, to_line
from umi_local.tools import BUILTIN_TOOLS
from umi_local.tools.arithmetic import evaluate
from umi_local.training.everyday import generate, troubles
from umi_local.training.everyday.asked import asked
from umi_local.training.everyday.documents import all_documents, drawn_for
from umi_local.training.everyday.generate import record, shares
from umi_local.training.everyday.phrasing import chosen, filled
from umi_local.training.everyday.scene import Ask, Scene
from umi_local.training.everyday.table_files import add_table, schemas
from umi_local.training.everyday.texts import themes
from umi_local.training.everyday.units import dimensions
from umi_local.training.samples import team_turns
from umi_local.trajectory import Next, StopReason, Trajectory

TOOLS = {tool.name: tool for tool in BUILTIN_TOOLS}
TASKS = Path(__file__).parent / "everyday"
COUNT = 400


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(generate(COUNT, 7))


def test_a_record_depends_on_the_seed_and_its_number_alone(records: list[Record]) -> None:
    again = list(generate(30, 7))
    assert [to_line(one) for one in again] == [to_line(one) for one in records[:30]]
    assert to_line(next(iter(generate(1, 8)))) != to_line(records[0])


def test_a_run_by_itself_gives_the_same_observations(records: list[Record]) -> None:
    for number in (3, 17, 101):
        assert record(7, number) == records[number]


def test_ids_name_the_seed_and_the_number(records: list[Record]) -> None:
    assert [one.id for one in records] == [f"everyday-7-{number}" for number in range(COUNT)]
    assert {one.source for one in records} == {"everyday"}


def test_a_record_is_written_and_read_back(records: list[Record]) -> None:
    for one in records:
        back = parse_record(to_line(one))
        assert back.trajectory == one.trajectory
        assert to_line(back) == to_line(one)


def test_every_call_is_one_that_its_tool_takes(records: list[Record]) -> None:
    for one in records:
        listed = {tool.name for tool in one.trajectory.tools}
        for call in one.calls:
            assert call.name in listed
            TOOLS[call.name].validate(call.arguments)


def test_the_tools_stand_in_their_fixed_order(records: list[Record]) -> None:
    order = list(TOOLS)
    for one in records:
        names = [tool.name for tool in one.trajectory.tools]
        assert names == sorted(names, key=order.index)
        assert "fetch_url" not in names


def test_rationales_fit_in_a_line_and_name_their_tool(records: list[Record]) -> None:
    for one in records:
        for step in one.trajectory.steps:
            rationale = step.decision.rationale
            assert rationale and len(rationale) <= 200, rationale
            assert "\n" not in rationale and "Next:" not in rationale
            assert all(call.name in rationale for call in step.calls), rationale
            assert rationale[-1] in ".!?)\"'", rationale


def test_every_run_ends_with_an_answer_or_gives_up(records: list[Record]) -> None:
    for one in records:
        run = one.trajectory
        assert all(step.decision.next is Next.CALL for step in run.steps[:-1])
        gave_up = run.steps[-1].decision.next is Next.GIVE_UP
        assert run.stop is (StopReason.GAVE_UP if gave_up else StopReason.ANSWERED)
        assert bool(run.answer) != gave_up
        assert not re.search(r"\{\w+\}|\[\w+\|", run.answer + run.query)


def test_what_lies_in_the_workspace_is_told_where_a_tool_reads(records: list[Record]) -> None:
    for one in records:
        reading = {"list_files", "read_file", "search_files", "query_table", "search_notes"}
        reads = any(tool.name in reading for tool in one.trajectory.tools)
        assert one.trajectory.context.startswith("Files in the workspace: ") == reads


def test_history_is_that_of_an_earlier_run(records: list[Record]) -> None:
    share = sum(bool(one.trajectory.history) for one in records) / COUNT
    assert 0.08 < share < 0.22
    for one in records:
        history = one.trajectory.history
        if history:
            assert history[0].speaker is Speaker.USER
            assert history[-1].speaker is Speaker.CONCLUSION
            calls = [json.loads(said.text) for said in history if said.speaker is Speaker.CALLER]
            assert all(set(call) == {"name", "arguments"} for call in calls)
            assert plan_text(one.trajectory.steps[0])


def test_the_answer_to_a_sum_has_its_number(records: list[Record]) -> None:
    for one in records:
        if one.meta["kind"] == "calculator":
            seen = one.trajectory.steps[0].observations[0]
            assert seen.content.rpartition(" = ")[2] in one.trajectory.answer


def test_the_answer_to_a_conversion_has_its_number(records: list[Record]) -> None:
    for one in records:
        if one.meta["kind"] == "convert_units":
            seen = one.trajectory.steps[0].observations[0]
            assert seen.content.rpartition(" = ")[2].split()[0] in one.trajectory.answer


def test_only_troubles_have_errors_that_nobody_could_approve(records: list[Record]) -> None:
    for one in records:
        errors = [seen for step in one.trajectory.steps for seen in step.observations if seen.is_error]
        if one.meta["kind"] not in ("troubles",):
            assert all("needs approval" in seen.content for seen in errors), (one.trajectory.query, errors)


def test_what_the_clock_is_asked_is_what_is_answered(records: list[Record]) -> None:
    asked = [each.trajectory for each in records if each.meta["kind"] == "current_time"]
    timed = [run for run in asked if re.search(r"what time|the time|which month", run.query, re.IGNORECASE)]
    assert timed
    for run in timed:
        assert not re.fullmatch(r"Today is \w+day\.", run.answer), (run.query, run.answer)


def test_a_first_guess_that_failed_is_shown_and_not_learnt() -> None:
    made = [record(3, number, families={"troubles": 1000}) for number in range(60)]
    untaught = [each for each in made if "untaught" in each.meta]
    assert untaught
    for each in untaught:
        seen = each.trajectory.steps[0].observations[0]
        assert seen.is_error or re.search(r" is in the column |The column .* holds ", seen.content)
        roles = [role for role, run, _ in team_turns(each.trajectory, each.meta) if not run.steps]
        assert Role.PLANNER not in roles


def runs_of(family: Callable[[Scene], Ask], folder: Path) -> Iterator[Trajectory]:
    """Runs of one kind of trouble, with the tools' real answers."""
    for seed in range(40):
        (root := folder / str(seed)).mkdir()
        scene = Scene(Random(seed), root)
        yield scene.carry_out(family(scene), "")


def test_a_word_for_yes_or_no_gives_way_to_what_the_column_holds(tmp_path: Path) -> None:
    for run in runs_of(troubles._wrong_value, tmp_path):
        first = run.steps[0].observations[0].content
        assert " holds " in first or " is in the column " in first, (run.query, first)
        assert len(run.steps) == 3


def test_a_value_that_is_in_no_row_is_asked_for_once(tmp_path: Path) -> None:
    for run in runs_of(troubles._no_such_value, tmp_path):
        seen = run.steps[0].observations[0].content
        assert seen.startswith("No rows match.") or seen.startswith("count_star()\n0"), (run.query, seen)
        assert len(run.steps) == 2


def test_families_have_their_shares(records: list[Record]) -> None:
    seen = Counter(one.meta["kind"] for one in records)
    total = sum(shares().values())
    for name, share in shares().items():
        expected = share / total * COUNT
        assert abs(seen[name] - expected) <= 4 * expected**0.5 + 2, name


def test_a_recipe_may_draw_a_family_more_or_less_often() -> None:
    drawn = Counter(one.meta["kind"] for one in generate(40, 7, families={"pasted": 1000, "chat": 0}))
    assert drawn["pasted"] > 30 and not drawn["chat"]
    with pytest.raises(ConfigError, match="no family 'piped'"):
        next(generate(1, 7, families={"piped": 5}))


def test_queries_differ_from_each_other_and_from_the_development_tasks(records: list[Record]) -> None:
    queries = Counter(one.trajectory.query for one in records)
    assert COUNT - len(queries) <= 0.02 * COUNT
    # Those kept apart were written by others later: what they share is chance, and nobody has looked at them.
    kept = [file for file in TASKS.glob("*.jsonl") if not file.stem.startswith("apart")]
    lines = [line for file in kept for line in file.read_text(encoding="utf-8").splitlines()]
    known = {eight for line in lines for eight in _eights(json.loads(line)["query"])}
    assert not [query for query in queries if known & set(_eights(query))]


def _eights(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + 8]) for at in range(len(words) - 7)]


@pytest.mark.parametrize("schema", sorted(asked()))
def test_every_question_of_a_table_is_one_that_it_answers(schema: str, tmp_path: Path) -> None:
    found = {question.sql: 0 for question in asked()[schema]}
    for seed in range(40):
        root = tmp_path / str(seed)
        root.mkdir()
        scene = Scene(Random(seed), root)
        table = add_table(scene, schema)
        with duckdb.connect() as database:
            database.execute("CREATE TABLE data AS FROM read_csv(?)", [str(scene.workspace.root / table.path)])
            for question in asked()[schema]:
                if question.fits(table):
                    made = question.of(Random(seed), table)
                    found[question.sql] += len(database.execute(made.sql).fetchall())
    assert all(found.values()), [sql for sql, rows in found.items() if not rows]


@pytest.mark.parametrize("number", range(len(all_documents())))
def test_what_is_asked_of_a_document_can_be_filled(number: int) -> None:
    document = all_documents()[number]
    drawn = drawn_for(Random(number), document.values)
    text = filled(document.text, drawn)
    for asked_one in (*document.ask, *document.sums, *document.dates):
        for template in asked_one.q:
            assert template.count("{f}") == 1 and filled(template, {**drawn, "f": "x.txt"})
        for template in asked_one.a:
            assert filled(template, {**drawn, "f": "x.txt", "r": "1"})
    for one in document.sums:
        assert evaluate(filled(one.e, drawn)) is not None
    for later in document.dates:
        assert filled(later.start, drawn) in text and set(later.add) <= {"days", "weeks", "months", "years"}


@pytest.mark.parametrize("name", sorted(dimensions()))
def test_every_unit_converts_within_its_dimension(name: str) -> None:
    first, *others = [way for ways in dimensions()[name].spoken for way in ways]
    for other in others:
        assert " = " in TOOLS["convert_units"].function(5.0, other, first)


def test_there_is_enough_to_choose_from() -> None:
    assert len(themes()) >= 60
    assert len(schemas()) >= 40


def test_templates_are_filled_in_one_pass() -> None:
    assert filled("{a} and {b}", {"a": "{b}", "b": 1}) == "{b} and 1"
    assert chosen(Random(1), "[a|a[b|b]] [|]!") in ("a!", "ab!")
