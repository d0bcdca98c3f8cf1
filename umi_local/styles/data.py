"""The styles' data files as validated values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from umi_local.messages import Observation, ToolCall
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Plans(_Data):
    """The form of a rationale, as a regular expression, by the decision that follows it; $names are the tools'.

    Without a form for it, giving up is not open at that point of a run.
    """

    call: str
    conclude: str
    give_up: str | None = None


Stage = Literal["always", "first", "after_result", "after_error"]


class Language(_Data):
    """What roles may write: a grammar per role, and the forms of a rationale by how far the run is.

    `plans` may tell `first`, `after_result` and `after_error` apart; `always` is the rest. With `caller_follows`
    the caller is bound to the tool that the rationale names.
    """

    grammars: Mapping[str, str]
    plans: Mapping[Stage, Plans]
    caller_follows: bool = False


class _Style(_Data):
    grammars: Mapping[str, str]
    plans: Mapping[Stage, Plans]

    @cached_property
    def language(self) -> Language:
        return Language(grammars=self.grammars, plans=self.plans)


class ChatStyle(_Style):
    """Roles as speakers in a model's chat markup."""

    system: str
    tools_heading: str
    tool_line: str
    speakers: Mapping[str, str]
    cues: Mapping[str, str]


class FlatRole(_Data):
    """One role's part of a flat prompt: `lines` follow the history, `marker` opens the role's text."""

    documents: bool
    history_line: str = ""
    lines: tuple[str, ...]
    marker: str


class FlatStyle(_Style):
    """The paper's flat prompts. `markers` open a turn of the history, by speaker."""

    documents_line: str
    history_line: str
    markers: Mapping[str, str]
    roles: Mapping[str, FlatRole]


class ExampleStep(_Data):
    thought: str
    tool: str
    arguments: dict[str, Any]
    observation: str
    is_error: bool = False


class Example(_Data):
    """A worked run that is shown before the conversation. It is shown only if all its tools are listed."""

    query: str
    steps: tuple[ExampleStep, ...] = ()
    final_thought: str
    answer: str

    @property
    def tools(self) -> frozenset[str]:
        return frozenset(step.tool for step in self.steps)

    @cached_property
    def trajectory(self) -> Trajectory:
        called = [
            Step(
                Decision(step.thought, Next.CALL),
                (ToolCall(step.tool, step.arguments),),
                (Observation(step.observation, step.is_error),),
            )
            for step in self.steps
        ]
        last = Step(Decision(self.final_thought, Next.CONCLUDE))
        return Trajectory(self.query, steps=(*called, last)).ended(StopReason.ANSWERED, self.answer)


class Examples(_Data):
    """Worked runs, and the forms of a rationale that they teach."""

    plans: Mapping[Stage, Plans]
    example: tuple[Example, ...]

    @property
    def forms(self) -> Examples:
        """The forms alone, for models that have learnt the rest."""
        return self.model_copy(update={"example": ()})


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("umi_local.styles").joinpath(name).read_text(encoding="utf-8"))


@cache
def chat_style() -> ChatStyle:
    return ChatStyle.model_validate(_read("chat.toml"))


@cache
def flat_style() -> FlatStyle:
    return FlatStyle.model_validate(_read("alpha-umi.toml"))


@cache
def worked_examples() -> Examples:
    return Examples.model_validate(_read("examples.toml"))
