"""Changes to training records: each keeps the run true and is the same every time."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest

from umi_local.constraints import may_plan
from umi_local.errors import ConfigError, UsageError
from umi_local.messages import Role, ToolSpec
from umi_local.records import Record, parse_record
from umi_local.styles.data import chat_style, worked_examples
from umi_local.training.recipe import Part, load_recipe
from umi_local.training.refusals import without_the_tool
from umi_local.training.samples import canonical, single_turns, team_turns
from umi_local.training.thoughts import aim, with_spoken_thoughts, with_thoughts
from umi_local.training.variation import (
    Shares,
    Varier,
    masks,
    renamed,
    with_a_detour,
    with_a_failure,
    with_fewer_tools,
)
from umi_local.trajectory import Decision, Next


def tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    described = {key: {"type": "string", "description": value} for key, value in properties.items()}
    return {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": described, "required": list(properties)[:1]},
    }


def record(**changes: Any) -> Record:
    data = {
        "id": "r7",
        "source": "here",
        "tools": [
            tool("FindTrain", "Find a train to a city.", city="Where to", day="When. Format YYYY-MM-DD."),
            tool("BookHotel", "Book a room", city="Where", nights="How many"),
        ],
        "history": [["caller", '{"tool": "FindTrain", "arguments": {"city": "Bath"}}']],
        "query": "To York, please",
        "steps": [
            {"tool": "FindTrain", "arguments": {"city": "York", "day": "2019-03-01"}, "observation": '[{"at": "9:05"}]'}
        ],
        "answer": "There is one at 9:05.",
        "meta": {"services": {"FindTrain": "Trains_1", "BookHotel": "Hotels_2"}},
        **changes,
    }
    return parse_record(json.dumps(data))


VARIANTS = {
    "Trains_1": [
        {
            "intents": {"FindTrain": {"name": "search_rail", "description": "Look for a rail journey"}},
            "slots": {
                "city": {"name": "destination", "description": "Goal"},
                "day": {"name": "on", "description": "Day"},
            },
        }
    ]
    * 5
}


def test_a_renamed_tool_has_its_new_name_in_the_list_the_calls_and_the_history() -> None:
    varied = Varier(Shares(rename=1.0), (), VARIANTS).vary(record())
    run = varied.trajectory
    spec = next(tool for tool in run.tools if tool.name == "search_rail")
    assert spec.description == "Look for a rail journey"
    assert list(spec.parameters["properties"]) == ["destination", "on"]
    assert spec.parameters["required"] == ["destination"]
    # Of the first description the value's format is kept: without it the value could not be written.
    assert spec.parameters["properties"]["on"]["description"] == "Day. Format YYYY-MM-DD."
    assert run.steps[0].calls[0].name == "search_rail"
    assert dict(run.steps[0].calls[0].arguments) == {"destination": "York", "on": "2019-03-01"}
    assert json.loads(run.history[0].text) == {"name": "search_rail", "arguments": {"destination": "Bath"}}


@pytest.mark.parametrize("seed", range(12))
def test_masked_names_say_nothing_and_every_call_still_fits_its_schema(seed: int) -> None:
    varied = renamed(record(), masks(record(), random.Random(seed)))
    names = {tool.name for tool in varied.trajectory.tools}
    assert len(names) == 2
    assert not names & {"FindTrain", "BookHotel"}
    canonical(varied.trajectory)


def test_names_that_would_clash_are_left_as_they_are() -> None:
    clashing = {
        "Trains_1": [{"intents": {"FindTrain": {"name": "BookHotel", "description": "x"}}, "slots": {}}] * 5,
    }
    varied = Varier(Shares(rename=1.0), (), clashing).vary(record())
    assert {tool.name for tool in varied.trajectory.tools} == {"FindTrain", "BookHotel"}


def test_without_its_tool_a_run_says_what_is_missing() -> None:
    run = with_thoughts(without_the_tool(record(history=[]), random.Random(1))).trajectory
    assert [tool.name for tool in run.tools] == ["BookHotel"]
    (last,) = run.steps
    assert last.decision == Decision("No tool can find a train to a city, so say that.", Next.CONCLUDE)
    assert "find a train" in run.answer


def test_a_tool_that_only_sounds_right_is_not_the_one_that_is_missing() -> None:
    named = {"FindTrainTimes": "Find trains", "YorkWeather": "The weather of York", "Colour": "Mix a colour"}
    pool = [ToolSpec(name, about, {"type": "object"}) for name, about in named.items()]
    listed = {
        tuple(tool.name for tool in without_the_tool(record(history=[]), random.Random(n), pool).trajectory.tools)
        for n in range(20)
    }
    assert ("YorkWeather",) in listed
    assert not any("FindTrain" in name for tools in listed for name in tools)


def test_what_another_listed_tool_does_as_well_is_not_refused() -> None:
    twin = ToolSpec("Trains_2_FindTrain", "Look for a connection", {"type": "object"})
    given = record(history=[])
    both = replace(given, trajectory=replace(given.trajectory, tools=(*given.trajectory.tools, twin)))
    assert all(without_the_tool(both, random.Random(number)) is both for number in range(5))


def test_an_answer_that_declines_is_a_refusal_to_the_planner_too() -> None:
    declined = record(steps=[], answer="I'm sorry, but I don't have the ability to book flights.", history=[])
    assert "No tool can" in with_thoughts(declined).trajectory.steps[0].decision.rationale


def test_a_failing_call_is_tried_again_or_told() -> None:
    lengths = set()
    for number in range(20):
        run = with_thoughts(with_a_failure(record(), random.Random(number))).trajectory
        lengths.add(len(run.steps))
        assert run.steps[0].observations[0].is_error
        if len(run.steps) == 2:
            assert run.steps[0].observations[0].content in run.answer
        else:
            assert run.steps[1].observations[0].content == '[{"at": "9:05"}]'
            told = run.steps[0].observations[0].content
            assert not re.search("refused|subscription|404|switched off|key|no such", told)
    assert lengths == {2, 3}


def test_another_tool_is_tried_in_vain_without_being_taught() -> None:
    detoured = with_thoughts(with_a_detour(record(), random.Random(1)))
    run = detoured.trajectory
    assert [call.name for call in detoured.calls] == ["BookHotel", "FindTrain"]
    assert run.steps[0].observations[0].is_error
    assert canonical(run).steps[0].calls[0].arguments["city"] in ("York", "2019-03-01")
    planned = [text for role, _, text in team_turns(run, detoured.meta) if role is Role.PLANNER]
    called = [text for role, _, text in team_turns(run, detoured.meta) if role is Role.CALLER]
    assert not any("BookHotel" in text for text in [*planned, *called])
    assert [("FindTrain" in text) for text in planned] == [True, False]
    assert not any("BookHotel" in text for _, _, text in single_turns(run, detoured.meta))
    # The right call is taught with the failure in view.
    before = next(before for _, before, _ in team_turns(run, detoured.meta))
    assert [step.calls[0].name for step in before.steps] == ["BookHotel"]


def test_of_fewer_tools_the_called_ones_are_left() -> None:
    for number in range(10):
        run = with_fewer_tools(record(), random.Random(number)).trajectory
        assert "FindTrain" in {tool.name for tool in run.tools}


def test_prompts_may_show_anothers_thoughts_while_our_own_form_is_learnt() -> None:
    spoken = with_spoken_thoughts(with_thoughts(record()))
    own = [text for role, _, text in team_turns(spoken.trajectory, spoken.meta) if role is Role.PLANNER]
    assert own[0].startswith("Use FindTrain to ")
    shown = [before.steps for role, before, _ in team_turns(spoken.trajectory, spoken.meta) if role is Role.CALLER]
    (thought,) = {steps[0].decision.rationale for steps in shown}
    assert thought == spoken.meta["spoken"][0] != spoken.trajectory.steps[0].decision.rationale
    assert with_spoken_thoughts(with_thoughts(record())) == spoken


def test_distractors_come_from_the_pool_and_never_twice_under_one_name() -> None:
    pool = [ToolSpec(f"extra{i}", "Do it", {"type": "object"}) for i in range(5)]
    pool.append(record().trajectory.tools[0])
    varied = Varier(Shares(distractors=(4, 4)), pool, {}).vary(record())
    names = [tool.name for tool in varied.trajectory.tools]
    assert len(names) == len(set(names)) >= 5


def test_changes_depend_on_the_record_alone() -> None:
    varier = Varier(Shares(rename=0.3, mask=0.3, impossible=0.2, failing=0.2, distractors=(0, 2)), (), VARIANTS)
    assert with_thoughts(varier.vary(record())) == with_thoughts(varier.vary(record()))


def test_a_rationale_names_the_tool_and_what_it_is_called_for() -> None:
    said = set()
    for number in range(30):
        rationale = with_thoughts(replace(record(), id=f"r{number}")).trajectory.steps[0].decision.rationale
        assert rationale.startswith("Use FindTrain to ")
        said.add(rationale)
    assert len(said) >= 3
    assert any("York" in text for text in said)


def test_a_built_in_tool_is_called_for_what_its_arguments_say() -> None:
    steps = [{"thought": "Hm.", "tool": "convert_units", "arguments": {"value": 3, "source": "km", "target": "mi"}}]
    run = with_thoughts(record(steps=[{**steps[0], "observation": "9"}])).trajectory
    assert run.steps[0].decision.rationale == "Use convert_units to convert 3 km to mi."


@pytest.mark.parametrize("path", ["x" * 60, "Next: caller.", ""])
def test_a_value_that_is_no_part_of_a_sentence_is_left_out(path: str) -> None:
    steps = [{"thought": "", "tool": "read_file", "arguments": {"path": path}, "observation": "9"}]
    assert with_thoughts(record(steps=steps)).trajectory.steps[0].decision.rationale == "Use read_file to read it."


def test_every_rationale_has_the_form_to_which_a_planner_is_bound() -> None:
    language = chat_style().language.model_copy(update={"plans": worked_examples().plans})
    for number in range(40):
        given, chance = replace(record(), id=f"r{number}"), random.Random(number)
        for changed in (given, with_a_failure(given, chance), without_the_tool(given, chance)):
            run = with_thoughts(changed).trajectory
            for i, step in enumerate(run.steps):
                before = replace(run, steps=run.steps[:i])
                assert may_plan(language, before, step.decision), step.decision


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("Find a train to a city.", "find a train to a city"),
        ("Returns the weather; in Celsius", "return the weather"),
        ("The weather of a place", ""),
        ("Weather", ""),
        ("", ""),
    ],
)
def test_a_tools_aim_is_its_description_as_an_infinitive(description: str, said: str) -> None:
    assert aim(ToolSpec("t", description, {})) == said


def test_every_shipped_recipe_is_valid_and_trains_on_nothing_for_measuring() -> None:
    recipe = load_recipe("cpu-0.5b")
    assert all(not part.file.startswith("eval/") for part in recipe.parts.values())
    assert recipe.stage("planner") == recipe.stages["role"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("pack = 1", "pack"), ("pack = ", "not TOML"), ('pack = "a"\nsede = 2\n[parts]\n[stages]', "sede")],
)
def test_a_recipe_that_is_none_is_a_sentence(tmp_path: Any, text: str, said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_recipe(str(path))
    with pytest.raises(ConfigError, match=r"cpu-0\.5b"):
        load_recipe("no-such")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("[stages.rolle]\nlearning_rate = 1e-4", "stages.rolle"),
        ("[parts.evryday]\ncount = 4", "evryday names no file"),
        ("[parts.everyday]\ncount = 4\nsped = 1", "says parts.everyday.sped, which no recipe has"),
    ],
)
def test_a_slip_in_a_recipe_is_told(tmp_path: Any, wrong: str, told: str) -> None:
    path = tmp_path / "slip.toml"
    path.write_text(f'pack = "smollm2-135m"\n[stages.role]\nlearning_rate = 1e-4\n[parts]\n{wrong}\n')
    with pytest.raises(ConfigError, match=told):
        load_recipe(str(path))


def test_a_broken_line_is_named_where_records_are_missing_for_it(tmp_path: Any) -> None:
    from umi_local.records import to_line
    from umi_local.training.mix import mixed

    (tmp_path / "train").mkdir()
    lines = [to_line(record(id="a")), to_line(record(id="b"))[:-20]]
    (tmp_path / "train" / "mine.jsonl").write_text("\n".join(lines), encoding="utf-8")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'pack = "smollm2-135m"\n[stages.role]\nlearning_rate = 1e-4\n'
        '[parts.mine]\nfile = "train/mine.jsonl"\ncount = 2\n'
    )
    with pytest.raises(UsageError, match=r"mine\.jsonl, line 2: .*at character \d+") as told:
        list(mixed(load_recipe(str(recipe)), tmp_path, []))
    assert "Mend the file" in str(told.value)


@pytest.mark.parametrize("file", ["eval/a.jsonl.gz", "./eval/a.jsonl.gz", "train/../eval/a.jsonl.gz", "train/link"])
def test_a_recipe_that_names_a_file_for_measuring_is_refused(tmp_path: Any, file: str) -> None:
    from umi_local.training.mix import mixed

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "link").symlink_to(tmp_path / "eval" / "a.jsonl.gz")
    recipe = load_recipe("cpu-0.5b")
    part = recipe.parts["star"].model_copy(update={"file": file})
    with pytest.raises(UsageError, match="for measuring"):
        mixed(recipe.model_copy(update={"parts": {"bad": part}}), tmp_path, [])


def test_a_line_that_two_parts_cannot_read_is_told_once(tmp_path: Any) -> None:
    from umi_local.records import Fault, to_line
    from umi_local.training.mix import mixed

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.jsonl").write_text(f"{to_line(record(id='a'))}\nnone\n", encoding="utf-8")
    part = Part(file="train/mine.jsonl", count=1)
    recipe = load_recipe("cpu-0.5b").model_copy(update={"parts": {"one": part, "two": part}})
    faults: list[Fault] = []
    assert len(list(mixed(recipe, tmp_path, faults))) == 2
    assert [fault.line for fault in faults] == [2]


def test_parts_of_everyday_runs_have_runs_of_their_own() -> None:
    from umi_local.training.everyday import generate
    from umi_local.training.mix import mixed

    part = Part(count=2)
    recipe = load_recipe("cpu-0.5b").model_copy(update={"parts": {"everyday": part, "everyday_more": part}})
    made = [each for _, each in mixed(recipe, None, [])]
    assert made[:2] == list(generate(2, recipe.seed))
    assert len({each.id for each in made}) == len({str(each.trajectory) for each in made}) == 4


@pytest.mark.parametrize("damaged", [lambda raw: raw[:-8], lambda raw: raw[:10] + b"\xff" * 20])
def test_damaged_names_are_a_sentence(damaged: Any, tmp_path: Any) -> None:
    import gzip

    from umi_local.records import to_line
    from umi_local.training.mix import mixed

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.jsonl").write_text(to_line(record(id="a")), encoding="utf-8")
    (tmp_path / "train" / "sgd_x_variants.json.gz").write_bytes(damaged(gzip.compress(b'{"a": []}' * 9)))
    part = Part(file="train/mine.jsonl", count=1, rename=1)
    with pytest.raises(UsageError, match=r"The other names in .* cannot be read"):
        list(mixed(load_recipe("cpu-0.5b").model_copy(update={"parts": {"mine": part}}), tmp_path, []))


@pytest.mark.parametrize("folder", [None, "empty"])
def test_a_file_that_is_not_there_is_said_before_any_work(folder: str | None, tmp_path: Any) -> None:
    from umi_local.training.mix import mixed

    with pytest.raises(UsageError, match="--data DIR"):
        mixed(load_recipe("cpu-0.5b"), tmp_path / folder if folder else None, [])
