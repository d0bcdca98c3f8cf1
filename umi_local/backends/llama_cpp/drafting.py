"""Drafts taken from the prompt: names, numbers and sentences that a role copies are proposed and verified in one batch.

A draft is what followed the last few tokens where they stood before. The model still decides every token: a draft only
lets several be evaluated at once, and where it is wrong the rest of it is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_LENGTHS = (4, 3, 2)  # how many tokens must have stood before; the longest match is believed first
_MOST = 6  # tokens of one draft
_TRIALS = 6  # drafts before it is asked whether they pay
_PAUSE = 24  # plain tokens before a draft is tried again where they did not
_FADE = 0.15  # weight of the newest in a running mean


@dataclass
class Lookup:
    """Where each run of tokens stood last."""

    tokens: list[int] = field(default_factory=list)
    _after: dict[tuple[int, ...], int] = field(default_factory=dict)

    def extend(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            # A run is entered once something follows it, so that the present end is never its own precedent.
            for length in _LENGTHS:
                if len(self.tokens) >= length:
                    self._after[tuple(self.tokens[-length:])] = len(self.tokens)
            self.tokens.append(token)

    def propose(self) -> list[int]:
        """What followed the last tokens when they stood before; nothing if they never did."""
        for length in _LENGTHS:
            start = self._after.get(tuple(self.tokens[-length:]))
            if start is not None:
                return self.tokens[start : start + _MOST]
        return []


@dataclass
class Payoff:
    """Whether drafts save time on this machine with this text, by what the last ones cost and brought."""

    plain: float = 0.0  # seconds of a step that evaluates what it must
    extra: float = 0.0  # seconds that each drafted token adds
    accepted: float = 0.0  # share of drafted tokens that were right
    _drafts: int = 0
    _since: int = 0

    @property
    def worth_it(self) -> bool:
        if self._drafts < _TRIALS or self.accepted * self.plain > self.extra:
            return True
        return self._since >= _PAUSE

    def stepped(self, seconds: float) -> None:
        """A step without a draft took so long."""
        self.plain = seconds if not self.plain else _mean(self.plain, seconds)
        self._since += 1

    def drafted(self, seconds: float, proposed: int, accepted: int) -> None:
        """A step with a draft took so long, and so many of its tokens were right."""
        extra, share = max(0.0, seconds - self.plain) / proposed, accepted / proposed
        first = not self._drafts
        self.extra = extra if first else _mean(self.extra, extra)
        self.accepted = share if first else _mean(self.accepted, share)
        self._drafts += 1
        self._since = 0


def _mean(old: float, new: float) -> float:
    return (1 - _FADE) * old + _FADE * new
