"""Recorded runs as data files hold them: one JSON object per line, for training and for measuring.

A record has `id, source, tools, history, query, steps, answer, meta`. It becomes a `Trajectory`: each step one call,
and at the end a step that concludes or gives up. Lines are split at `\\n` alone, since texts may hold other separators.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from umi_local.errors import UsageError
from umi_local.messages import Message, Observation, Speaker, ToolCall, ToolSpec
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

_LARGEST_LINE = 2_000_000

_SPEAKERS = {
    "user": Speaker.USER,
    "assistant": Speaker.CONCLUSION,
    "planner": Speaker.PLANNER,
    "caller": Speaker.CALLER,
    "observation": Speaker.OBSERVATION,
}


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded run. `meta` keeps what the source says beside it (`grounded`, `services`, `listed`, ...).

    The trajectory's last step is the decision that ended the run; its `stop` tells an answer from a giving up.
    """

    id: str
    source: str
    trajectory: Trajectory
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every call of the run, in order."""
        return tuple(call for step in self.trajectory.steps for call in step.calls)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no record: where it stands and what is wrong with it, in words."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Tool(_Data):
    name: Annotated[str, Field(min_length=1)]
    description: str
    parameters: dict[str, Any]


class _Step(_Data):
    thought: str = ""
    tool: Annotated[str, Field(min_length=1)]
    arguments: dict[str, Any]
    observation: str = ""
    is_error: bool = False


class _Line(_Data):
    id: str
    source: str
    tools: list[_Tool]
    history: list[tuple[Literal["user", "assistant", "planner", "caller", "observation"], str]]
    query: str
    steps: list[_Step]
    answer: str
    meta: dict[str, Any] = {}


def read_records(path: Path, faults: list[Fault]) -> Iterator[Record]:
    """The records of a file, plain or gzipped. Lines that are none are added to `faults`, never dropped in silence.

    Raises:
        UsageError: the file cannot be read, or breaks off in the middle of its compression.
    """
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            yield parse_record(line)
        except ValueError as error:
            faults.append(Fault(path.name, number, str(error)))


def parse_record(line: str) -> Record:
    """The record on one line.

    Raises:
        ValueError: it is none; the words say what is wrong.
    """
    if len(line) > _LARGEST_LINE:
        raise ValueError(f"the line has {len(line):,} characters; at most {_LARGEST_LINE:,} are read")
    try:
        data = _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        why = re.sub(r"at line 1 column (\d+)$", r"at character \1", first["msg"].lower())  # of this line
        raise ValueError(f"{where}: {why}") from None
    names = [tool.name for tool in data.tools]
    if len(set(names)) < len(names):
        raise ValueError("two tools have the same name")
    return Record(data.id, data.source, _trajectory(data), data.meta)


def to_line(record: Record) -> str:
    """The record as a line of a file, without its line break; `parse_record` gives it back.

    Raises:
        ValueError: a step holds several calls, which the form cannot express.
    """
    run = record.trajectory
    *acts, last = run.steps
    if any(len(step.calls) != 1 for step in acts):
        raise ValueError("a record's steps hold one call each")
    names = {speaker: name for name, speaker in _SPEAKERS.items()}
    meta = {**record.meta, "context": run.context, "final_thought": last.decision.rationale}
    if last.decision.next is Next.GIVE_UP:
        meta["give_up"] = True
    data = {
        "id": record.id,
        "source": record.source,
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in run.tools
        ],
        "history": [[names[message.speaker], message.text] for message in run.history],
        "query": run.query,
        "steps": [_step_to_json(step) for step in acts],
        "answer": run.answer,
        "meta": {name: value for name, value in meta.items() if value != ""},
    }
    return json.dumps(data, ensure_ascii=False)


def with_trajectory(record: Record, **changes: Any) -> Record:
    """The record with fields of its trajectory replaced."""
    return replace(record, trajectory=replace(record.trajectory, **changes))


def _step_to_json(step: Step) -> dict[str, Any]:
    call, observation = step.calls[0], step.observations[0]
    data = {
        "thought": step.decision.rationale,
        "tool": call.name,
        "arguments": dict(call.arguments),
        "observation": observation.content,
    }
    return {**data, "is_error": True} if observation.is_error else data


def _trajectory(data: _Line) -> Trajectory:
    gave_up = bool(data.meta.get("give_up"))
    acts = [
        Step(
            Decision(" ".join(step.thought.split()), Next.CALL),
            (ToolCall(step.tool, step.arguments),),
            (Observation(step.observation, step.is_error),),
        )
        for step in data.steps
    ]
    thought = " ".join(str(data.meta.get("final_thought", "")).split())
    return Trajectory(
        query=data.query,
        tools=tuple(ToolSpec(tool.name, tool.description, tool.parameters) for tool in data.tools),
        history=tuple(_message(name, text) for name, text in data.history),
        context=str(data.meta.get("context", "")),
        steps=(*acts, Step(Decision(thought, Next.GIVE_UP if gave_up else Next.CONCLUDE))),
        answer="" if gave_up else data.answer,
        stop=StopReason.GAVE_UP if gave_up else StopReason.ANSWERED,
    )


def _message(name: str, text: str) -> Message:
    speaker = _SPEAKERS[name]
    return Message(speaker, _as_written(text) if speaker is Speaker.CALLER else text)


def _as_written(text: str) -> str:
    """An earlier call in the words in which callers write theirs (the files say `tool` where we say `name`)."""
    try:
        call = json.loads(text)
        return json.dumps({"name": call["tool"], "arguments": call["arguments"]}, ensure_ascii=False)
    except (ValueError, KeyError, TypeError):
        return text


def _lines(path: Path) -> Iterable[str]:
    try:
        with path.open("rb") as raw, _unzipped(raw) as file:
            for line in file:
                yield line.decode("utf-8", errors="surrogateescape").rstrip("\n")
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"The records in {path} cannot be read: {error}.") from None


def _unzipped(raw: BinaryIO) -> BinaryIO:
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
