"""The measurements of `umi-local bench` and the ratios that are made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from umi_local.assemble import renderer_for
from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import Features
from umi_local.backends.llama_cpp.vocabulary import Vocabulary
from umi_local.bench.replay import Replay, Turn, distinct_tokens, recorded_runs, replay, turns_of
from umi_local.evaluation.meter import peak_memory_of_children
from umi_local.messages import Role
from umi_local.paths import threads_file
from umi_local.setups import Setup
from umi_local.tools import BUILTIN_TOOLS

SETTINGS = {
    "agent": Features(),
    "no drafting": Features(drafting=False),
    "no forcing": Features(forcing=False),
    "no forcing, no drafting": Features(forcing=False, drafting=False),
}
NAIVE = Features(sharing=False, forcing=False, drafting=False)
_SNAPSHOT_LIMIT = 1_000_000_000


@dataclass(slots=True)
class Limits:
    """What the machine does with no agent around it, in tokens per second, and what the model takes, in bytes."""

    read: float
    write: float
    cache_bytes: int
    model_bytes: int


@dataclass(slots=True)
class Bench:
    """All that was measured. `replays` by setting; `distinct` and `written` count tokens of the recorded runs."""

    limits: Limits
    replays: dict[str, Replay] = field(default_factory=dict)
    distinct: int = 0
    unconstrained_seconds: float = 0.0
    first_words: tuple[float, float] = (0.0, 0.0)
    peak_bytes: int = 0

    def ratios(self) -> dict[str, float | None]:
        """The figures that are compared between machines and versions; None for what was not measured."""
        agent, plain = self.replays["agent"], self.replays["no forcing, no drafting"]
        naive = self.replays.get("naive")
        first, second = self.first_words
        return {
            "evaluated_per_distinct": _ratio(agent.total("evaluated"), self.distinct + agent.written),
            "agent_per_limit": _ratio(plain.seconds, self._limit(plain)),
            "agent_per_limit_fast": _ratio(agent.seconds, self._limit(agent)),
            "naive_per_agent": _ratio(naive.seconds, agent.seconds) if naive else None,
            "second_first_word": _ratio(second, first),
            "constraint_cost": _ratio(plain.seconds, self.unconstrained_seconds),
        }

    def _limit(self, done: Replay) -> float:
        """The seconds that the machine needs at least for what a replay has read and written."""
        return self.distinct / self.limits.read + done.written / self.limits.write

    def to_json(self) -> dict[str, Any]:
        # The peak is only known where the system tells it.
        extra = (self.peak_bytes and self.peak_bytes - self.limits.cache_bytes - self.limits.model_bytes) or None
        return {
            "schema_version": 1,
            "limits": {
                "read_tokens_per_s": round(self.limits.read, 2),
                "write_tokens_per_s": round(self.limits.write, 2),
            },
            "distinct_tokens": self.distinct,
            "settings": {name: _row(done) for name, done in self.replays.items()},
            "first_word_s": {"first": round(self.first_words[0], 3), "second": round(self.first_words[1], 3)},
            "memory_bytes": {"peak": self.peak_bytes or None, **_bytes(self.limits), "beyond_model_and_cache": extra},
            "ratios": {name: value and round(value, 3) for name, value in self.ratios().items()},
        }


def bench(wanted: Setup, naive: bool, tell: Callable[[str], None] = lambda _: None) -> Bench:
    """Measure this machine, then the agent on the recorded runs with each feature on and off.

    Every setting starts a process of its own with an empty cache. The limits are measured before and after, since other
    work on the machine changes them.
    """
    specs, pinned = wanted.specs()
    model = Path(specs[Role.PLANNER].model)
    tell("the machine's limits")
    before = _limits(LlamaCppBackend(specs, pinned, tuning=threads_file()))
    # All that follows has as many threads: this measurement's own load must not start another trial in the middle.
    threads = {"threads": before["threads"]["write"], "read_threads": before["threads"]["read"]}
    fixed = {role: replace(spec, **threads) for role, spec in specs.items()}

    def backend(features: Features, snapshots: Snapshots | None = None) -> LlamaCppBackend:
        return LlamaCppBackend(fixed, pinned, snapshots, features)

    turns = _turns(wanted, backend(Features()))
    found = Bench(Limits(before["read"], before["write"], before["cache_bytes"], model.stat().st_size))
    found.distinct = distinct_tokens(turns, Vocabulary(model))
    for name, features in {**SETTINGS, **({"naive": NAIVE} if naive else {})}.items():
        tell(name)
        found.replays[name], peak = _replayed(backend(features), turns)
        found.peak_bytes = max(found.peak_bytes, peak if name == "agent" else 0)
    tell("without constraints")
    found.unconstrained_seconds = _replayed(backend(SETTINGS["no forcing, no drafting"]), turns, constrained=False)[
        0
    ].seconds
    tell("a second process")
    with tempfile.TemporaryDirectory(prefix="umi-local-bench-") as folder:
        kept = Snapshots(Path(folder), _SNAPSHOT_LIMIT)
        first, second = (_replayed(backend(Features(), kept), turns[:1])[0].first_word for _ in range(2))
    found.first_words = (first, second)
    after = _limits(backend(Features()))
    found.limits.read = (found.limits.read + after["read"]) / 2
    found.limits.write = (found.limits.write + after["write"]) / 2
    return found


def _turns(wanted: Setup, backend: LlamaCppBackend) -> list[Turn]:
    try:
        renderer = renderer_for(wanted, backend)
    finally:
        backend.close()
    tools = [tool.spec for tool in BUILTIN_TOOLS if tool.enabled]
    return list(turns_of(recorded_runs(tools), renderer))


def _limits(backend: LlamaCppBackend) -> dict[str, Any]:
    try:
        return backend.limits(Role.PLANNER)
    finally:
        backend.close()


def _replayed(backend: LlamaCppBackend, turns: Sequence[Turn], constrained: bool = True) -> tuple[Replay, int]:
    try:
        done = replay(backend, turns, constrained)
        return done, peak_memory_of_children()
    finally:
        backend.close()


def _row(done: Replay) -> dict[str, Any]:
    names = ("evaluated", "reused", "sampled", "forced", "drafted", "accepted")
    counts = {f"{name}_tokens": done.total(name) for name in names}
    return {"seconds": round(done.seconds, 3), "first_word_s": round(done.first_word, 3), **counts}


def _bytes(limits: Limits) -> dict[str, int]:
    known = asdict(limits)
    return {"model_file": known["model_bytes"], "cache": known["cache_bytes"]}


def _ratio(value: float, by: float) -> float | None:
    return value / by if by else None
