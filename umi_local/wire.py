"""A trajectory as JSON and as Markdown: what `ask --json` prints, what the store keeps, what an export holds."""

from __future__ import annotations

import json
import re
from typing import Any

from umi_local.messages import Message, Observation, Speaker, ToolCall, ToolSpec
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

SCHEMA_VERSION = 1


def to_json(trajectory: Trajectory) -> dict[str, Any]:
    """All of a trajectory; `from_json` gives it back."""
    return {
        **outcome_to_json(trajectory),
        "context": trajectory.context,
        "tools": [_tool_to_json(tool) for tool in trajectory.tools],
        "found": [_tool_to_json(tool) for tool in trajectory.found],
        **({"outside": True} if trajectory.outside else {}),
        "history": [{"speaker": message.speaker.value, "text": message.text} for message in trajectory.history],
    }


def outcome_to_json(trajectory: Trajectory) -> dict[str, Any]:
    """What `ask --json` says of a run: query, answer, stop and steps. `stop` is None while it is going on."""
    return {
        "query": trajectory.query,
        "answer": trajectory.answer,
        "stop": trajectory.stop.value if trajectory.stop else None,
        "steps": [step_to_json(step) for step in trajectory.steps],
    }


def from_json(data: Any) -> Trajectory:
    """The trajectory that `to_json` or `outcome_to_json` wrote; what is left out is empty.

    Raises:
        ValueError: `data` has another shape.
    """
    try:
        return Trajectory(
            query=_text(data["query"]),
            tools=tuple(_tool_from_json(tool) for tool in data.get("tools", ())),
            history=tuple(_message_from_json(message) for message in data.get("history", ())),
            context=_text(data.get("context", "")),
            steps=tuple(step_from_json(step) for step in data["steps"]),
            answer=_text(data["answer"]),
            stop=StopReason(data["stop"]) if data["stop"] is not None else None,
            found=tuple(_tool_from_json(tool) for tool in data.get("found", ())),
            outside=bool(data.get("outside", False)),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a trajectory: {type(error).__name__}: {error}") from error


def step_to_json(step: Step) -> dict[str, Any]:
    return {
        "rationale": step.decision.rationale,
        "next": step.decision.next.value,
        "calls": [{"name": call.name, "arguments": dict(call.arguments)} for call in step.calls],
        "observations": [_observation_to_json(observation) for observation in step.observations],
    }


def step_from_json(data: Any) -> Step:
    """The step that `step_to_json` wrote.

    Raises:
        ValueError: `data` has another shape.
    """
    try:
        return Step(
            Decision(_text(data["rationale"]), Next(data["next"])),
            tuple(ToolCall(_text(call["name"]), dict(call["arguments"])) for call in data["calls"]),
            tuple(_observation_from_json(observation) for observation in data["observations"]),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a step: {type(error).__name__}: {error}") from error


def to_markdown(trajectory: Trajectory) -> str:
    """A run for a reader: the query quoted, each step, then the answer or why there is none."""
    parts = [_quoted(trajectory.query)]
    for number, step in enumerate(trajectory.steps, start=1):
        parts += [f"**Step {number}**", *_step_markdown(step)]
    stop = trajectory.stop.value.replace("_", " ") if trajectory.stop else "interrupted"
    if trajectory.stop is not StopReason.ANSWERED:
        parts.append(f"**Stopped**: {stop}")
    if trajectory.answer:
        parts += ["**Answer**", trajectory.answer]
    return "\n\n".join(parts)


def _step_markdown(step: Step) -> list[str]:
    parts = [step.decision.rationale, f"Next: {step.decision.next.value}"]
    for number, call in enumerate(step.calls):
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False, indent=2)
        parts += [f"Call of `{call.name}`:", _fenced(arguments, "json")]
        if number < len(step.observations):
            observation = step.observations[number]
            verdict = "Denied" if observation.denied else "Error" if observation.is_error else "Result"
            parts += [f"{verdict}:", _fenced(observation.content)]
    return [part for part in parts if part]


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _fenced(text: str, language: str = "") -> str:
    """`text` as a code block that nothing inside it can close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _observation_to_json(observation: Observation) -> dict[str, Any]:
    data: dict[str, Any] = {"content": observation.content, "is_error": observation.is_error}
    if observation.denied:
        data["denied"] = True
    if observation.found:
        data["found"] = [_tool_to_json(tool) for tool in observation.found]
    if observation.changes:
        data["changes"] = observation.changes
    return data


def _observation_from_json(data: Any) -> Observation:
    found = tuple(_tool_from_json(tool) for tool in data.get("found", ()))
    changes = _text(data.get("changes", ""))
    return Observation(_text(data["content"]), bool(data["is_error"]), bool(data.get("denied", False)), found, changes)


def _tool_to_json(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _tool_from_json(data: Any) -> ToolSpec:
    return ToolSpec(_text(data["name"]), _text(data["description"]), dict(data["parameters"]))


def _message_from_json(data: Any) -> Message:
    return Message(Speaker(data["speaker"]), _text(data["text"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
