"""Trivial policies on ToolBench: what a score is worth is seen beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from umi_local import parse
from umi_local.errors import UsageError
from umi_local.evaluation.paper_metrics import NONE
from umi_local.evaluation.suite import Contestant, Policy, ReferenceRow
from umi_local.evaluation.toolbench_data import Conversation, ScoredStep
from umi_local.messages import Speaker, ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew
from umi_local.trajectory import Decision, Next, Trajectory

_SORRY = "I am sorry, I could not get the information."
_MOST_CALLS = 4


@dataclass
class GoldCrew:
    """Says what the reference says. The suite tells it at which step it is; `tool` and `arguments` may be left out."""

    tool: bool = True
    arguments: bool = True
    step: ScoredStep | None = None

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        return self._now.decision

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        gold = self._now.call if self.tool else None
        if gold is None:
            return (first_tool(trajectory),)
        return (gold if self.arguments else ToolCall(gold.name),)

    def conclude(self, trajectory: Trajectory) -> str:
        return self._now.following

    @property
    def _now(self) -> ScoredStep:
        assert self.step is not None, "the suite names the step first"
        return self.step


def contestants() -> Mapping[str, Contestant]:
    """The policies of the paper's rows, by their names there."""
    crews: dict[str, Crew] = {
        "always the first tool, {}": Policy(lambda _: Next.CALL, first_tool),
        "first unused tool, {}": Policy(lambda t: _while_unused(t, None), unused_tool, lambda _: _SORRY),
        "the same, at most 4 calls": Policy(lambda t: _while_unused(t, _MOST_CALLS), unused_tool, _last_words),
        "gold plan, first tool, {}": GoldCrew(tool=False),
        "gold plan and tool, {}": GoldCrew(arguments=False),
        "gold": GoldCrew(),
    }
    return {name: Contestant(crew, _no_run) for name, crew in crews.items()}


def fitted_rows(conversations: Sequence[Conversation]) -> list[ReferenceRow]:
    """What counting calls and drawing lots would score on all of these conversations, in percent."""
    steps = [(conversation, step) for conversation in conversations for step in conversation.steps]
    by_count: dict[int, Counter[Next]] = {}
    for _, step in steps:
        by_count.setdefault(len(called(step.start)), Counter())[step.decision.next] += 1
    best = sum(max(counter.values()) for counter in by_count.values())
    shares = [1 / len(one.tools) for one, step in steps if step.decision.next is Next.CALL]
    rows: list[tuple[str, str, float, int]] = [
        ("best decision by number of calls", "plan_em", best, len(steps)),
        ("a random listed tool", "action_em", sum(shares), len(shares)),
    ]
    note = "computed on the whole file"
    return [ReferenceRow(name, {key: 100 * total / n}, note) for name, key, total, n in rows if n]


def first_tool(trajectory: Trajectory) -> ToolCall:
    return ToolCall(trajectory.tools[0].name)


def unused_tool(trajectory: Trajectory) -> ToolCall:
    return ToolCall(_unused(trajectory)[0])


def called(trajectory: Trajectory) -> list[str]:
    """The names of the tools called so far, in order, also those of earlier queries."""
    earlier = [_name(message.text) for message in trajectory.history if message.speaker is Speaker.CALLER]
    return [*earlier, *(call.name for step in trajectory.steps for call in step.calls)]


def _name(text: str) -> str:
    for read in (parse.json_calls, parse.action_calls):
        try:
            return read(text)[0].name
        except ValueError:
            continue
    return NONE


def _unused(trajectory: Trajectory) -> list[str]:
    used = set(called(trajectory))
    return [tool.name for tool in trajectory.tools if tool.name not in used]


def _while_unused(trajectory: Trajectory, most: int | None) -> Next:
    enough = most is not None and len(called(trajectory)) >= most
    return Next.CONCLUDE if enough or not _unused(trajectory) else Next.CALL


def _last_words(trajectory: Trajectory) -> str:
    """Stopped by the count of calls it says nothing, else it excuses itself."""
    return NONE if len(called(trajectory)) >= _MOST_CALLS else _SORRY


def _no_run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
    raise UsageError("This policy takes single turns only.")
