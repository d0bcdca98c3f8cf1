"""Samples packed into rows, so that one pass of the model reads several runs and each trunk once.

A row has two parts. The trunk holds the runs' trunks one after another behind a head they share (system text and
tools); the turns hold every role's turns one after another. Boolean masks keep runs and turns apart. Runs with tools
that few others list share rows without a head: each one's own is a part of its trunk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from umi_local.messages import Role
from umi_local.training.samples import Sample

_SHARED_BY = 4  # runs from which on a head is kept apart


@dataclass(frozen=True, slots=True)
class Span:
    """One role's turn in a row: it belongs to the row's run `run` and forks after `at` of the trunk's tokens."""

    role: Role
    run: int
    at: int
    tokens: tuple[int, ...]
    given: int


@dataclass(frozen=True, slots=True)
class Row:
    """A shared head, the rest of each run's trunk, and their turns."""

    head: tuple[int, ...]
    trunks: tuple[tuple[int, ...], ...]
    turns: tuple[Span, ...]
    ids: tuple[str, ...]

    def of(self, role: Role) -> tuple[Span, ...]:
        return tuple(turn for turn in self.turns if turn.role is role)

    def targets(self, role: Role) -> int:
        """How many tokens of the role carry loss."""
        return sum(len(turn.tokens) - turn.given for turn in self.of(role))


def rows(samples: Iterable[Sample], most_tokens: int, seed: str) -> list[Row]:
    """Rows of at most `most_tokens` tokens behind the head (a longer sample has one of its own), in a shuffled order.

    Samples share a row if their heads are the same, token for token, or if all of them have rare ones.
    """
    shuffled = sorted(_with_heads_worth_keeping(samples, most_tokens // 2), key=lambda sample: sample.id)
    chance = random.Random(seed)
    chance.shuffle(shuffled)
    open_rows: dict[tuple[int, ...], list[Sample]] = {}
    done: list[Row] = []
    for sample in shuffled:
        head = sample.trunk[: sample.head]
        held = open_rows.setdefault(head, [])
        if held and sum(map(_new_tokens, held)) + _new_tokens(sample) > most_tokens:
            done.append(_row(head, held))
            held.clear()
        held.append(sample)
    done += [_row(head, held) for head, held in open_rows.items() if held]
    chance.shuffle(done)
    return done


def batches(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Rows in groups whose samples together are at least `size`: what one optimizer step sees."""
    held: list[Row] = []
    for row in rows:
        held.append(row)
        if sum(len(each.ids) for each in held) >= size:
            yield tuple(held)
            held = []
    if held:
        yield tuple(held)


def _with_heads_worth_keeping(samples: Iterable[Sample], longest: int) -> list[Sample]:
    """The samples; one whose head few others have keeps it in its trunk, unless it is longer than so many tokens."""
    held = list(samples)
    shared = Counter(sample.trunk[: sample.head] for sample in held)
    return [
        replace(sample, head=0)
        if shared[sample.trunk[: sample.head]] < _SHARED_BY and sample.head <= longest
        else sample
        for sample in held
    ]


def _new_tokens(sample: Sample) -> int:
    return len(sample.trunk) - sample.head + sum(len(turn.tokens) for turn in sample.turns)


def _row(head: tuple[int, ...], samples: Sequence[Sample]) -> Row:
    return Row(
        head,
        tuple(sample.trunk[len(head) :] for sample in samples),
        tuple(
            Span(turn.role, run, turn.at - len(head), turn.tokens, turn.given)
            for run, sample in enumerate(samples)
            for turn in sample.turns
        ),
        tuple(sample.id for sample in samples),
    )
