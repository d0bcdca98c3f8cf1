"""Conversations of the paper's static ToolBench files, and the steps in them that are scored.

A file is a JSON list of `{tools: [{Name, function, input: {argument: "type, description"}}], instruction,
conversations: [{from, value}]}`, plain or gzipped; `from` is user, assistant (the planner), caller, observation or
conclusion. Every assistant turn that holds a decision is a scored step; what stands before it is its history.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from umi_local import parse
from umi_local.errors import UsageError
from umi_local.evaluation.paper_metrics import END, NONE
from umi_local.messages import Message, Observation, Speaker, ToolCall, ToolSpec
from umi_local.prompts import CallWriter, messages_of
from umi_local.trajectory import Decision, Next, Step, Trajectory

_SPEAKERS = {
    "user": Speaker.USER,
    "assistant": Speaker.PLANNER,
    "caller": Speaker.CALLER,
    "observation": Speaker.OBSERVATION,
    "conclusion": Speaker.CONCLUSION,
}
_TYPES = {
    **dict.fromkeys(("string", "str", "text", "date", "time", "enum"), "string"),
    **dict.fromkeys(("integer", "int"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list"), "array"),
    **dict.fromkeys(("object", "dict"), "object"),
}
_LONGEST_ERROR = 300  # characters; a longer text has the word among its data
_ERROR = re.compile(
    r"\b(errors?|forbidden|unauthori[sz]ed|not (found|acceptable|allowed|subscribed)|exceeded|unreachable|"
    r"incorrect|invalid|missing|unavailable|disabled|denied|timed out|must be|does(n't| not) exist)\b",
    re.IGNORECASE,
)


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Tool(_Data):
    name: Annotated[str, Field(alias="Name", min_length=1)]
    function: str
    input: dict[str, Any]


class _Turn(_Data):
    speaker: Annotated[Literal["user", "assistant", "caller", "observation", "conclusion"], Field(alias="from")]
    value: str


class _Conversation(_Data):
    tools: list[_Tool]
    instruction: str = ""
    conversations: Annotated[list[_Turn], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """One decision of the gold conversation.

    `turn` is its index among the turns; `start` is all that stands before it; `reference` is what the evaluator
    compares with; `following` is the text of the gold call or answer, empty if it gives up.
    """

    turn: int
    start: Trajectory
    decision: Decision
    following: str
    reference: str

    @property
    def call(self) -> ToolCall | None:
        """The gold call; None if the step calls nothing or its input is no JSON object."""
        return _parsed_call(self.following) if self.decision.next is Next.CALL else None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with its scored steps; `tools` and `turns` are the file's own, for the original evaluator."""

    query: str
    instruction: str
    tools: tuple[dict[str, Any], ...]
    turns: tuple[dict[str, str], ...]
    steps: tuple[ScoredStep, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tool["Name"] for tool in self.tools)


