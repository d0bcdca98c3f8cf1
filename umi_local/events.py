"""The one stream of a run: the command line prints it, the chat shows it, the store saves it, tests read it."""

from __future__ import annotations

from dataclasses import dataclass

from umi_local.messages import Observation, Role, ToolCall, Usage
from umi_local.trajectory import Step, Trajectory


@dataclass(frozen=True, slots=True)
class RunStarted:
    trajectory: Trajectory


@dataclass(frozen=True, slots=True)
class TurnStarted:
    role: Role
    step: int


@dataclass(frozen=True, slots=True)
class TextWritten:
    """A piece of text as a role writes it; pieces of one turn, joined, are the turn."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    role: Role
    step: int
    text: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class CallStarted:
    step: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class CallEnded:
    step: int
    call: ToolCall
    observation: Observation


@dataclass(frozen=True, slots=True)
class StepEnded:
    index: int
    step: Step


@dataclass(frozen=True, slots=True)
class Warned:
    text: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    trajectory: Trajectory


Event = RunStarted | TurnStarted | TextWritten | TurnEnded | CallStarted | CallEnded | StepEnded | Warned | RunEnded
