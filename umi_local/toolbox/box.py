"""The tools of a run, behind one door: look up, validate, approve, run, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from umi_local.messages import Observation, ToolCall, ToolSpec
from umi_local.toolbox.approval import Approval, ApprovalRequest
from umi_local.toolbox.policy import Rule, Ruling, as_compared
from umi_local.toolbox.ranking import FITTING, Found, Ranking, search_tool
from umi_local.toolbox.stopping import Stopped
from umi_local.toolbox.tool import Effect, Tool, ToolContext, ToolError

_MOST_CHANGES = 20_000  # characters of a diff that are kept with a run


@dataclass(frozen=True)
class LocalToolbox:
    """Tools that run in this process under one approval.

    `hidden` ones are listed only where they fit a query; where there are any, a tool that looks for them is listed too.
    """

    tools: Sequence[Tool]
    context: ToolContext
    approval: Approval = field(default_factory=Approval)
    hidden: Sequence[Tool] = ()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self._listed)

    def fitting(self, query: str) -> tuple[ToolSpec, ...]:
        """The hidden tools that fit a query best."""
        return self._ranking.search(query, FITTING) if self.hidden else ()

    def narrowed(self, plan: str, said: str) -> Mapping[str, Mapping[str, Any]]:
        """Closer schemas from what a plan speaks of, as far as no rule denies a look at it."""
        found: dict[str, Mapping[str, Any]] = {}
        for tool in self._listed:
            if tool.narrow:
                with suppress(Exception):  # a guess, which a user's own tool may make, ends no run
                    found[tool.name] = tool.narrow(self._looking(tool), plan, said) or {}
        return {name: schema for name, schema in found.items() if schema}

    def _looking(self, tool: Tool) -> ToolContext:
        def permitted(arguments: Mapping[str, str]) -> bool:
            rule = self.approval.policy.find(tool.name, arguments)
            return rule is None or rule.ruling is Ruling.ALLOW

        return replace(self.context, permitted=permitted)

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking([tool.spec for tool in self.hidden])

    @cached_property
    def _listed(self) -> tuple[Tool, ...]:
        """The constant part."""
        return (*self.tools, *([search_tool(self._ranking)] if self.hidden else []))

    def cancel(self) -> None:
        """Stop the call that is going on, and every later one; may come from another thread."""
        self.context.stop.set()

    def run(self, call: ToolCall) -> Observation:
        """Run one call. Whatever goes wrong becomes an error Observation that the planner can act on."""
        tool = next((tool for tool in (*self._listed, *self.hidden) if tool.name == call.name), None)
        if tool is None:
            known = ", ".join(tool.name for tool in self._listed)
            return self._refused(call, "", f"There is no tool {call.name!r}. The tools are: {known}.")
        try:
            arguments = tool.validate(call.arguments)
            scope = tool.scope(self.context, arguments) if tool.scope else arguments
        except Exception as error:  # a user's own tool may check its arguments, too, and raise anything
            return self._refused(call, tool.effect.value, _failure(tool, error))
        try:
            shown = partial(self._request, tool, arguments, scope)
            refusal = self.approval.refusal(tool, {**arguments, **scope}, shown)
            if refusal:
                return Observation(refusal, is_error=True, denied=True)
            # What was allowed is what is done: not a link to it, which may lead elsewhere a moment later.
            allowed = arguments | {name: value for name, value in scope.items() if arguments.get(name)}
            # Nor what its name is read as, when the tool reads it once more.
            if tool.scope and any(tool.scope(self.context, read) != scope for read in (arguments, allowed)):
                told = f"What {tool.name} would have touched has changed since it was allowed, so it was left."
                return self._refused(call, tool.effect.value, told)
            arguments = allowed
            if self.context.stop.is_set():
                raise Stopped
            self.approval.saw(tool)
            further = partial(self.approval.permits, tool, {**arguments, **scope})
            changes = self._changes(tool, arguments)
            result = tool.call(replace(self.context, permitted=further), arguments)
            if isinstance(result, Found):
                return Observation(result.text, found=result.tools)
            return Observation(as_text(result), changes=changes)
        except Exception as error:  # a user's own tool may raise anything; the run must go on
            return Observation(_failure(tool, error), is_error=True)

    def _changes(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        """What a call is about to change, for whoever reads the run later; nothing where that is very long."""
        if tool.effect is not Effect.WRITES or tool.preview is None:
            return ""
        told = tool.preview(self.context, arguments)
        return told if len(told) <= _MOST_CHANGES else ""

    def _refused(self, call: ToolCall, effect: str, why: str) -> Observation:
        """A call that never came to be a question of permission; it leaves its line all the same."""
        with suppress(OSError):  # nothing runs, so nothing hangs on this line
            self.approval.audit.decided(call.name, effect, call.arguments, why, "form", "", self.approval.taint)
        return Observation(why, is_error=True)

    def _request(
        self, tool: Tool, arguments: Mapping[str, Any], scope: Mapping[str, Any], reason: str
    ) -> ApprovalRequest:
        preview = tool.preview(self.context, arguments) if tool.preview else ""
        shown = {name: as_compared(value) for name, value in scope.items()}
        always = Rule.exactly(tool.name, shown, whole=tool.scope is None)
        return ApprovalRequest(
            tool.name, tool.effect.value, arguments, preview, reason, always if always.is_writable else None
        )


def _failure(tool: Tool, error: Exception) -> str:
    return str(error) if isinstance(error, ToolError) else f"{tool.name} failed: {type(error).__name__}: {error}"


def as_text(result: Any) -> str:
    """A tool's result as the text of an observation."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
