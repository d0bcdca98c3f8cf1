"""The roles at work: each takes its turn on a backend and hands over what it meant.

`Team` is the paper's planner, caller and summarizer; `Single` its single-LLM baseline, one model that plans, calls
and answers in one turn. Both have the same three methods, so the loop in `agent` knows neither.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Protocol

from umi_local import parse
from umi_local.constraints import constraint_for
from umi_local.events import TextWritten, TurnEnded, TurnStarted, Warned
from umi_local.messages import Completion, Role, Sampling, ToolCall
from umi_local.prompts import Renderer
from umi_local.protocols import Backend, Emit
from umi_local.trajectory import Decision, Next, Trajectory


class Incomplete(Exception):
    """A role's turn was cut by its token limit and means nothing as it stands."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Tokens each turn may write, and how many calls one caller's turn may hold."""

    plan_tokens: int = 512
    call_tokens: int = 512
    answer_tokens: int = 512
    calls: int = 1


class Crew(Protocol):
    """Who plans, calls and answers."""

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision: ...

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        """The calls for the trajectory's last decision. Raises Incomplete when they were cut off."""

    def conclude(self, trajectory: Trajectory) -> str: ...


@dataclass(frozen=True, slots=True)
class Turns:
    """Takes one role's turn: render, constrain, write, and tell everybody."""

    backend: Backend
    renderer: Renderer
    sampling: Sampling
    limits: TurnLimits
    emit: Emit

    def take(self, role: Role, trajectory: Trajectory, max_tokens: int, choices: Collection[Next]) -> Completion:
        step = len(trajectory.steps)
        self.emit(TurnStarted(role, step))
        completion = self.backend.complete(
            role,
            self.renderer.render(trajectory, role),
            constraint_for(role, self.renderer.language, trajectory, choices, self.limits.calls),
            replace(self.sampling, max_tokens=max_tokens),
            lambda text: self.emit(TextWritten(role, text)),
        )
        self.emit(TurnEnded(role, step, completion.text, completion.usage))
        for note in completion.notes:
            self.emit(Warned(note))
        if not completion.finished and completion.usage.sampled + completion.usage.forced >= max_tokens:
            self.emit(Warned(f"The {role}'s text was cut at its limit of {max_tokens} tokens."))
        return completion


@dataclass(frozen=True, slots=True)
class Team:
    """A planner, a caller and a summarizer."""

    turns: Turns

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        written = self.turns.take(Role.PLANNER, trajectory, self.turns.limits.plan_tokens, choices)
        return parse.closing_decision(written.text)

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        written = self.turns.take(Role.CALLER, trajectory, self.turns.limits.call_tokens, ())
        return _calls(self.turns.renderer, written.text, written.finished)

    def conclude(self, trajectory: Trajectory) -> str:
        written = self.turns.take(Role.SUMMARIZER, trajectory, self.turns.limits.answer_tokens, ())
        return written.text.strip()


class _Rest(threading.local):
    """What a single model's last turn held behind its plan. Runs in several threads do not mix."""

    text = ""
    finished = True


@dataclass(frozen=True, slots=True)
class Single:
    """One model whose one turn holds the plan and the call or answer; `call` and `conclude` hand out its rest."""

    turns: Turns
    _rest: _Rest = field(default_factory=_Rest)

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        limits = self.turns.limits
        most = limits.plan_tokens + max(limits.call_tokens, limits.answer_tokens)
        written = self.turns.take(Role.SINGLE, trajectory, most, choices)
        decision, self._rest.text = self.turns.renderer.step(written.text)
        self._rest.finished = written.finished
        return decision

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        return _calls(self.turns.renderer, self._rest.text, self._rest.finished)

    def conclude(self, trajectory: Trajectory) -> str:
        return self._rest.text


def _calls(renderer: Renderer, text: str, finished: bool) -> tuple[ToolCall, ...]:
    if not finished:
        raise Incomplete
    try:
        return renderer.calls(text)
    except ValueError:
        raise Incomplete from None
