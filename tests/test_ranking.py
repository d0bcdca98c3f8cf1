"""More tools than a prompt has room for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from umi_local import assemble
from umi_local.constraints import constraint_for
from umi_local.markup import markup_for
from umi_local.messages import ModelInfo, Role, ToolCall, ToolSpec
from umi_local.prompts import ChatRenderer
from umi_local.styles.data import chat_style
from umi_local.toolbox import Approval, LocalToolbox, Tool, tool
from umi_local.toolbox.ranking import FIND_TOOLS, Ranking, search_tool
from umi_local.tools import BUILTIN_TOOLS
from umi_local.trajectory import Next, Trajectory
from umi_local.wire import from_json, to_json

SUBJECTS = ["weather", "flights", "recipes", "stocks", "lyrics", "parcels", "movies", "hotels", "trains", "taxes"]


def spec(name: str, description: str) -> ToolSpec:
    return ToolSpec(name, description, {"type": "object", "properties": {"city": {"type": "string"}}})


def added(count: int) -> list[Tool]:
    made = []
    for i in range(count):
        subject = SUBJECTS[i % len(SUBJECTS)]

        def run(place: str) -> str:
            return place

        run.__name__, run.__doc__ = f"{subject}_{i}", f"Look up {subject} of kind {i}."
        made.append(tool()(run))
    return made


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalToolbox:
    class Added:
        tools = added(40)

    monkeypatch.setattr(assemble, "extensions", Added)
    return assemble.toolbox_for([*BUILTIN_TOOLS, *Added.tools], tmp_path, Approval())


def test_the_words_of_a_request_find_the_tool() -> None:
    ranking = Ranking([spec("getWeather", "Weather forecast."), spec("book_flight", "Reserve seats on planes.")])
    assert [found.name for found in ranking.search("Will it rain? I need the weather forecasts", 1)] == ["getWeather"]
    assert [found.name for found in ranking.search("booking a flight", 2)] == ["book_flight"]
    assert ranking.search("", 3) == ()
    assert ranking.search("the of and", 3) == ()
    assert ranking.search("quantum", 3) == ()


def test_few_tools_are_all_listed(tmp_path: Path) -> None:
    box = assemble.toolbox_for(BUILTIN_TOOLS, tmp_path, Approval())
    assert len(box.specs) == len(BUILTIN_TOOLS)
    assert box.fitting("weather") == ()


def test_of_many_the_fitting_are_listed_behind_what_is_constant(box: LocalToolbox) -> None:
    style = chat_style()
    renderer = ChatRenderer(style, markup_for("chatml", ModelInfo("m", 8192), style.speakers, style.cues))

    def trunk(query: str) -> tuple[Any, int]:
        run = Trajectory(query, tuple(box.specs), found=box.fitting(query))
        prompt = renderer.render(run, Role.PLANNER)
        return prompt.trunk, prompt.constant

    (weather, constant), (trains, _) = trunk("weather in Paris"), trunk("trains to Rome")
    assert weather[:constant] == trains[:constant]
    text = "".join(segment.text for segment in weather[constant:])
    assert "weather_0(" in text
    assert "trains_8(" not in text
    assert "find_tools" in "".join(segment.text for segment in weather[:constant])


def test_a_tool_that_was_found_can_be_called_and_is_kept_with_the_run(box: LocalToolbox) -> None:
    from umi_local.trajectory import Decision, Step

    call = ToolCall("find_tools", {"purpose": "song lyrics"})
    seen = box.run(call)
    assert "lyrics_4(place)" in seen.content
    run = Trajectory("q", tuple(box.specs), steps=(Step(Decision("Use find_tools", Next.CALL), (call,), (seen,)),))
    assert "lyrics_4" in {known.name for known in run.callable_tools}
    assert from_json(to_json(run)) == run
    grammar = constraint_for(Role.CALLER, chat_style().language, run, (), 1).grammar
    assert "lyrics_4" in grammar
    assert "movies_6" not in grammar
    assert box.run(ToolCall("lyrics_4", {"place": "x"})).content == "x"


def test_a_tool_that_cannot_be_constrained_is_neither_listed_nor_found(tmp_path: Path, box: LocalToolbox) -> None:
    text = {"type": "string", "pattern": "(?=a)b"}
    bad = ToolSpec("horoscope", "Read the horoscope.", {"type": "object", "properties": {"sign": text}})
    (known,) = added(1)
    box = replace(box, hidden=[*box.hidden, replace(known, spec=bad)])
    assert box.fitting("horoscope")[0] == bad
    style, told = chat_style(), list[object]()
    renderer = ChatRenderer(style, markup_for("chatml", ModelInfo("m", 8192), style.speakers, style.cues))
    kept = assemble._expressible(box, renderer, told.append)
    assert "horoscope" in str(told)
    assert bad not in kept.fitting("horoscope")
    assert "horoscope" not in kept.run(ToolCall("find_tools", {"purpose": "horoscope"})).content
    assert kept.run(ToolCall("horoscope", {"sign": "b"})).is_error


def test_what_does_not_exist_is_told() -> None:
    find = search_tool(Ranking([spec("a", "b")]))
    assert find.name == FIND_TOOLS
    found = find.function(purpose="quantum")
    assert found.tools == ()
    assert "No tool fits" in found.text
