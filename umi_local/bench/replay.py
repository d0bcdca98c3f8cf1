"""Recorded runs written again, token for token, so that every setting does the same work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.constraints import constraint_for
from umi_local.messages import Constraint, Prompt, Role, Sampling, ToolSpec, Usage
from umi_local.prompts import Renderer
from umi_local.training.samples import Tokenizer, canonical, team_turns
from umi_local.trajectory import Next, Trajectory
from umi_local.wire import from_json

_LIMIT = 512


@dataclass(frozen=True, slots=True)
class Turn:
    """A role's prompt, what it may write there, and what it wrote when the run was recorded."""

    role: Role
    prompt: Prompt
    constraint: Constraint
    text: str


@dataclass(slots=True)
class Replay:
    """What the turns of a replay cost, and the seconds until the first word of the first one."""

    usages: list[Usage] = field(default_factory=list)
    seconds: float = 0.0
    first_word: float = 0.0

    def total(self, name: str) -> int:
        return sum(getattr(usage, name) for usage in self.usages)

    @property
    def written(self) -> int:
        return self.total("sampled") + self.total("forced")


def recorded_runs(tools: Sequence[ToolSpec]) -> list[Trajectory]:
    """The runs that ship, with these tools listed; all of their calls are calls of built-in tools."""
    text = files("umi_local.bench").joinpath("recorded.json").read_text(encoding="utf-8")
    return [replace(from_json(run), tools=tuple(tools)) for run in json.loads(text)["runs"]]


def turns_of(runs: Iterable[Trajectory], renderer: Renderer) -> Iterator[Turn]:
    """Every turn of the runs as planner, caller and summarizer took them."""
    for run in runs:
        for role, before, text in team_turns(canonical(run), {}):
            constraint = constraint_for(role, renderer.language, before, tuple(Next), 1)
            yield Turn(role, renderer.render(before, role), constraint, text)


def replay(backend: LlamaCppBackend, turns: Iterable[Turn], constrained: bool = True) -> Replay:
    """Write the turns again. The backend's process is started by the first of them."""
    done = Replay()
    started = time.monotonic()

    def first_word(_: str) -> None:
        done.first_word = done.first_word or time.monotonic() - started

    for turn in turns:
        constraint = turn.constraint if constrained else None
        sampling = Sampling(max_tokens=_LIMIT)
        written = backend.complete(turn.role, turn.prompt, constraint, sampling, first_word, recorded=turn.text)
        done.usages.append(written.usage)
    done.seconds = time.monotonic() - started
    return done


def distinct_tokens(turns: Iterable[Turn], words: Tokenizer) -> int:
    """The tokens that must be read at least once: every trunk's beyond an earlier one's, and suffixes."""
    seen: set[int] = set()
    suffixes = 0
    for turn in turns:
        beginning = 0
        for token in words.trunk(turn.prompt.trunk):
            beginning = hash((beginning, token))
            seen.add(beginning)
        suffixes += len(words.turn(turn.prompt.suffix))
    return len(seen) + suffixes