def read_conversations(path: Path, write: CallWriter | None = None) -> tuple[list[Conversation], str]:
    """The conversations of a file, and the file's SHA-256.

    Args:
        write: how calls in earlier parts of a conversation are written; None for the chat style.

    Raises:
        UsageError: the file cannot be read or has another form; the sentence says where.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        data = TypeAdapter(list[_Conversation]).validate_json(text)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"The file {path} cannot be read: {error}.", "Name one with --file.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise UsageError(
            f"{path} is not a ToolBench file: {where}: {first['msg'].lower()}.",
            'It must be a JSON list of {"tools", "instruction", "conversations"}.',
        ) from None
    return [_conversation(one, f"Conversation {i} of {path}", write) for i, one in enumerate(data)], _digest(raw)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _conversation(data: _Conversation, name: str, write: CallWriter | None) -> Conversation:
    if not data.tools:
        raise UsageError(f"{name} lists no tools.", "Every conversation must list at least one.")
    specs = tuple({tool.name: _spec(tool) for tool in data.tools}.values())
    steps = tuple(_scored(data.conversations, specs, name, write))
    return Conversation(
        query=next((turn.value for turn in data.conversations if turn.speaker == "user"), ""),
        instruction=data.instruction,
        tools=tuple({"Name": tool.name, "function": tool.function, "input": tool.input} for tool in data.tools),
        turns=tuple({"from": turn.speaker, "value": turn.value} for turn in data.conversations),
        steps=steps,
    )


def _spec(tool: _Tool) -> ToolSpec:
    """The documents do not say which arguments are required, so none is."""
    properties = {name: _property(str(words)) for name, words in tool.input.items()}
    return ToolSpec(tool.name, tool.function, {"type": "object", "properties": properties, "required": []})


def _property(words: str) -> dict[str, str]:
    kind, _, description = words.partition(",")
    known = _TYPES.get(kind.strip().lower())
    # What does not begin with a type is all description.
    description = description.strip() if known else words.strip()
    return {"type": known or "string", **({"description": description} if description else {})}


@dataclass
class _Past:
    """What was said so far: whole runs as steps where they are regular, all before them as messages.

    Calls are written into `history` as they were as steps, so the rendered trunk only grows at its end.
    """

    now: Trajectory
    write: CallWriter | None

    def say(self, message: Message) -> None:
        """A turn that is no step of the current query: from here on all before it is history."""
        run = messages_of(self.now, self.write)
        history = [*self.now.history, *(run if self.now.query else run[1:])]
        if message.speaker is Speaker.USER:
            self.now = replace(self.now, history=tuple(history), query=message.text, steps=())
        else:
            self.now = replace(self.now, history=(*history, message), query="", steps=())


def _scored(
    turns: Sequence[_Turn], tools: tuple[ToolSpec, ...], name: str, write: CallWriter | None
) -> Iterator[ScoredStep]:
    past = _Past(Trajectory("", tools), write)
    i = 0
    while i < len(turns):
        turn = turns[i]
        decision = _decision(turn)
        if decision is None:
            past.say(Message(_SPEAKERS[turn.speaker], turn.value))
            i += 1
            continue
        following = turns[i + 1] if i + 1 < len(turns) else None
        yield _step(i, past.now, turn, decision, following, name)
        step = _regular(decision, turns[i + 1 : i + 3])
        if step:
            past.now = past.now.with_step(step)
        else:
            past.say(Message(Speaker.PLANNER, turn.value))
        i += 3 if step else 1


def _decision(turn: _Turn) -> Decision | None:
    """The decision of an assistant turn that holds one of the three strings."""
    decided = any(f"Next: {option}." in turn.value for option in Next)
    return parse.decision(turn.value) if turn.speaker == "assistant" and decided else None


def _step(i: int, start: Trajectory, turn: _Turn, decision: Decision, following: _Turn | None, name: str) -> ScoredStep:
    if decision.next is Next.GIVE_UP:
        return ScoredStep(i, start, decision, "", turn.value)
    wanted = "caller" if decision.next is Next.CALL else "conclusion"
    if following is None or following.speaker != wanted:
        raise UsageError(f"{name}: turn {i} decides for the {wanted}, and no {wanted} turn follows.")
    reference = f"assistant: {turn.value}{END}{wanted}: {following.value}{END}"
    return ScoredStep(i, start, decision, following.value, reference)


def _regular(decision: Decision, following: Sequence[_Turn]) -> Step | None:
    """The turns after a plan as a step, if they are a call that can be read and what came back."""
    if decision.next is not Next.CALL or [turn.speaker for turn in following] != ["caller", "observation"]:
        return None
    call = _parsed_call(following[0].value)
    return Step(decision, (call,), (_observation(following[1].value),)) if call else None


def _observation(text: str) -> Observation:
    """The files do not say which results are errors: a short one that speaks of what went wrong is taken for one."""
    return Observation(text, is_error=len(text) <= _LONGEST_ERROR and bool(_ERROR.search(text)))


def _parsed_call(text: str) -> ToolCall | None:
    try:
        (call,) = parse.action_calls(text)
    except ValueError:
        return None
    return call if call.name and call.name != NONE else None
