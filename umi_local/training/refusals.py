"""Recorded requests whose tool is not there, so that a planner learns to say so instead of calling what is listed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from umi_local.messages import ToolSpec
from umi_local.records import Record, with_trajectory
from umi_local.training.inventing import words_of
from umi_local.training.thoughts import aim
from umi_local.trajectory import Decision, Next, Step, StopReason

_LOOKED_AT = 200  # tools of the pool
# Words that many tools are described with.
_COMMON = frozenset(("find", "retrieve", "look", "search", "check", "with", "from", "given", "information"))


def without_the_tool(record: Record, chance: random.Random, pool: Sequence[ToolSpec] = ()) -> Record:
    """A needed tool is no longer listed: the answer says what is missing. (Giving up is open after an error only.)

    Of a request for several things that do not need each other the rest is done. Other requests for several things
    are left as they are. Half of the requests for one thing find tools of the pool instead that sound as if they did.
    """
    run, calls = record.trajectory, record.calls
    if not calls or run.history or (len(calls) > 1 and not record.meta.get("independent")):
        return record
    lost = chance.randrange(len(calls))
    needed = next((tool for tool in run.tools if tool.name == calls[lost].name), None)
    if needed is None or not (what := aim(needed)) or sum(call.name == needed.name for call in calls) > 1:
        return record
    left = tuple(tool for tool in run.tools if tool.name != needed.name)
    if any(twins(tool, needed) for tool in left):
        return record  # it does the same
    near = _near(run.query, needed, pool, chance)
    if not (left or near):
        return record
    sorry = f"I'm sorry, none of my tools can {what}."
    if len(calls) > 1:
        steps = (*run.steps[:lost], *run.steps[lost + 1 :])
        answers = [*record.meta.get("answers", [])]
        answer = " ".join([*answers[:lost], *answers[lost + 1 :], sorry]) if all(answers) and answers else ""
        return with_trajectory(record, tools=left, steps=steps, answer=answer)
    meta = {**record.meta, "missing_aim": what, "grounded": True}
    run = replace(
        run,
        tools=near if near and (not left or chance.random() < 0.5) else left[: chance.randint(1, len(left))],
        steps=(Step(Decision("", Next.CONCLUDE)),),
        answer=sorry,
        stop=StopReason.ANSWERED,
    )
    return replace(record, trajectory=run, meta=meta)


def _near(query: str, needed: ToolSpec, pool: Sequence[ToolSpec], chance: random.Random) -> tuple[ToolSpec, ...]:
    """One or two tools that share words with a request, and not those that could do in place of the one it needs."""
    asked = _words(query)
    others = [
        tool
        for tool in chance.sample(pool, min(len(pool), _LOOKED_AT))
        if not _alike(tool, needed) and asked & _words(f"{tool.name} {tool.description}")
    ]
    return tuple(others[: chance.choice((1, 1, 2))])


def _alike(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether one tool might do what the other does, by a word of their names or a third of their descriptions."""
    a, b = (_words(tool.description) for tool in (one, other))
    named = _words(one.name) & _words(other.name) - _COMMON
    return one.name == other.name or bool(named) or len(a & b - _COMMON) * 3 >= len((a | b) - _COMMON)


def twins(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two tools do the same: by their names without a service's (`Movies_1_`), or nearly the same words."""
    a, b = (_words(tool.description) for tool in (one, other))
    bare = [re.sub(r"^[A-Za-z]+_\d+_", "", tool.name) for tool in (one, other)]
    return bare[0] == bare[1] or 3 * len(a & b) > 2 * len(a | b)


def _words(text: str) -> frozenset[str]:
    """The words of a text or of a tool's name, without the shortest and a plural's s."""
    return frozenset(word.removesuffix("s") for word in words_of(text) if len(word) > 3)
