"""The tools of a run, behind one door: look up, validate, approve, run, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from umi_local.messages import Observation, ToolCall, ToolSpec
from umi_local.toolbox.approval import Approval, ApprovalRequest
from umi_local.toolbox.tool import Tool, ToolContext, ToolError


@dataclass(frozen=True)
class LocalToolbox:
    """Tools that run in this process under one approval."""

    tools: Sequence[Tool]
    context: ToolContext
    approval: Approval = field(default_factory=Approval)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self.tools)

    def run(self, call: ToolCall) -> Observation:
        """Run one call. Whatever goes wrong becomes an error Observation that the planner can act on."""
        tool = next((tool for tool in self.tools if tool.name == call.name), None)
        if tool is None:
            known = ", ".join(tool.name for tool in self.tools)
            return Observation(f"There is no tool {call.name!r}. The tools are: {known}.", is_error=True)
        try:
            arguments = tool.validate(call.arguments)
            refusal = self.approval.refusal(tool, lambda: self._request(tool, arguments))
            if refusal:
                return Observation(refusal, is_error=True, denied=True)
            return Observation(as_text(tool.call(self.context, arguments)))
        except ToolError as error:
            return Observation(str(error), is_error=True)
        except Exception as error:  # a user's own tool may raise anything; the run must go on
            return Observation(f"{tool.name} failed: {type(error).__name__}: {error}", is_error=True)

    def _request(self, tool: Tool, arguments: dict[str, Any]) -> ApprovalRequest:
        preview = tool.preview(self.context, arguments) if tool.preview else ""
        return ApprovalRequest(tool.name, tool.effect.value, arguments, preview)


def as_text(result: Any) -> str:
    """A tool's result as the text of an observation."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
