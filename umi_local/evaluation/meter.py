"""What an item cost, added up from the events of its turns."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from umi_local.events import Event, TurnEnded
from umi_local.messages import Role
from umi_local.stats import Stats

_SUMS = ("wall_s", "load_s", "evaluated_tokens", "reused_tokens", "sampled_tokens", "forced_tokens", "distinct_tokens")


class Meter:
    """Hears every event of a contestant and tells what one item cost. Items in several threads do not mix."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __call__(self, event: Event) -> None:
        stats = getattr(self._local, "stats", None)
        if stats is not None and isinstance(event, TurnEnded):
            stats(event)
            self._local.planning.append(event.usage.trunk if event.role in (Role.PLANNER, Role.SINGLE) else 0)

    def start(self) -> None:
        self._local.stats, self._local.planning, self._local.started = Stats(), [], time.monotonic()

    def stop(self) -> dict[str, Any]:
        """The cost since `start`.

        Returns:
            Seconds, tokens and the turns by role, as `ask --json` tells them; `distinct_tokens` is what would have to
            be read and written if nothing were read twice: the longest trunk of a plan, and every turn's own text.
            `peak_memory_bytes` is the largest resident set of a process that this one started, 0 where unknown.
        """
        stats: Stats = self._local.stats
        cost = stats.to_json(time.monotonic() - self._local.started)
        own = sum(max(usage.evaluated + usage.reused - usage.trunk, 0) for usage in stats.turns)
        cost["distinct_tokens"] = own + max(self._local.planning, default=0)
        cost["peak_memory_bytes"] = peak_memory_of_children()
        self._local.stats = None
        return cost


def total(costs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The costs of all items together, and per item."""
    known = [cost for cost in costs if cost]
    sums = {name: round(sum(cost.get(name, 0) for cost in known), 3) for name in _SUMS}
    n = len(known)
    read = sums["distinct_tokens"]
    return {
        "items": n,
        **sums,
        "seconds_per_item": round(sums["wall_s"] / n, 3) if n else 0.0,
        "evaluated_per_distinct": round(sums["evaluated_tokens"] / read, 3) if read else None,
        "peak_memory_bytes": max((cost.get("peak_memory_bytes", 0) for cost in known), default=0),
    }


def peak_memory_of_children() -> int:
    """The largest peak of resident memory among the processes that this one started, in bytes (Linux; else 0)."""
    peaks = [0]
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            peaks += [_peak(Path("/proc", pid, "status")) for pid in listing.read_text().split()]
    return max(peaks)


def _peak(status: Path) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
