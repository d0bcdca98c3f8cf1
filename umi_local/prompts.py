"""From a trajectory and a role to a prompt: the one renderer, used for inference and for training.

A prompt is a trunk that all roles share and that only grows at its end, and a suffix that names the role whose
turn it is. Nothing in it depends on the clock or on the order of a dictionary, so that its beginning can be
kept in a cache between turns, runs and processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from umi_local import parse
from umi_local.markup import Markup
from umi_local.messages import Message, Prompt, Role, Segment, Speaker, ToolCall, ToolSpec
from umi_local.styles.data import ChatStyle, Examples, FlatStyle, Language
from umi_local.trajectory import Decision, Step, Trajectory

CallWriter = Callable[[Sequence[ToolCall]], str]
SPEAKER_OF = {Role.PLANNER: Speaker.PLANNER, Role.CALLER: Speaker.CALLER, Role.SUMMARIZER: Speaker.CONCLUSION}


class Renderer(Protocol):
    """One style both ways: it makes the prompts, says what may be written, and reads what was."""

    @property
    def language(self) -> Language: ...

    def render(self, trajectory: Trajectory, role: Role) -> Prompt: ...

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        """The calls in a caller's text; ValueError if there are none."""

    def step(self, text: str) -> tuple[Decision, str]:
        """A single model's turn: its decision, and the text of its call or answer."""


def messages_of(trajectory: Trajectory, write: CallWriter | None = None) -> tuple[Message, ...]:
    """A run as the messages it adds to a conversation; what was said before it (`history`) is not among them."""
    # A run that goes on from the middle of a recorded conversation asks nothing of its own.
    messages = [Message(Speaker.USER, trajectory.query)] if trajectory.query else []
    for step in trajectory.steps:
        messages.append(Message(Speaker.PLANNER, plan_text(step)))
        if step.calls:
            messages.append(Message(Speaker.CALLER, (write or json_calls)(step.calls)))
        messages += [Message(Speaker.OBSERVATION, observation.content) for observation in step.observations]
    if trajectory.answer:
        messages.append(Message(Speaker.CONCLUSION, trajectory.answer))
    return tuple(messages)


def plan_text(step: Step) -> str:
    """A decision as the planner writes it (alpha-UMi's strings, byte for byte)."""
    return f"{step.decision.rationale} Next: {step.decision.next}.".strip()


def json_calls(calls: Sequence[ToolCall]) -> str:
    """Calls as the chat style writes them, one JSON object per line."""
    return "\n".join(_json({"name": call.name, "arguments": dict(call.arguments)}) for call in calls)


def action_calls(calls: Sequence[ToolCall]) -> str:
    """Calls as the paper writes them."""
    return "\n".join(f"Action: {call.name}\nAction Input: {_json(dict(call.arguments))}" for call in calls)


@dataclass(frozen=True, slots=True)
class ChatRenderer:
    """Roles as speakers in a model's chat markup. With `folded`, one speaker plans, calls and answers in one turn."""

    style: ChatStyle
    markup: Markup
    examples: Examples | None = None
    folded: bool = False

    def render(self, trajectory: Trajectory, role: Role) -> Prompt:
        system = [Segment(self.style.system.strip(), True), *self._tools(trajectory)]
        told_first = "\n".join(part for part in (trajectory.context, self._found(trajectory)) if part)
        context = [Message(Speaker.CONTEXT, told_first)] if told_first else []
        # What differs between workspaces comes after all that does not.
        shown = self._turns(self._shown(trajectory))
        told = self._turns([*context, *trajectory.history, *messages_of(trajectory)])
        return self.markup.prompt(system, [*shown, *told], self._speaker(role), len(shown))

    @property
    def language(self) -> Language:
        if self.examples is None:
            return self.style.language
        taught = {"plans": {**self.style.plans, **self.examples.plans}, "caller_follows": True}
        return self.style.language.model_copy(update=taught)

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        return parse.json_calls(text)

    def step(self, text: str) -> tuple[Decision, str]:
        return parse.whole_step(text)

    def _speaker(self, role: Role) -> Speaker:
        return Speaker.PLANNER if role is Role.SINGLE else SPEAKER_OF[role]

    def _tools(self, trajectory: Trajectory) -> list[Segment]:
        if not trajectory.tools:
            return []
        return [Segment(self.style.tools_heading, True), Segment(self._lines(trajectory.tools), False)]

    def _found(self, trajectory: Trajectory) -> str:
        """The tools of this query alone. They stand behind all that is constant, which is read once for all queries."""
        return f"More tools:\n{self._lines(trajectory.found)}".rstrip() if trajectory.found else ""

    def _lines(self, tools: Sequence[ToolSpec]) -> str:
        lines = (
            self.style.tool_line.format(signature=signature(tool), description=" ".join(tool.description.split()))
            for tool in tools
        )
        return "".join(lines)

    def _shown(self, trajectory: Trajectory) -> list[Message]:
        """The worked examples whose tools are all listed."""
        if self.examples is None:
            return []
        names = {tool.name for tool in trajectory.tools}
        return [
            message
            for example in self.examples.example
            if example.tools <= names
            for message in messages_of(example.trajectory)
        ]

    def _turns(self, messages: Iterable[Message]) -> list[tuple[Speaker, str]]:
        """Messages as turns. A single model's plan and the call or the answer that followed it are one turn."""
        if not self.folded:
            return [(message.speaker, message.text) for message in messages]
        turns: list[tuple[Speaker, str]] = []
        for message in messages:
            after_plan = turns and turns[-1][0] is Speaker.PLANNER
            if after_plan and message.speaker in (Speaker.CALLER, Speaker.CONCLUSION):
                turns[-1] = (Speaker.PLANNER, f"{turns[-1][1]}\n{message.text}")
            else:
                turns.append((message.speaker, message.text))
        return turns


