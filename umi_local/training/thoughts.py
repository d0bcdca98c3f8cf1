"""Short rationales for recorded runs, made from their acts and the tools' documents.

All have the form to which a planner is bound (`styles/examples.toml`), so that nothing is learnt that could not be
written: the tool by its name, and what it is called for. The rule is in `thoughts.toml`; where it leaves a choice, the
record's id decides.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

from pydantic import TypeAdapter

from umi_local.messages import ToolCall, ToolSpec
from umi_local.records import Record
from umi_local.trajectory import Decision, Next, Step, Trajectory

_MOST_VALUES = 3
_LONGEST_VALUE = 48
_LONGEST_AIM = 12
_LONGEST_PURPOSE = 100  # characters, as the form allows
_NO_INFINITIVE = {"the", "a", "an", "this", "it", "its", "these", "all", "and", "or"}
_CANNOT = re.compile(
    r"^(I'm sorry|I am sorry|Sorry|I apologi[sz]e|Unfortunately)\b"
    r".*\b(can't|cannot|not able|unable|don't have|do not have)\b"
)
_EMPTY = {"", "[]", "{}", "null", "none", '""'}


def with_thoughts(record: Record) -> Record:
    """The record with a rationale for every step; those of its source are of no form that a planner may write."""
    return replace(record, trajectory=with_rationales(record.trajectory, record.id, record.meta))


def with_rationales(run: Trajectory, id: str, meta: Mapping[str, Any]) -> Trajectory:
    """The run with a rationale for every step. `meta` may name a `missing_aim`: what no listed tool can do."""
    chance = random.Random(f"thoughts {id}")
    steps: list[Step] = []
    for step in run.steps:
        rationale = _rationale(step, steps, run, meta, chance)
        steps.append(replace(step, decision=Decision(rationale, step.decision.next)))
    return replace(run, steps=tuple(steps))


def with_spoken_thoughts(record: Record) -> Record:
    """The record with what another agent might have thought at each step that calls, in `meta`, as `spoken`.

    Prompts then show these words, while a planner still learns to write its own form: it may be asked to go on from
    what another agent began.
    """
    chance = random.Random(f"spoken {record.id}")
    tools = {tool.name: tool for tool in record.trajectory.tools}
    steps = record.trajectory.steps
    failed = [False, *(any(seen.is_error for seen in step.observations) for step in steps)]
    spoken = [
        _spoken(step, "after_error" if failed[i] else "later" if i else "first", tools, chance) if step.calls else ""
        for i, step in enumerate(steps)
    ]
    return replace(record, meta={**record.meta, "spoken": spoken})


def aim(tool: ToolSpec) -> str:
    """What a tool does as an infinitive without `to`; empty if its description does not begin with a verb."""
    sentence = re.split(r"[.;:(\n]", tool.description.strip(), maxsplit=1)[0]
    words = sentence.split()
    if not 2 <= len(words) <= _LONGEST_AIM or words[0].lower() in _NO_INFINITIVE or not words[0].isalpha():
        return ""
    first = words[0].lower()
    if first.endswith(("ches", "shes", "sses", "xes", "zes")):
        first = first[:-2]
    elif first.endswith("s") and not first.endswith("ss"):
        first = first[:-1]
    return " ".join([first, *words[1:]])


def _rationale(step: Step, before: list[Step], run: Trajectory, meta: Mapping[str, Any], chance: random.Random) -> str:
    if step.calls:
        tools = {tool.name: tool for tool in run.tools}
        call = step.calls[0]
        values = _values(call) if meta.get("grounded", True) else ""
        return f"Use {call.name} to {_purpose(call, tools.get(call.name), values, chance)}."
    words = _words()
    missing = {"aim": str(meta.get("missing_aim") or "do this")}
    if step.decision.next is Next.GIVE_UP:
        return f"No tool can {missing['aim']}."
    return chance.choice(words["conclude"][_kind_of_end(before, run, meta)]).format_map(missing)


def _kind_of_end(before: list[Step], run: Trajectory, meta: Mapping[str, Any]) -> str:
    if not before:
        if meta.get("missing_aim") or _CANNOT.search(run.answer):
            return "cannot"
        return "asks" if run.tools and run.answer.rstrip().endswith("?") and meta.get("kind") != "chat" else "direct"
    observation = before[-1].observations[0]
    if observation.is_error:
        return "after_error"
    if observation.content.strip().lower() in _EMPTY:
        return "after_nothing"
    return "after_result" if len(before) == 1 else "after_results"


def _purpose(call: ToolCall, tool: ToolSpec | None, values: str, chance: random.Random) -> str:
    """What a call is for, in a few words: the first line of a built-in tool that fits, or one drawn for any other."""
    words = _words()
    slots = {name: text for name, value in call.arguments.items() if (text := _short(value))}
    if call.name in words["purpose"]:
        lines = [*words["purpose"][call.name], *words["other"]["purposes"][-1:]]
    else:
        slots = {"aim": aim(tool) if tool else "", "values": values}
        lines = chance.sample(words["other"]["purposes"], len(words["other"]["purposes"]))
    return next(
        line.format_map(slots)
        for line in lines
        if all(slots.get(name) for _, name, _, _ in Formatter().parse(line) if name)
        and len(line.format_map(slots)) <= _LONGEST_PURPOSE
    )


def _spoken(step: Step, place: str, tools: Mapping[str, ToolSpec], chance: random.Random) -> str:
    call = step.calls[0]
    tool = tools.get(call.name)
    slots = {"tool": call.name, "aim": aim(tool) if tool else "", "values": _values(call)}
    fitting = [
        line
        for line in _words()["spoken"][place]
        if all(slots[name] for _, name, _, _ in Formatter().parse(line) if name)
    ]
    return chance.choice(fitting).format_map(slots)


def _values(call: ToolCall) -> str:
    """The call's values in words, as many as a short sentence holds."""
    shown = [text for value in call.arguments.values() if (text := _short(value))][:_MOST_VALUES]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _short(value: Any) -> str:
    """A value as a rationale may name it; empty if it is too long for one, or would end it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE and "Next:" not in text else ""


@cache
def _words() -> Mapping[str, Mapping[str, list[str]]]:
    text = files("umi_local.training").joinpath("thoughts.toml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, dict[str, list[str]]]).validate_python(tomllib.loads(text))
