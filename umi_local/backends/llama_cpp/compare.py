"""What a quantisation cost: two files of one model on the same tokens."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from umi_local.backends.llama_cpp.worker import lines_of


@dataclass(frozen=True, slots=True)
class Passage:
    """Tokens of one kind of text; the first `given` are only read."""

    kind: str
    tokens: tuple[int, ...]
    given: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of text: perplexities, the mean Kullback-Leibler divergence of `after` from `before` in nats per
    token, and the share of tokens for which both have the same first choice."""

    kind: str
    tokens: int
    perplexity_before: float
    perplexity_after: float
    divergence: float
    same_choice: float


def compare(before: Path, after: Path, passages: Sequence[Passage], progress: Callable[[int, int], None]) -> list[Cost]:
    """Read every passage with both files, one after the other.

    Raises:
        ModelFailed: llama.cpp could not.
        OutOfMemory: it was killed for the memory it took.
    """
    with tempfile.TemporaryDirectory(prefix="umi-compare-") as folder:
        told = Path(folder) / "passages.json"
        told.write_text(json.dumps([[passage.kind, passage.tokens, passage.given] for passage in passages]))
        costs: list[Cost] = []
        what = f"{before.name} and {after.name} cannot be compared"
        for line in lines_of(what, "compare_child", before, after, told):
            found = json.loads(line)
            if isinstance(found, int):
                progress(found, len(passages))
            else:
                costs.append(Cost(**found))
        return costs
