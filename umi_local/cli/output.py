"""What a run puts on stdout: the answer, one JSON object, or a line per event."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from umi_local.cli.console import AnswerStream
from umi_local.events import (
    CallEnded,
    CallStarted,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    TextWritten,
    TurnEnded,
    TurnStarted,
    Warned,
)
from umi_local.plain import as_json, printable
from umi_local.wire import SCHEMA_VERSION, outcome_to_json, step_to_json


class Output(Protocol):
    def __call__(self, event: Event) -> None: ...

    def finish(self, result: dict[str, Any]) -> None:
        """Say how the run ended; `result` is the object of `ask --json`."""


class AnswerOutput:
    """The answer alone: as it is written on a terminal, in one piece elsewhere."""

    def __init__(self) -> None:
        self._stream = AnswerStream() if sys.stdout.isatty() else None

    def __call__(self, event: Event) -> None:
        if self._stream:
            self._stream(event)

    def finish(self, result: dict[str, Any]) -> None:
        if result["answer"] and not (self._stream and self._stream.wrote):
            sys.stdout.write(printable(result["answer"]) + "\n")


class JsonOutput:
    def __call__(self, event: Event) -> None:
        pass

    def finish(self, result: dict[str, Any]) -> None:
        sys.stdout.write(as_json(result) + "\n")


class StreamOutput:
    """One event per line, the first `init` and the last `result`."""

    def __init__(self) -> None:
        self._line({"type": "init", "schema_version": SCHEMA_VERSION})

    def __call__(self, event: Event) -> None:
        told = event_to_json(event)
        if told:
            self._line(told)

    def finish(self, result: dict[str, Any]) -> None:
        self._line({"type": "result", **result})

    def _line(self, value: dict[str, Any]) -> None:
        sys.stdout.write(as_json(value, indent=None) + "\n")
        sys.stdout.flush()


def event_to_json(event: Event) -> dict[str, Any] | None:
    """An event as an object with a `type`; None for the end of the run, which is the `result` line."""
    match event:
        case RunStarted(trajectory):
            return {"type": "run", "query": trajectory.query, "tools": [tool.name for tool in trajectory.tools]}
        case TurnStarted(role, step):
            return {"type": "turn", "role": role, "step": step}
        case TextWritten(role, text):
            return {"type": "text", "role": role, "text": text}
        case TurnEnded(role, step, text, usage):
            tokens = {"evaluated": usage.evaluated, "reused": usage.reused, "sampled": usage.sampled}
            return {"type": "turn_end", "role": role, "step": step, "text": text, "tokens": tokens}
        case CallStarted(step, call):
            return {"type": "call", "step": step, "name": call.name, "arguments": dict(call.arguments)}
        case CallEnded(step, call, seen):
            told = {"content": seen.content, "is_error": seen.is_error, "denied": seen.denied}
            return {"type": "observation", "step": step, "name": call.name, **told}
        case StepEnded(index, step):
            return {"type": "step", "index": index, **step_to_json(step)}
        case Warned(text):
            return {"type": "warning", "text": text}
        case RunEnded():
            return None


def result_json(trajectory: Any, pack: str, session: str, stats: dict[str, Any]) -> dict[str, Any]:
    """The object of `ask --json`."""
    told = outcome_to_json(trajectory)
    steps = told.pop("steps")
    return {"schema_version": SCHEMA_VERSION, **told, "pack": pack, "session": session, "steps": steps, "stats": stats}
