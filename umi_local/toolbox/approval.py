"""Who may run what: rules first, then a person, and where there is nobody to ask, no."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from umi_local.messages import NO_CALL
from umi_local.toolbox.audit import AuditLog
from umi_local.toolbox.isolation import Isolation, isolation
from umi_local.toolbox.policy import Policy, Rule, Ruling
from umi_local.toolbox.ranking import FIND_TOOLS
from umi_local.toolbox.tool import Effect, Tool
from umi_local.trajectory import Trajectory

_PIPED = "This conversation has read piped text, which comes from outside"
_ANSWERED = "This conversation holds earlier answers, which may tell what came from outside"
RISKY = frozenset({Effect.WRITES, Effect.EXECUTES, Effect.NETWORK})


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is shown before a tool acts: all of it, never an excerpt.

    `reason` is why it is asked whatever was allowed before, or empty. `always` is the rule that would allow just this.
    """

    tool: str
    effect: str
    arguments: Mapping[str, Any]
    preview: str
    reason: str = ""
    always: Rule | None = None


@dataclass
class Approval:
    """Rules, and a question for the rest. `ask` is None where no person can answer.

    `taint` says what the run has read that may hold somebody else's instructions; from then on whatever writes,
    executes or uses the network is asked for again. Where that was `foreseen` by whoever gave the command line's rules,
    as text in the same command is, those rules still allow. Every decision goes into `audit`.
    """

    policy: Policy = field(default_factory=Policy)
    ask: Callable[[ApprovalRequest], bool] | None = None
    audit: AuditLog = field(default_factory=AuditLog)
    taint: str = ""
    foreseen: bool = False

    def refusal(self, tool: Tool, compared: Mapping[str, Any], request: Callable[[str], ApprovalRequest]) -> str | None:
        """Why the call may not run, as a sentence; None if it may.

        Args:
            compared: the arguments in the form that rules are compared with.
            request: what a person is shown, given the reason for asking.
        """
        rule = self.policy.find(tool.name, compared)
        tainted = bool(self.taint) and tool.effect in RISKY and not (self.foreseen and rule and rule.by_flag)
        reason = f"{self.taint}, so this is asked for again." if tainted else ""
        asks = rule is not None and rule.ruling is Ruling.ASK
        if rule and asks and not reason:
            reason = f"{rule.origin or 'A rule'} says to ask each time."
        asked = bool(reason) or (rule is None and tool.asks)
        if rule and rule.ruling is Ruling.DENY:
            refusal, by = f"{tool.name} is denied by {rule.origin or rule}.", "rule"
        elif not asked:
            refusal, by = None, "rule" if rule else "default"
        elif self.ask is None:
            flag = f"--allow {tool.name} would allow it."
            remedy = flag if not reason or (self.foreseen and not asks) else reason
            refusal, by = f"{tool.name} needs approval and nobody can be asked here; {remedy}", "nobody"
        else:
            allowed, by = self.ask(request(reason)), "person"
            refusal = None if allowed else f"The user did not allow this call of {tool.name}."
        self.audit.decided(tool.name, tool.effect.value, compared, refusal, by, str(rule or ""), self.taint)
        return refusal

    def permits(self, tool: Tool, compared: Mapping[str, Any], further: Mapping[str, str]) -> bool:
        """Whether a call that may run may go on to what other arguments would name, such as where a page redirects.

        Nobody is asked in the middle of a call: no rule may speak against it, and where a rule on arguments spared a
        question, rules must allow this, too.
        """
        rule = self.policy.find(tool.name, {**compared, **further})
        if rule:
            return rule.ruling is Ruling.ALLOW
        granted = self.policy.find(tool.name, compared)
        return not (tool.asks and granted and granted.arguments)

    def saw(self, tool: Tool) -> None:
        """Note that a tool's result has been read."""
        if _brings_outside_text(tool) and (not self.taint or self.foreseen):
            self.taint, self.foreseen = _tainted_by(tool.name), False

    def saw_answers(self, tools: Iterable[Tool]) -> None:
        """Note earlier answers of which nobody knows what they were made of, where these tools could be called."""
        if any(map(_brings_outside_text, tools)):
            self.taint = self.taint or _ANSWERED

    def saw_piped(self) -> None:
        """Note that the command which starts the run brings text along."""
        self.taint, self.foreseen = self.taint or _PIPED, not self.taint


def taint_of(runs: Iterable[Trajectory], tools: Iterable[Tool]) -> str:
    """Why what follows these runs is tainted: a result from outside is part of the conversation. Else empty.

    Args:
        tools: all that are known, also those that nobody listed: a tool that is not among them is one from outside
            that has gone, such as an MCP server's.
    """
    trusted = {NO_CALL.name, FIND_TOOLS, *(tool.name for tool in tools if not _brings_outside_text(tool))}
    for run in runs:
        if run.outside:
            return _PIPED
        for step in run.steps:
            for call, seen in zip(step.calls, step.observations, strict=False):
                if not seen.denied and call.name not in trusted:
                    return _tainted_by(call.name)
    return ""


def _brings_outside_text(tool: Tool) -> bool:
    """Whether a result may be somebody else's: also that of programs which nothing keeps from the network."""
    return tool.untrusted or (tool.effect is Effect.EXECUTES and isolation() is Isolation.NONE)


def _tainted_by(tool: str) -> str:
    return f"This conversation has read what {tool} returned, which comes from outside"
