"""Short rationales for recorded runs that have none, made from their acts and the tools' documents.

The rule is in `thoughts.toml`: what a step needs, the values that the caller has to copy, and the tool by its name.
Which template a step gets depends on the record's id alone.
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
from typing import Any

from umi_local.messages import ToolCall, ToolSpec
from umi_local.records import Record, with_trajectory
from umi_local.trajectory import Decision, Next, Step, Trajectory

_MOST_VALUES = 4
_LONGEST_VALUE = 48
_LONGEST_AIM = 12
_NO_INFINITIVE = {"the", "a", "an", "this", "it", "its", "these", "all", "and", "or"}
_FAILED = re.compile(r"\b(error|failed|failure|invalid|not found|exception|denied)\b", re.IGNORECASE)
_EMPTY = {"", "[]", "{}", "null", "none", '""'}


def with_thoughts(record: Record) -> Record:
    """The record with a rationale for every step that lacks one."""
    chance = random.Random(f"thoughts {record.id}")
    run = record.trajectory
    steps: list[Step] = []
    for step in run.steps:
        if not step.decision.rationale:
            rationale = _rationale(step, steps, run, record.meta, chance)
            step = replace(step, decision=Decision(rationale, step.decision.next))
        steps.append(step)
    return with_trajectory(record, steps=tuple(steps))


def aim(tool: ToolSpec) -> str:
    """What a tool does as an infinitive without `to`; empty if its description does not begin with a verb."""
    sentence = re.split(r"[.;:(\n]", tool.description.strip(), maxsplit=1)[0]
    words = sentence.split()
    if not 2 <= len(words) <= _LONGEST_AIM or words[0].lower() in _NO_INFINITIVE or not words[0].isalpha():
        return ""
    first = words[0].lower()
    if first.endswith("s") and not first.endswith("ss"):
        first = first[:-1]
    return " ".join([first, *words[1:]])


def looks_failed(content: str) -> bool:
    """Whether an observation reads like an error; recorded runs do not say."""
    return len(content) < 400 and bool(_FAILED.search(content))


def _rationale(step: Step, before: list[Step], run: Trajectory, meta: Mapping[str, Any], chance: random.Random) -> str:
    tools = {tool.name: tool for tool in run.tools}
    if step.calls:
        return _for_call(step.calls[0], tools, before, chance)
    words = _words()
    if step.decision.next is Next.GIVE_UP:
        return _filled(chance, words["give_up"]["templates"], aim=str(meta.get("missing_aim") or "do this"))
    last = before[-1] if before else None
    if last is None:
        return _filled(chance, words["conclude"][_kind_of_answer(run, meta)], aim=str(meta.get("missing_aim", "")))
    observation = last.observations[0]
    kind = "after_result"
    if observation.is_error or looks_failed(observation.content):
        kind = "after_error"
    elif observation.content.strip().lower() in _EMPTY:
        kind = "after_nothing"
    return _filled(chance, words["conclude"][kind], tool=last.calls[0].name)


def _kind_of_answer(run: Trajectory, meta: Mapping[str, Any]) -> str:
    if meta.get("missing_aim"):
        return "cannot"
    return "asks" if run.answer.rstrip().endswith("?") else "direct"


def _for_call(call: ToolCall, tools: Mapping[str, ToolSpec], before: list[Step], chance: random.Random) -> str:
    words = _words()
    what, values = aim(tools[call.name]) if call.name in tools else "", _values(call)
    form = ("" if what else "plain_") + ("with_values" if values else "without_values")
    stage = "first"
    if before:
        failed = before[-1].observations[0].is_error or looks_failed(before[-1].observations[0].content)
        stage = "after_error" if failed else "after_result"
    opening = chance.choice(words["openings"][stage])
    said = _filled(chance, words["call"][form], tool=call.name, aim=what, values=values)
    return f"{opening} {said}".strip()


def _values(call: ToolCall) -> str:
    """The call's values in words, as many as a short sentence holds."""
    shown = []
    for value in call.arguments.values():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = " ".join(text.split())
        if text and len(text) <= _LONGEST_VALUE and "Next:" not in text:
            shown.append(text)
    shown = shown[:_MOST_VALUES]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _filled(chance: random.Random, templates: list[str], **values: str) -> str:
    said = chance.choice(templates).format_map(_Blank(values))
    return said[0].upper() + said[1:] if said[0].islower() and not said.startswith(values.get("tool", "\0")) else said


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "it"


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(files("umi_local.training").joinpath("thoughts.toml").read_text(encoding="utf-8"))
