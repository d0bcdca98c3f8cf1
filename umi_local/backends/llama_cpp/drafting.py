"""Drafts taken from the prompt: names, numbers and sentences that a role copies are proposed and verified in one batch.

A draft is what followed the last few tokens where they stood before. The model still decides every token: a draft only
lets several be evaluated at once, and where it is wrong the rest of it is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_LENGTHS = (4, 3, 2)  # how many tokens must have stood before; the longest match is believed first
_MOST = 6  # tokens of one draft
_TRIALS = 3  # drafts before it is asked whether they pay
_PAUSE = 24  # plain tokens before a draft is tried again where they did not
_FADE = 0.3  # weight of the newest in a running mean
# What a drafted token adds to a step, as a share of a step without: 0.35 to 0.41 was measured (DESIGN.md, section 5).
_COST = 0.4


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
    """Whether drafts save time in a turn, by how many of the last ones' tokens were right.

    It looks at no clock and at no other turn. A batch's size changes the last digits of its numbers, so that a turn
    which drafted by the clock would be another text now and then.
    """

    accepted: float = 0.0  # share of drafted tokens that were right
    _drafts: int = 0
    _since: int = 0

    @property
    def worth_it(self) -> bool:
        return self._drafts < _TRIALS or self.accepted > _COST or self._since >= _PAUSE

    def stepped(self) -> None:
        """A step without a draft."""
        self._since += 1

    def drafted(self, proposed: int, accepted: int) -> None:
        """A step with a draft of which so many tokens were right."""
        share = accepted / proposed
        self.accepted = (1 - _FADE) * self.accepted + _FADE * share if self._drafts else share
        self._drafts += 1
        self._since = 0
