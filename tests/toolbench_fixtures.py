"""Small conversations in the form of the paper's static files, made for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umi_local.backends.scripted import Line
from umi_local.messages import Role

TOOLS = [
    {
        "Name": "weather",
        "function": "Tells the weather.",
        "input": {"city": "string, where", "days": "integer, how many"},
    },
    {"Name": "time", "function": "Tells the time.", "input": {}},
]


def conversation(*turns: tuple[str, str], tools: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    said = [{"from": speaker, "value": value} for speaker, value in turns]
    return {"tools": TOOLS if tools is None else tools, "instruction": "", "conversations": said}


def call(name: str = "weather", arguments: str = '{"city": "Oslo",\n "days": 2}') -> tuple[tuple[str, str], ...]:
    return (
        ("assistant", f"I need {name}. Next: caller."),
        ("caller", f"Action: {name}\nAction Input: {arguments}"),
        ("observation", "cold"),
    )


ANSWERED = conversation(
    ("user", "Oslo?"), *call(), ("assistant", "I know it. Next: conclusion."), ("conclusion", "It is cold. In Oslo.")
)
SURRENDERED = conversation(("user", "Now?"), *call("time", "{}"), ("assistant", "It is of no use. Next: give up."))
IRREGULAR = conversation(
    ("user", "Both?"),
    *call(),
    ("user", "Try again."),
    *call("time", "{}"),
    ("assistant", "I am not sure."),
    ("assistant", "Now I am. Next: conclusion."),
    ("conclusion", "Cold at noon."),
)
CONVERSATIONS = [ANSWERED, SURRENDERED, IRREGULAR]


def write_file(folder: Path, data: object = None) -> Path:
    path = folder / "toolbench.json"
    path.write_text(json.dumps(CONVERSATIONS if data is None else data), encoding="utf-8")
    return path


def gold_lines() -> Iterator[Line]:
    """What a model would write that is right at every step of `CONVERSATIONS`."""
    weather = '{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}'
    time = '{"name": "time", "arguments": {}}'
    yield from _step("I need weather. Next: caller.", weather)
    yield from _step("I know it. Next: conclusion.", "It is cold. In Oslo.")
    yield from _step("I need time. Next: caller.", time)
    yield from _step("Next: give up.", "")
    yield from _step("I need weather. Next: caller.", weather)
    yield from _step("I need time. Next: caller.", time)
    yield from _step("Now I am. Next: conclusion.", "Cold at noon.")


def _step(plan: str, following: str) -> Iterator[Line]:
    yield Line(Role.PLANNER, plan)
    if following:
        yield Line(Role.CALLER if "caller" in plan else Role.SUMMARIZER, following)
