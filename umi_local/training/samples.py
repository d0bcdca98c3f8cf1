"""From a recorded run to training samples: tokens, and which of them carry loss.

The prompts come from the renderer that inference uses and the tokens from llama.cpp's own vocabulary, so a sample is
what the model will meet, token for token. A run becomes one `Sample`: the trunk that its roles share, and each role's
turns as forks of it. An activated adapter leaves the trunk alone: its keys and values are computed once for all turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from umi_local.constraints import may_plan
from umi_local.messages import Role, Segment, ToolCall, ToolSpec
from umi_local.prompts import Renderer, json_calls, plan_text
from umi_local.records import Record
from umi_local.styles.data import Language
from umi_local.trajectory import Next, Step, Trajectory


class Tokenizer(Protocol):
    """A backbone's vocabulary: how a trunk and how a turn behind it become tokens, and what ends a turn."""

    @property
    def end(self) -> int: ...

    def trunk(self, segments: Sequence[Segment]) -> list[int]: ...

    def turn(self, segments: Sequence[Segment]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One role's turn: it forks from the trunk after `at` tokens; the first `given` of `tokens` carry no loss."""

    role: Role
    at: int
    tokens: tuple[int, ...]
    given: int

    @property
    def targets(self) -> int:
        return len(self.tokens) - self.given


@dataclass(frozen=True, slots=True)
class Sample:
    """A run's trunk and its turns. The first `head` tokens depend on the tools alone, so runs may share them."""

    id: str
    source: str
    trunk: tuple[int, ...]
    head: int
    turns: tuple[Turn, ...]

    def only(self, roles: Sequence[Role]) -> Sample | None:
        """The sample with the turns of these roles alone, and no more of the trunk than they need."""
        turns = tuple(turn for turn in self.turns if turn.role in roles)
        if not turns:
            return None
        return replace(self, turns=turns, trunk=self.trunk[: max(turn.at for turn in turns)])


@dataclass(frozen=True, slots=True)
class Writer:
    """What turns records into samples for one backbone, of at most `longest` tokens each behind their heads."""

    team: Renderer
    single: Renderer
    tokenizer: Tokenizer
    longest: int

    def samples(self, record: Record) -> list[Sample]:
        """The samples of a record: one for the team and one for a single model.

        Raises:
            ValueError: a call does not fit its tool's schema, a rationale is of no form that may be written, or a turn
                would be longer than `longest` tokens.
        """
        run = canonical(record.trajectory)
        _check_plans(run, self.team.language)
        return [
            self._sample(record, run, self.team, team_turns(run, record.meta)),
            self._sample(record, run, self.single, single_turns(run, record.meta)),
        ]

    def _sample(self, record: Record, run: Trajectory, renderer: Renderer, turns: Iterator[_Text]) -> Sample:
        trunk: list[int] = []
        made: list[Turn] = []
        for role, before, target in turns:
            prompt = renderer.render(before, role)
            read = self.tokenizer.trunk(prompt.trunk)
            if len(read) > len(trunk):
                if read[: len(trunk)] != trunk:
                    raise ValueError("the trunk of a later turn does not begin with that of an earlier one")
                trunk = read
            suffix = self.tokenizer.turn(prompt.suffix)
            tokens = (*suffix, *self.tokenizer.turn([Segment(target, False)]), self.tokenizer.end)
            made.append(Turn(role, len(read), tokens, len(suffix)))
        if not made:
            raise ValueError("no turn is left to learn from")
        head = self._head(renderer, run, trunk)
        length = max(turn.at + len(turn.tokens) for turn in made) - head
        if length > self.longest:
            raise ValueError(f"more tokens than the recipe's `longest`: {length:,}")
        return Sample(record.id, record.source, tuple(trunk), head, tuple(made))

    def _head(self, renderer: Renderer, run: Trajectory, trunk: Sequence[int]) -> int:
        """How many of the trunk's tokens every run with these tools begins with."""
        prompt = renderer.render(replace(run, steps=(), answer="", stop=None), Role.PLANNER)
        constant = self.tokenizer.trunk(prompt.trunk[: prompt.constant])
        return next((i for i, (a, b) in enumerate(zip(constant, trunk, strict=False)) if a != b), len(constant))


_Text = tuple[Role, Trajectory, str]


def _check_plans(run: Trajectory, language: Language) -> None:
    """Raises ValueError if a planner could not write a rationale of the run under its constraint."""
    for i, step in enumerate(run.steps):
        if step.decision.rationale and not may_plan(language, replace(run, steps=run.steps[:i]), step.decision):
            raise ValueError(f"a rationale before {step.decision.next} has no form that a planner may write")


def canonical(run: Trajectory) -> Trajectory:
    """The run with each call's arguments in the order of its schema, in which a constrained caller writes them."""
    tools = {tool.name: tool for tool in run.tools}
    steps = tuple(replace(step, calls=tuple(ordered(call, tools) for call in step.calls)) for step in run.steps)
    return replace(run, steps=steps)


def ordered(call: ToolCall, tools: Mapping[str, ToolSpec]) -> ToolCall:
    """Raises ValueError if no such tool is listed or the arguments are not those of its schema."""
    if call.name not in tools:
        raise ValueError(f"the tool {call.name!r} is not listed")
    schema = tools[call.name].parameters
    known: Mapping[str, Any] = schema.get("properties", {})
    unknown = [name for name in call.arguments if name not in known]
    missing = [name for name in schema.get("required", ()) if name not in call.arguments]
    if unknown or missing:
        what = f"unknown {unknown}" if unknown else f"missing {missing}"
        raise ValueError(f"the call of {call.name} does not fit its schema: {what}")
    for name, value in call.arguments.items():
        if "enum" in known[name] and value not in known[name]["enum"]:
            raise ValueError(f"the call of {call.name} does not fit its schema: {name} is not one of its values")
    return ToolCall(call.name, {name: call.arguments[name] for name in known if name in call.arguments})


def team_turns(run: Trajectory, meta: Mapping[str, Any]) -> Iterator[_Text]:
    """Each turn of planner, caller and summarizer, with the run as it stood before it."""
    told = _told(run, meta)
    for i, step in enumerate(run.steps):
        before = replace(run, steps=told[:i], answer="", stop=None)
        planned = before.with_step(Step(told[i].decision))
        if _planned(step, run, meta) and i != meta.get("untaught"):
            yield Role.PLANNER, before, plan_text(step)
        if step.calls and i != meta.get("untaught") and meta.get("grounded", True):
            yield Role.CALLER, planned, json_calls(step.calls)
        if step.decision.next is Next.CONCLUDE and run.answer:
            yield Role.SUMMARIZER, planned, run.answer


def single_turns(run: Trajectory, meta: Mapping[str, Any]) -> Iterator[_Text]:
    """Each turn of a model that plans, calls and answers at once."""
    told = _told(run, meta)
    for i, step in enumerate(run.steps):
        before = replace(run, steps=told[:i], answer="", stop=None)
        ungrounded = step.calls and not meta.get("grounded", True)
        if not _planned(step, run, meta) or ungrounded or i == meta.get("untaught"):
            continue
        if step.calls:
            yield Role.SINGLE, before, f"{plan_text(step)}\n{json_calls(step.calls)}"
        elif step.decision.next is Next.GIVE_UP:
            yield Role.SINGLE, before, plan_text(step)
        elif run.answer:
            yield Role.SINGLE, before, f"{plan_text(step)}\n{run.answer}"


def _told(run: Trajectory, meta: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps as prompts show them: with the rationales of another agent if `meta` has such (`spoken`)."""
    spoken = meta.get("spoken") or [""] * len(run.steps)
    return tuple(
        replace(step, decision=replace(step.decision, rationale=words or step.decision.rationale))
        for step, words in zip(run.steps, spoken, strict=True)
    )


def _planned(step: Step, run: Trajectory, meta: Mapping[str, Any]) -> bool:
    """Whether a step teaches planning: not the end of a run whose observations were not recorded."""
    ended = not step.calls and len(run.steps) > 1
    recorded = any(observation.content for before in run.steps for observation in before.observations)
    return bool(step.decision.rationale) and (recorded or not ended)
