"""A crew's turns as the JSON that predictions are kept in, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from umi_local.errors import ContextFull
from umi_local.evaluation.suite import Contestant
from umi_local.messages import ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew, Incomplete
from umi_local.trajectory import Next, Step, StopReason, Trajectory

_WITHOUT_TOOLS = (Next.CONCLUDE, Next.GIVE_UP)


def take_turn(crew: Crew, run: Trajectory, call: bool = True) -> dict[str, Any]:
    """What a crew decides on `run` and, if `call` and it decides so, the calls it then writes.

    Returns:
        `next`, `rationale` and `calls` (name and arguments each); a call that was cut off leaves `calls` empty. Where
        the run does not fit the context there is an `error` besides: asking again would not help, so the turn is wrong.
    """
    try:
        decision = crew.plan(run, tuple(Next) if run.tools else _WITHOUT_TOOLS)
        calls = _written(crew, run.with_step(Step(decision))) if call and decision.next is Next.CALL else ()
    except ContextFull as error:
        return {"next": "", "rationale": "", "calls": [], "error": str(error)}
    return {"next": decision.next.value, "rationale": decision.rationale, "calls": calls_to_json(calls)}


def whole_run(contestant: Contestant, start: Trajectory, toolbox: Toolbox) -> dict[str, Any]:
    """A whole run as JSON: `calls` in order, each with `observation` and `is_error`, the `answer` and the `stop`.

    A run that does not fit the context has made no calls and has no answer.
    """
    try:
        run = contestant.run(start, toolbox)
    except ContextFull:
        return {"calls": [], "answer": "", "stop": StopReason.CONTEXT_FULL.value}
    calls = [
        {**call, "observation": seen.content, "is_error": seen.is_error}
        for step in run.steps
        for call, seen in zip(calls_to_json(step.calls), step.observations, strict=False)
    ]
    return {"calls": calls, "answer": run.answer, "stop": run.stop.value if run.stop else ""}


def calls_to_json(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    return [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]


def calls_of(turn: Mapping[str, Any]) -> list[ToolCall]:
    """The calls of a turn or of a run that was kept as JSON."""
    return [ToolCall(call["name"], call["arguments"]) for call in turn["calls"]]


def called(turn: Mapping[str, Any]) -> bool:
    """Whether the turn decided to call; giving up is no call."""
    return bool(turn["next"] == Next.CALL.value)


def phrase(calls: Sequence[ToolCall]) -> str:
    """The tools' names for a sentence."""
    return ", ".join(call.name for call in calls) or "none"


def _written(crew: Crew, run: Trajectory) -> tuple[ToolCall, ...]:
    try:
        return crew.call(run)
    except Incomplete:
        return ()
