"""What happened in a run, as a value that grows by one Step per turn of the planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from umi_local.messages import Message, Observation, ToolCall, ToolSpec


class Next(StrEnum):
    """The planner's decision, in the words that models are trained on (alpha-UMi)."""

    CALL = "caller"
    CONCLUDE = "conclusion"
    GIVE_UP = "give up"


class StopReason(StrEnum):
    ANSWERED = "answered"
    GAVE_UP = "gave_up"
    LOOP = "loop"
    STEP_LIMIT = "step_limit"
    CONTEXT_FULL = "context_full"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    rationale: str
    next: Next


@dataclass(frozen=True, slots=True)
class Step:
    """One decision and what came of it; calls and observations match one to one once the step is done."""

    decision: Decision
    calls: tuple[ToolCall, ...] = ()
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A query, the tools it may use, what was said before it, and the steps so far.

    `context` holds facts the agent is told without asking ("Today is Friday, 2019-03-01."); it is part of the
    prompt, so it must not change within a conversation. `found` are tools that were chosen for this query beside the
    constant ones. `outside` is set where the query holds text that somebody else may have written (it was piped in).
    `narrowed` has a closer JSON Schema for the arguments of some tools at this point; no model is told of it.
    """

    query: str
    tools: tuple[ToolSpec, ...] = ()
    history: tuple[Message, ...] = ()
    context: str = ""
    steps: tuple[Step, ...] = ()
    answer: str = ""
    stop: StopReason | None = None
    found: tuple[ToolSpec, ...] = ()
    outside: bool = False
    narrowed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    @property
    def callable_tools(self) -> tuple[ToolSpec, ...]:
        """All tools that may be called by now, in the order in which they became known."""
        seen = (spec for step in self.steps for observation in step.observations for spec in observation.found)
        return tuple({spec.name: spec for spec in (*self.tools, *self.found, *seen)}.values())

    @property
    def said(self) -> str:
        """What the user asked and the tools gave in answer; not what the roles wrote, nor what was said before."""
        results = [seen.content for step in self.steps for seen in step.observations if not seen.is_error]
        return "\n".join((self.query, *results))

    def with_step(self, step: Step) -> Trajectory:
        return replace(self, steps=(*self.steps, step))

    def with_last(self, step: Step) -> Trajectory:
        """The same trajectory with its last step replaced, as when its calls become known."""
        return replace(self, steps=(*self.steps[:-1], step))

    def ended(self, stop: StopReason, answer: str = "") -> Trajectory:
        return replace(self, stop=stop, answer=answer)
