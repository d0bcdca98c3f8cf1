"""What becomes of a tool's result before a model reads it: cut to size in the open, and repeats pointed out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from umi_local.messages import Observation, ToolCall

_HEAD_SHARE = 0.75
REPEATED = "(The same call gave the same result before. Use it, or do something else.)"


def cut(text: str, limit: int, count: Callable[[str], int]) -> str:
    """`text` in at most `limit` tokens: its head, a line that says how much is missing, and its tail.

    Args:
        limit: tokens, the marker's own included.
        count: tokens of a text, as the model that will read it counts them.
    """
    if len(text.encode(errors="replace")) <= limit or count(text) <= limit:  # no token is shorter than a byte
        return text
    low, high = 0, len(text)
    while high - low > 1:  # the longest excerpt that fits, found by its characters
        middle = (low + high) // 2
        low, high = (middle, high) if count(_excerpt(text, middle)) <= limit else (low, middle)
    return _excerpt(text, low)


def _excerpt(text: str, kept: int) -> str:
    head = int(kept * _HEAD_SHARE)
    tail = kept - head
    marker = f"\n[... {len(text) - kept} characters are missing here ...]\n"
    return text[:head] + marker + (text[-tail:] if tail else "")


@dataclass
class Repeats:
    """Counts calls that came back with the same result."""

    _seen: Counter[str] = field(default_factory=Counter)

    def note(self, call: ToolCall, observation: Observation) -> tuple[Observation, int]:
        """The observation, with a remark from the second time on, and how often it was seen by now."""
        key = json.dumps([call.name, dict(call.arguments), observation.content], sort_keys=True, ensure_ascii=False)
        self._seen[key] += 1
        if self._seen[key] > 1:
            observation = replace(observation, content=f"{observation.content}\n{REPEATED}")
        return observation, self._seen[key]
