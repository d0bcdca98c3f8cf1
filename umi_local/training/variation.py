"""Changes to recorded runs, so that adapters learn to read tool documents instead of remembering names.

Every change is drawn by the part's name and the record's id, and keeps a run true: what is renamed in the tool list is
renamed in the calls and the history too. Rationales are made afterwards, from the names that are then there.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from umi_local.messages import Message, Observation, Speaker, ToolCall, ToolSpec
from umi_local.records import Record, with_trajectory
from umi_local.training.refusals import twins, without_the_tool
from umi_local.trajectory import Decision, Next, Step

# Failures that may be gone a moment later, and such as the same call would meet again.
_PASSING = (
    "Error: the service did not answer in time.",
    "Internal error (500).",
    '{"error": "Service unavailable", "response": ""}',
    "The request failed: connection reset.",
    "Error: too many requests, try again later.",
)
_LASTING = (
    "Error: access was refused.",
    '{"error": "This endpoint is disabled for your subscription", "response": ""}',
    "Not found (404).",
    '{"message": "This version was switched off."}',
    "Error: no valid key was given for this service.",
    '{"error": "There is no such service any more", "response": ""}',
)
_MASKS = ("tool_{n}", "fn_{n}", "function{n}", "action_{n}", "op{n}", "t{n}")
_PARAMETER_MASKS = ("arg_{n}", "p{n}", "param_{n}", "value{n}", "x{n}")


@dataclass(frozen=True, slots=True)
class Shares:
    """How many records of a part are changed in each way, as shares from 0 to 1; `distractors` are tools added."""

    rename: float = 0.0
    mask: float = 0.0
    impossible: float = 0.0
    failing: float = 0.0
    detour: float = 0.0
    fewer: float = 0.0
    distractors: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Varier:
    """Changes the records of one part. `pool` has tools to add; `variants` other names, by service (SGD-X).

    A record is changed in another way under another `name`: a recipe may draw it for more than one part.
    """

    shares: Shares
    pool: Sequence[ToolSpec]
    variants: Mapping[str, Sequence[Mapping[str, Any]]]
    name: str = ""

    def vary(self, record: Record) -> Record:
        chance = random.Random(f"variation {self.name} {record.id}")
        shares = self.shares
        fewer, draw = chance.random() < shares.fewer, chance.random()
        if draw < shares.impossible:
            return self._renamed(without_the_tool(self._with_more(record, chance), chance, self.pool), chance)
        record = with_fewer_tools(record, chance) if fewer else self._with_more(record, chance)
        if draw < shares.impossible + shares.failing:
            record = with_a_failure(record, chance)
        elif draw < shares.impossible + shares.failing + shares.detour:
            record = with_a_detour(record, chance)
        return self._renamed(record, chance)

    def _renamed(self, record: Record, chance: random.Random) -> Record:
        draw = chance.random()
        if draw < self.shares.mask:
            return renamed(record, masks(record, chance))
        if draw < self.shares.mask + self.shares.rename and self.variants:
            return renamed(record, self._other_names(record, chance))
        return record

    def _with_more(self, record: Record, chance: random.Random) -> Record:
        tools = list(record.trajectory.tools)
        low, high = self.shares.distractors
        for tool in chance.sample(self.pool, min(chance.randint(low, high), len(self.pool))):
            if not any(twins(tool, held) for held in tools):
                tools.append(tool)
        chance.shuffle(tools)
        return with_trajectory(record, tools=tuple(tools))

    def _other_names(self, record: Record, chance: random.Random) -> Naming:
        """One of the sets of names that people wrote for the record's services."""
        services = record.meta.get("services", {})
        which = chance.randrange(5)
        naming = Naming({}, {})
        for tool in record.trajectory.tools:
            variant = self.variants.get(services.get(tool.name, ""))
            if not variant:
                continue
            intents, slots = variant[which]["intents"], variant[which]["slots"]
            if intent := intents.get(re.sub(r"^[A-Za-z]+_\d+_", "", tool.name)):
                naming.tools[tool.name] = (intent["name"], intent["description"])
            for name, schema in tool.parameters.get("properties", {}).items():
                if slot := slots.get(name):
                    naming.parameters[tool.name, name] = (slot["name"], _described(slot["description"], schema))
        return Naming({}, {}) if naming.clashes(record.trajectory.tools) else naming


