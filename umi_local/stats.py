"""What a run cost, added up from its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from umi_local.events import Event, TurnEnded
from umi_local.messages import Role, Usage


@dataclass
class RoleStats:
    turns: int = 0
    sampled_tokens: int = 0
    seconds: float = 0.0


@dataclass
class Stats:
    """Tokens and seconds of one run; give it every event."""

    turns: list[Usage] = field(default_factory=list)
    roles: dict[Role, RoleStats] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TurnEnded):
            return
        self.turns.append(event.usage)
        role = self.roles.setdefault(event.role, RoleStats())
        role.turns += 1
        role.sampled_tokens += event.usage.sampled
        role.seconds += event.usage.seconds

    def to_json(self, wall_seconds: float) -> dict[str, Any]:
        """The `stats` object of `ask --json`. `trunk_tokens` is the longest trunk; the rest are sums."""

        def total(name: str) -> int:
            return sum(getattr(usage, name) for usage in self.turns)

        return {
            "wall_s": round(wall_seconds, 3),
            "load_s": round(sum(usage.load_seconds for usage in self.turns), 3),
            "trunk_tokens": max((usage.trunk for usage in self.turns), default=0),
            "evaluated_tokens": total("evaluated"),
            "reused_tokens": total("reused"),
            "sampled_tokens": total("sampled"),
            "forced_tokens": total("forced"),
            "drafted_tokens": total("drafted"),
            "accepted_tokens": total("accepted"),
            "roles": {
                role.value: {"turns": r.turns, "sampled_tokens": r.sampled_tokens, "seconds": round(r.seconds, 3)}
                for role, r in self.roles.items()
            },
        }
