"""Who may run what. Deny wins over allow; a tool that asks is denied where there is nobody to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from umi_local.toolbox.tool import Tool


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is shown before a tool acts: all of it, never an excerpt."""

    tool: str
    effect: str
    arguments: Mapping[str, Any]
    preview: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Rules by tool name, and a question for the rest. `ask` is None where no person can answer."""

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    ask: Callable[[ApprovalRequest], bool] | None = None

    def refusal(self, tool: Tool, request: Callable[[], ApprovalRequest]) -> str | None:
        """Why the call may not run, as a sentence; None if it may."""
        if tool.name in self.deny:
            return f"{tool.name} is denied by --deny {tool.name}."
        if not tool.asks or tool.name in self.allow:
            return None
        if self.ask is None:
            return f"{tool.name} needs approval and nobody can be asked here; --allow {tool.name} would allow it."
        return None if self.ask(request()) else f"The user did not allow this call of {tool.name}."