@dataclass(frozen=True, slots=True)
class Naming:
    """Other names, each with another description or an empty one: of tools, and of parameters by (tool, parameter)."""

    tools: dict[str, tuple[str, str]]
    parameters: dict[tuple[str, str], tuple[str, str]]

    def call(self, call: ToolCall) -> ToolCall:
        arguments = {self._parameter(call.name, name): value for name, value in call.arguments.items()}
        return ToolCall(self.tools.get(call.name, (call.name, ""))[0], arguments)

    def spec(self, tool: ToolSpec) -> ToolSpec:
        name, description = self.tools.get(tool.name, (tool.name, ""))
        properties: dict[str, Any] = {}
        for old, schema in tool.parameters.get("properties", {}).items():
            new, about = self.parameters.get((tool.name, old), (old, ""))
            properties[new] = {**schema, "description": about} if about else schema
        required = [self._parameter(tool.name, old) for old in tool.parameters.get("required", ())]
        parameters = {**tool.parameters, "properties": properties, "required": required}
        return ToolSpec(name, description or tool.description, parameters)

    def message(self, message: Message) -> Message:
        if message.speaker is not Speaker.CALLER:
            return message
        try:
            call = json.loads(message.text)
            new = self.call(ToolCall(call["name"], call["arguments"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return message
        text = json.dumps({"name": new.name, "arguments": dict(new.arguments)}, ensure_ascii=False)
        return replace(message, text=text)

    def clashes(self, tools: Sequence[ToolSpec]) -> bool:
        """Whether two tools, or two parameters of one tool, would get the same name."""
        new = [self.spec(tool) for tool in tools]
        fewer = any(
            len(a.parameters.get("properties", {})) < len(b.parameters.get("properties", {}))
            for a, b in zip(new, tools, strict=True)
        )
        return fewer or len({tool.name for tool in new}) < len(new)

    def _parameter(self, tool: str, name: str) -> str:
        return self.parameters.get((tool, name), (name, ""))[0]


def renamed(record: Record, naming: Naming) -> Record:
    """The record with other names in its tools, its calls and the calls of its history."""
    run = record.trajectory
    return with_trajectory(
        record,
        tools=tuple(map(naming.spec, run.tools)),
        history=tuple(map(naming.message, run.history)),
        steps=tuple(replace(step, calls=tuple(map(naming.call, step.calls))) for step in run.steps),
    )


def masks(record: Record, chance: random.Random) -> Naming:
    """Names that say nothing, for tools and for parameters whose descriptions say it all."""
    form, parameter_form = chance.choice(_MASKS), chance.choice(_PARAMETER_MASKS)
    tools = record.trajectory.tools
    numbers = list(range(1, len(tools) + 1))
    chance.shuffle(numbers)
    naming = Naming({tool.name: (form.format(n=number), "") for tool, number in zip(tools, numbers, strict=True)}, {})
    if chance.random() < 0.5:
        return naming
    for tool in tools:
        known = tool.parameters.get("properties", {})
        if all(schema.get("description") for schema in known.values()):
            for number, name in enumerate(known, 1):
                naming.parameters[tool.name, name] = (parameter_form.format(n=number), "")
    return naming


def with_fewer_tools(record: Record, chance: random.Random) -> Record:
    """The record with the tools that it calls and at most two others, in another order."""
    tools = record.trajectory.tools
    called = {call.name for call in record.calls}
    others = [tool.name for tool in tools if tool.name not in called]
    kept = called | set(chance.sample(others, min(len(others), chance.choice((0, 0, 1, 2) if called else (1, 2)))))
    left = [tool for tool in tools if tool.name in kept]
    chance.shuffle(left)
    return with_trajectory(record, tools=tuple(left))


def with_a_failure(record: Record, chance: random.Random) -> Record:
    """One call fails: if the failure may pass, it is tried again and works; else the run ends and says so.

    Where the calls do not need each other's results (`independent`), the others are made all the same; what the
    answer would be then is in no source, so none is learnt.
    """
    run = record.trajectory
    acts = [step for step in run.steps if step.calls]
    if not acts or not any(observation.content for step in acts for observation in step.observations):
        return record
    passing = chance.random() < 0.5
    failed = Observation(chance.choice(_PASSING if passing else _LASTING), is_error=True)
    independent = bool(record.meta.get("independent"))
    which = chance.randrange(len(acts)) if independent else len(acts) - 1
    before, broken, after = acts[:which], replace(acts[which], observations=(failed,)), acts[which + 1 :]
    if passing:
        return with_trajectory(record, steps=(*before, broken, *acts[which:], run.steps[-1]))
    ended = Step(Decision("", Next.CONCLUDE))
    answer = "" if len(acts) > 1 and independent else f"I'm sorry, that did not work: {failed.content}"
    return with_trajectory(record, steps=(*before, broken, *after, ended), answer=answer)


def with_a_detour(record: Record, chance: random.Random) -> Record:
    """Before one of its calls another listed tool is tried and fails. `meta` has that step as `untaught`."""
    run = record.trajectory
    acts = [i for i, step in enumerate(run.steps) if step.calls and any(seen.content for seen in step.observations)]
    called = {call.name for call in record.calls}
    others = [tool for tool in run.tools if tool.name not in called]
    if not acts or not others:
        return record
    at, other = chance.choice(acts), chance.choice(others)
    call = ToolCall(other.name, _some_arguments(other, run.steps[at].calls[0], chance))
    tried = Step(Decision("", Next.CALL), (call,), (Observation(chance.choice(_PASSING + _LASTING), is_error=True),))
    longer = with_trajectory(record, steps=(*run.steps[:at], tried, *run.steps[at:]))
    return replace(longer, meta={**record.meta, "untaught": at})


def _some_arguments(tool: ToolSpec, call: ToolCall, chance: random.Random) -> dict[str, Any]:
    """Values for the tool's required parameters, those of the other call where they have the type that is wanted."""
    known = tool.parameters.get("properties", {})
    plain: dict[str, Any] = {"string": "", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    found = {}
    for name in tool.parameters.get("required", ()):
        schema = known.get(name, {})
        kind = schema.get("type", "string")
        fitting = [value for value in call.arguments.values() if type(value) is type(plain.get(kind))]
        found[name] = chance.choice(schema.get("enum") or fitting or [plain.get(kind, "")])
    return found


def _described(description: str, schema: Mapping[str, Any]) -> str:
    """Another description that keeps what the first one says of the value's format."""
    form = re.search(r"Format .*", str(schema.get("description", "")))
    return f"{description.rstrip('.')}. {form[0]}" if form else description
