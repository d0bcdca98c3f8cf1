"""The loop: plan, call, observe, until there is an answer or a reason to stop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from umi_local.errors import ContextFull, UmiError
from umi_local.events import CallEnded, CallStarted, RunEnded, RunStarted, StepEnded
from umi_local.messages import NO_CALL, Message, Observation, Role, ToolCall
from umi_local.observations import Repeats, cut
from umi_local.protocols import Backend, Emit, Toolbox
from umi_local.roles import Crew, Incomplete
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

_EVERY = tuple(Next)
_ONLY_CONCLUDE = (Next.CONCLUDE,)
_REPEATS_ALLOWED = 2
_AGAIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many steps with calls a run may take, and how many tokens of one observation a model reads."""

    steps: int = 8
    observation_tokens: int = 800


@dataclass
class Agent:
    """Runs queries. One run at a time; `cancel` may come from another thread."""

    crew: Crew
    backend: Backend
    toolbox: Toolbox
    emit: Emit
    limits: RunLimits = RunLimits()
    counting_role: Role = Role.PLANNER
    _cancelled: bool = field(default=False, init=False)
    _running: bool = field(default=False, init=False)

    def run(
        self,
        query: str,
        history: Sequence[Message] = (),
        context: str = "",
        outside: bool = False,
    ) -> Trajectory:
        """Answer a query. With `outside` the query holds text that the user need not have written.

        Returns:
            The whole run, with its answer and why it stopped.

        Raises:
            ContextFull: the conversation no longer fits; the run is ended and told to `emit` first, as with
            every other UmiError.
        """
        trajectory = Trajectory(
            query,
            tuple(self.toolbox.specs),
            tuple(history),
            context,
            found=tuple(self.toolbox.fitting(query)),
            outside=outside,
        )
        self.emit(RunStarted(trajectory))
        self._run, self._running = trajectory, True
        try:
            self._loop()
        except KeyboardInterrupt:
            self._end(StopReason.CANCELLED)
            raise
        except UmiError as error:
            self._end(StopReason.CONTEXT_FULL if isinstance(error, ContextFull) else StopReason.FAILED)
            raise
        finally:
            self._cancelled = self._running = False
        return self._run

    def cancel(self) -> None:
        """Stop as soon as possible; `run` then returns what there is. Before a run it stops that one."""
        stopping, self._cancelled = self._cancelled, True
        self.toolbox.cancel()
        if not stopping:  # else it does so by itself, again and again
            self._stop_turn()

    def _stop_turn(self) -> None:
        """Stop the turn that is going on, and again the one that was about to begin and so heard nothing of it.

        After the run nothing is stopped: the backend may already be at work on another.
        """
        if self._running and self._cancelled:
            self.backend.cancel()
            again = threading.Timer(_AGAIN_SECONDS, self._stop_turn)
            again.daemon = True
            again.start()

    def _loop(self) -> None:
        repeats = Repeats()
        reason = StopReason.ANSWERED
        choices = _EVERY if self._run.tools else (Next.CONCLUDE, Next.GIVE_UP)
        while not self._cancelled:
            decision = self.crew.plan(self._run, choices)
            if choices == _ONLY_CONCLUDE:  # some servers do not hold a model to what is open
                decision = replace(decision, next=Next.CONCLUDE)
            self._run = self._run.with_step(Step(decision))
            if self._cancelled:
                break
            if decision.next is Next.CALL:
                most_repeats = self._act(decision, repeats)
                if most_repeats > _REPEATS_ALLOWED:
                    reason, choices = StopReason.LOOP, _ONLY_CONCLUDE
                elif len(self._run.steps) >= self.limits.steps:
                    reason, choices = StopReason.STEP_LIMIT, _ONLY_CONCLUDE
                continue
            answer = self.crew.conclude(self._run) if decision.next is Next.CONCLUDE else ""
            self._step_ended()
            stop = StopReason.GAVE_UP if decision.next is Next.GIVE_UP else reason
            self._end(StopReason.CANCELLED if self._cancelled else stop, answer)
            return
        self._end(StopReason.CANCELLED)

    def _act(self, decision: Decision, repeats: Repeats) -> int:
        """Let the caller write and the tools run. Returns how often the most repeated result was seen."""
        # A closer schema is a guess: where something has failed, the caller may write all that the tool takes.
        failed = any(seen.is_error for step in self._run.steps for seen in step.observations)
        spoken_of = {} if failed else self.toolbox.narrowed(decision.rationale, self._run.said)
        try:
            calls = self.crew.call(replace(self._run, narrowed=spoken_of))
        except Incomplete:
            if self._cancelled:
                return 0
            cut_off = Observation("The call was cut off before it was complete; make a shorter one.", is_error=True)
            self._run = self._run.with_last(Step(decision, (NO_CALL,), (cut_off,)))
            self._step_ended()
            return repeats.note(NO_CALL, cut_off)[1]
        most = 0
        observations: list[Observation] = []
        for call in calls:
            if self._cancelled:
                break
            observation, times = repeats.note(call, self._observe(call))
            observations.append(observation)
            most = max(most, times)
        self._run = self._run.with_last(Step(decision, calls[: len(observations)], tuple(observations)))
        self._step_ended()
        return most

    def _observe(self, call: ToolCall) -> Observation:
        step = len(self._run.steps) - 1
        self.emit(CallStarted(step, call))
        seen = self.toolbox.run(call)
        count = partial(self.backend.count, self.counting_role)
        content = cut(seen.content, self.limits.observation_tokens, count)
        observation = replace(seen, content=content)
        self.emit(CallEnded(step, call, observation))
        return observation

    def _step_ended(self) -> None:
        self.emit(StepEnded(len(self._run.steps) - 1, self._run.steps[-1]))

    def _end(self, stop: StopReason, answer: str = "") -> None:
        self._run = self._run.ended(stop, answer)
        self.emit(RunEnded(self._run))
