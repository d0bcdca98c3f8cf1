"""A person's conversation with the agent, without a face: the terminal chat and the line-by-line one put one on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from umi_local.agent import Agent
from umi_local.assemble import (
    agent_for,
    backend_for,
    broadcast,
    chosen_tools,
    context_for,
    known_tools,
    tell_of_servers,
    toolbox_for,
)
from umi_local.errors import UmiError, UsageError
from umi_local.events import RunEnded, RunStarted
from umi_local.messages import Message, Role
from umi_local.permissions import approval_for, remember
from umi_local.prompts import messages_of
from umi_local.protocols import Backend, Emit
from umi_local.sessions import SessionStore
from umi_local.settings import Mode
from umi_local.setups import Setup, roles_of, setup
from umi_local.stats import Stats
from umi_local.toolbox import ApprovalRequest, Rule, Ruling, Tool, taint_of
from umi_local.trajectory import StopReason, Trajectory


class Verdict(StrEnum):
    """What a person says of a call that asks.

    `SESSION` allows the tool until another session is begun, `ALWAYS` this very call from now on (the request's rule).
    """

    ONCE = "once"
    SESSION = "session"
    ALWAYS = "always"
    DENY = "deny"


Ask = Callable[[ApprovalRequest], Verdict]


def offered(request: ApprovalRequest) -> tuple[Verdict, ...]:
    """What may be said of a call. After untrusted text nothing can be allowed beyond the call that is shown."""
    if request.reason:
        return (Verdict.ONCE, Verdict.DENY)
    wider = (Verdict.SESSION, Verdict.ALWAYS) if request.always else (Verdict.SESSION,)
    return (Verdict.ONCE, *wider, Verdict.DENY)


@dataclass
class Conversation:
    """One backend for all of its runs; every run is stored as it happens.

    `ask` blocks until the run has ended, so a face that must not freeze calls it from another thread; `cancel` may come
    from any. `approve` is asked in the thread of `ask`; without it, tools that ask are denied.
    """

    wanted: Setup
    tools: Sequence[Tool]
    workspace: Path
    store: SessionStore
    approve: Ask | None = None
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    session: str = ""
    _backend: Backend | None = None
    _agent: Agent | None = None
    _allowed: list[Rule] = field(default_factory=list)
    _always: list[Rule] = field(default_factory=list)
    _stop: bool = False
    _told: bool = False

    def ask(self, question: str, *listeners: Emit, piped: bool = False) -> tuple[Trajectory, dict[str, Any]]:
        """Answer a question in the light of what was said before. Returns the run and what it cost.

        With `piped` the question holds text that a command brought along and the user need not have written.

        Raises:
            UmiError: the run failed; it is stored as such, and the next question starts a new process.
        """
        self._stop = False
        self._always.clear()  # from now on the file says it, where it may have been taken back
        history = self.history()
        if not self.session:
            self.session = self.store.create(
                self.wanted.pack_name, self.workspace.absolute(), self.wanted.settings.mode
            )
        asking = self._decide if self.approve else None
        settings = self.wanted.settings
        approval = approval_for(settings, self.workspace, self.allow, self.deny, asking, self.session)
        approval.policy = approval.policy.with_rules(self._allowed)
        # Of all tools: one that is no longer listed has still put its words into the conversation.
        approval.taint = taint_of(self.runs(), [*known_tools(), *self.tools])
        if piped:
            approval.saw_piped()
        toolbox = toolbox_for(self.tools, self.workspace, approval, self.session)
        stats, started = Stats(), time.monotonic()
        emit = broadcast(stats, self.store.record(self.session), *listeners)
        if not self._told:
            tell_of_servers(self.wanted, emit)
            self._told = True
        try:
            if self._backend is None:
                self._backend = backend_for(self.wanted)
            self._agent = agent_for(self.wanted, self._backend, toolbox, emit)
        except UmiError:  # no model could be loaded; what was asked is kept all the same
            run = Trajectory(question, history=history, outside=piped).ended(StopReason.FAILED)
            emit(RunStarted(run))
            emit(RunEnded(run))
            raise
        if self._stop:  # while the model was loaded
            self._agent.cancel()
        try:
            run = self._agent.run(question, history, context_for(toolbox), piped)
        finally:
            self._agent = None
        return run, stats.to_json(time.monotonic() - started)

    def cancel(self) -> None:
        """Stop the run that is going on; `ask` then returns what there is."""
        self._stop = True
        agent = self._agent  # the run's thread may take it away
        if agent is not None:
            agent.cancel()

    @property
    def lacks_model(self) -> bool:
        """Whether files must be fetched before anything can answer."""
        return self._backend is None and bool(self.wanted.missing())

    def runs(self) -> tuple[Trajectory, ...]:
        """What was asked so far, answered or not."""
        return self.store.trajectories(self.session) if self.session else ()

    @property
    def first_role(self) -> Role:
        """Who began the steps of this session: the planner, or the one model that did all."""
        mode = Mode(self.store.get(self.session).mode) if self.session else self.wanted.settings.mode
        return roles_of(mode)[0]

    def history(self) -> tuple[Message, ...]:
        """What the agent is told of earlier runs: those that have an answer."""
        return history_of(self.runs())

    def play_with(self, pack: str) -> None:
        """Let another pack answer from now on; its files are here.

        Raises:
            ConfigError: there is no such pack.
        """
        wanted = setup(self.wanted.settings, pack)
        if self._backend is not None:
            self._backend.close()
        self.wanted, self._backend, self._told = wanted, None, False

    def choose_tools(self, names: Sequence[str]) -> None:
        """Let the agent know these tools from the next question on.

        Raises:
            UsageError: a name is no tool's.
        """
        self.tools = chosen_tools(names)

    def new(self) -> None:
        """Go on in a new session; it is stored with its first question."""
        self.session = ""
        self._allowed.clear()

    def resume(self, prefix: str) -> None:
        """Go on in the session whose id begins like this.

        Raises:
            UsageError: there is none, or more than one.
        """
        self.session = self.store.get(prefix).id
        self._allowed.clear()

    def take_back(self, questions: int = 1) -> str:
        """Go on from before the last questions, in a session of its own: the one so far stays as it is.

        Returns the earliest of the questions taken back, to be asked in other words.

        Raises:
            UsageError: there are not that many.
        """
        runs = self.runs()
        if not 1 <= questions <= len(runs):
            raise UsageError(f"This session has only {len(runs)} to take back." if runs else "Nothing was asked yet.")
        kept = len(runs) - questions
        branch = self.store.branch(self.session, kept) if kept else ""
        self.new()
        self.session = branch
        return runs[kept].query

    def close(self) -> None:
        if self._backend is not None:
            self._backend.close()

    def _decide(self, request: ApprovalRequest) -> bool:
        # Said earlier in this very run, whose policy is older than that.
        known = request.always in self._always or any(rule.tool == request.tool for rule in self._allowed)
        if known and not request.reason:
            return True
        assert self.approve is not None
        verdict = self.approve(request)
        if verdict is Verdict.SESSION and verdict in offered(request):
            self._allowed.append(Rule(Ruling.ALLOW, request.tool, origin="this session"))
        if verdict is Verdict.ALWAYS and request.always and verdict in offered(request):
            remember(request.always)
            self._always.append(request.always)
        return verdict is not Verdict.DENY


def history_of(runs: Sequence[Trajectory]) -> tuple[Message, ...]:
    """Earlier runs as a conversation; those without an answer are left out."""
    return tuple(message for run in runs if run.answer for message in messages_of(run))
