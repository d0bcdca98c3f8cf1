"""One everyday situation: a folder with files, a clock, notes, and the real tools at work in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

from umi_local.messages import Message, Observation, ToolCall, ToolSpec
from umi_local.toolbox import Approval, Effect, LocalToolbox, ToolContext, Workspace, policy_of
from umi_local.tools import BUILTIN_TOOLS
from umi_local.training.thoughts import with_rationales
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

LISTED = tuple(tool for tool in BUILTIN_TOOLS if tool.enabled)
_ZONES = {"CET": 1, "CEST": 2, "GMT": 0, "EST": -5, "PDT": -7, "IST": 5.5, "JST": 9, "UTC": 0, "AEST": 10, "BRT": -3}


@dataclass(frozen=True, slots=True)
class Move:
    """One step to take: a call."""

    tool: str
    arguments: Mapping[str, Any]


# The answer, from what the tools returned. A later step, too, may depend on that.
Closing = Callable[[Sequence[str]], str]
Planned = Move | Callable[[Sequence[str]], Move]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request with the way to its answer.

    `close` makes the answer of what the tools returned. `facts` are what a follow-up request may build on; a fact may
    also be made of the results. The step `untaught` is shown and not learnt: it turns out to have been a mistake.
    """

    kind: str
    query: str
    moves: Sequence[Planned]
    close: Closing
    absent: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)
    untaught: int | None = None


@dataclass
class Scene:
    """Where requests are made and carried out. Files are added first; what is told of them is told once.

    `partial` is the share of runs that list only some of the tools.
    """

    rng: Random
    root: Path
    allowed: frozenset[str] = frozenset()
    names: set[str] = field(default_factory=set)
    partial: float = 0.2

    def __post_init__(self) -> None:
        (self.root / "workspace").mkdir()
        hours = self.rng.choice(list(_ZONES))
        zone = timezone(timedelta(hours=_ZONES[hours]), hours)
        start = datetime(2023, 1, 1, tzinfo=zone)
        self.now = start + timedelta(minutes=self.rng.randrange(5 * 365 * 24 * 60))

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root / "workspace")

    @property
    def notes(self) -> Path:
        return self.root / "notes.md"

    @property
    def toolbox(self) -> LocalToolbox:
        context = ToolContext(self.workspace, self.notes, lambda: self.now)
        return LocalToolbox(LISTED, context, Approval(policy_of(allow=self.allowed)))

    def stem_is_free(self, path: str) -> bool:
        """Whether no file so far is called alike, so that a request can name this one without its ending."""
        return _stem(path) not in self.names and not (self.root / "workspace" / path).exists()

    def add(self, path: str, text: str) -> str:
        """A new file in the workspace; gives back its path."""
        file = self.root / "workspace" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        self.names.add(_stem(path))
        return path

    def lines_with(self, words: str) -> list[str]:
        """The lines in all files that have every one of these words, as a search would find them."""
        wanted = words.lower().split()
        texts = [path.read_text(encoding="utf-8") for path in sorted((self.root / "workspace").rglob("*.*"))]
        spoken = [line.lower() for text in texts for line in text.splitlines()]
        return [line for line in spoken if all(word in line for word in wanted)]

    def carry_out(self, request: Ask, context: str, history: tuple[Message, ...] = ()) -> Trajectory:
        """Take the request's steps with the real tools, and end as it says. No tools are listed yet."""
        steps: list[Step] = []
        seen: list[str] = []
        for planned in request.moves:
            move = planned if isinstance(planned, Move) else planned(seen)
            call = ToolCall(move.tool, dict(move.arguments))
            observation = self.toolbox.run(call)
            steps.append(Step(Decision("", Next.CALL), (call,), (observation_of(observation),)))
            seen.append(observation.content)
        last = Step(Decision("", Next.CONCLUDE))
        ended = StopReason.ANSWERED
        run = Trajectory(request.query, (), history, context, (*steps, last), request.close(seen), ended)
        meta = {"kind": request.kind} | ({"missing_aim": "do this"} if request.kind == "impossible" else {})
        return with_rationales(run, request.query, meta)


def observation_of(seen: Observation) -> Observation:
    """What a record keeps of an observation: its text and whether it is an error."""
    return Observation(seen.content, seen.is_error)


def listed_tools(rng: Random, needed: set[str], absent: frozenset[str], partial: float) -> tuple[ToolSpec, ...]:
    """The tools of a run: all, or in a share of `partial` those needed among a few others; never the absent ones."""
    tools = [tool for tool in LISTED if tool.name not in absent]
    if rng.random() < partial:
        others = [tool.name for tool in tools if tool.name not in needed]
        kept = needed | set(rng.sample(others, rng.randint(2, max(2, len(others) - 2)))) if len(others) > 2 else needed
        tools = [tool for tool in tools if tool.name in kept]
    return tuple(tool.spec for tool in tools)


def reads(tools: Sequence[ToolSpec]) -> bool:
    """Whether one of the tools may read the workspace, in which case the agent is told what lies in it."""
    names = {tool.name for tool in tools}
    return any(tool.effect is Effect.READS for tool in LISTED if tool.name in names)


def _stem(path: str) -> str:
    return Path(path).stem.lower().replace("_", " ").replace("-", " ")
