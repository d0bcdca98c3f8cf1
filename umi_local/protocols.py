"""What the agent asks of its parts. Anything with these methods will do; nothing needs to inherit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from umi_local.events import Event
from umi_local.messages import (
    Completion,
    Constraint,
    ModelInfo,
    Observation,
    Prompt,
    Role,
    Sampling,
    ToolCall,
    ToolSpec,
)

Emit = Callable[[Event], None]


class Backend(Protocol):
    """Writes a role's turn. Looks stateless: the same arguments give the same text whatever came before."""

    def describe(self, role: Role) -> ModelInfo:
        """What is known of the model that plays `role`; loads it if need be."""

    def count(self, role: Role, text: str) -> int:
        """Tokens of `text` as untrusted content."""

    def complete(
        self,
        role: Role,
        prompt: Prompt,
        constraint: Constraint | None,
        sampling: Sampling,
        on_token: Callable[[str], None] = ...,
    ) -> Completion:
        """Write one turn.

        Raises:
            ContextFull: the prompt and `sampling.max_tokens` do not fit into the model's context together.
        """

    def cancel(self) -> None:
        """Stop the turn that is being written, from any thread; `complete` then returns what it has."""

    def close(self) -> None: ...


class Toolbox(Protocol):
    """The tools of a run. `run` never raises for what a model asked for: that is an error Observation."""

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    def fitting(self, query: str) -> Sequence[ToolSpec]:
        """Tools that are listed for this query alone, beside the constant ones."""

    def narrowed(self, plan: str, said: str) -> Mapping[str, Mapping[str, Any]]:
        """By a tool's name, a closer schema for its arguments, from what a plan speaks of and what was asked and
        found out; the caller is held to it."""

    def run(self, call: ToolCall) -> Observation: ...

    def cancel(self) -> None:
        """Stop the call that is going on, from any thread, if it can be stopped; it then ends as a failed one."""