@dataclass(frozen=True, slots=True)
class FlatRenderer:
    """The paper's flat prompts, for its released checkpoints: no chat markup, one line per part.

    Source: arXiv 2401.07324 and the markers of its reference code. `end` is the model's end-of-sequence text.
    """

    style: FlatStyle
    end: str
    folded: bool = False

    def render(self, trajectory: Trajectory, role: Role) -> Prompt:
        words = self.style.roles[role.value]
        trunk: list[Segment] = []
        if words.documents:
            trunk += [Segment(f"{self.style.documents_line}\n", True), *self._documents(trajectory.tools)]
        constant = len(trunk)
        if words.documents and trajectory.found:
            trunk += self._documents(trajectory.found)
        if trajectory.context:
            trunk += [Segment(trajectory.context, False), Segment("\n", True)]
        trunk += [Segment(f"{words.history_line or self.style.history_line}\n", True), *self._history(trajectory)]
        return Prompt(tuple(trunk), tuple(self._suffix(trajectory, words.lines, words.marker)), constant)

    @property
    def language(self) -> Language:
        return self.style.language

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        return parse.action_calls(text)

    def step(self, text: str) -> tuple[Decision, str]:
        return parse.paper_step(text)

    def _documents(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        return [Segment("".join(_document(tool) + "\n" for tool in tools) + "\n", False)]

    def _history(self, trajectory: Trajectory) -> list[Segment]:
        segments: list[Segment] = []
        messages = [*map(_in_actions, trajectory.history), *messages_of(trajectory, action_calls)]
        for before, message in zip([None, *messages], messages, strict=False):
            marker, ends = self.style.markers[message.speaker.value], message.speaker is not Speaker.OBSERVATION
            if self.folded and before and before.speaker is Speaker.PLANNER:
                marker = "\n"
            closing = self.end if ends and not (self.folded and message.speaker is Speaker.PLANNER) else ""
            segments += [Segment(marker, True), Segment(message.text, False), Segment(closing, True)]
        return segments

    def _suffix(self, trajectory: Trajectory, lines: Sequence[str], marker: str) -> list[Segment]:
        """The role's instruction lines; what comes from the run in them is content, not markup."""
        thought = plan_text(trajectory.steps[-1]) if trajectory.steps else ""
        names = ", ".join(tool.name for tool in trajectory.callable_tools)
        segments = [Segment("\n", True)]
        for line in lines:
            for i, part in enumerate(line.replace("$names", "$thought\0").split("$thought")):
                if i:
                    segments.append(Segment(names if part.startswith("\0") else thought, False))
                segments.append(Segment(part.removeprefix("\0"), True))
            segments.append(Segment("\n", True))
        return [*segments, Segment(marker, True)]


@dataclass(frozen=True, slots=True)
class RoutedRenderer:
    """A renderer per role, all of one style, where the roles' models want their prompts in different forms."""

    by_role: Mapping[Role, Renderer]

    def render(self, trajectory: Trajectory, role: Role) -> Prompt:
        return self.by_role[role].render(trajectory, role)

    @property
    def language(self) -> Language:
        return self._any.language

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        return self._any.calls(text)

    def step(self, text: str) -> tuple[Decision, str]:
        return self._any.step(text)

    @property
    def _any(self) -> Renderer:
        return next(iter(self.by_role.values()))


def signature(tool: ToolSpec) -> str:
    """A tool as a line of code: `name(parameter: type, optional?: type)`, with enumerations spelt out."""
    required = tool.parameters.get("required", ())
    shown = [
        f"{name}{'' if name in required else '?'}: {_type(schema)}"
        for name, schema in tool.parameters.get("properties", {}).items()
    ]
    return f"{tool.name}({', '.join(shown)})"


def _type(schema: dict[str, Any] | bool) -> str:
    if isinstance(schema, bool):  # JSON Schema's way to say that anything will do
        return "any"
    if "enum" in schema:
        return " | ".join(_json(value) for value in schema["enum"])
    note = f" {' '.join(schema['description'].split())}" if schema.get("description") else ""
    match schema.get("type", "any"):
        case list() as kinds:
            return f"{' | '.join(map(str, kinds))}{note}"
        case "array":
            return f"[{_type(schema.get('items', {}))}]{note}"
        case "object" if schema.get("properties"):
            inner = ", ".join(f"{name}: {_type(prop)}" for name, prop in schema["properties"].items())
            return f"{{{inner}}}{note}"
        case kind:
            return f"{kind}{note}"


def _in_actions(message: Message) -> Message:
    """A message of an earlier run, which keeps its calls as JSON, in the paper's words."""
    if message.speaker is not Speaker.CALLER:
        return message
    try:
        return replace(message, text=action_calls(parse.json_calls(message.text)))
    except ValueError:
        return message  # a call of another agent, as it was


def _document(tool: ToolSpec) -> str:
    inputs = {
        name: ", ".join(filter(None, [str(schema.get("type", "any")), schema.get("description", "")]))
        for name, schema in tool.parameters.get("properties", {}).items()
        if isinstance(schema, dict)
    }
    return _json({"Name": tool.name, "function": tool.description, "input": inputs})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
