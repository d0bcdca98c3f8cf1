"""Requests made of two others: one whose answer is to be kept, and two that have nothing to do with each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from umi_local.training.everyday.calculator import calculator
from umi_local.training.everyday.dates import add_to_date, current_time, date_difference
from umi_local.training.everyday.files import read_file
from umi_local.training.everyday.notes import add_note, noting, search_notes
from umi_local.training.everyday.phrasing import chosen, lines_of, say
from umi_local.training.everyday.scene import Ask, Move, Planned, Scene
from umi_local.training.everyday.tables import query_table
from umi_local.training.everyday.units import convert_units

_KEPT = (calculator, convert_units, date_difference, add_to_date, query_table, query_table, read_file)
_ANY = (*_KEPT, current_time, add_note, search_notes)
_LONGEST = 160  # characters of an answer that is kept


def answer_kept(scene: Scene) -> Ask:
    """A request whose answer is to be noted or written to a file."""
    rng, lines = scene.rng, lines_of("several", "kept")
    while True:
        first = rng.choice(_KEPT)(scene)
        if "\n" not in first.query:
            break
    told: list[str] = []

    def answer(seen: Sequence[str]) -> str:
        """What the first part says: the same each time, though it is drawn."""
        if not told:
            told.append(_shortened(first.close(seen[: len(first.moves)]).replace("\n", " ")))
        return told[0]

    if rng.random() < 0.65:
        query = say(rng, lines["note"], q=first.query)
        keep = partial(_noted, answer)
        ending = chosen(rng, rng.choice(lines["noted"]))
    else:
        path = f"{rng.choice(lines['names'])}.{rng.choice(('txt', 'md'))}"
        query = say(rng, lines["write"], q=first.query, p=path)
        keep = partial(_written, answer, path)
        scene.allowed = frozenset({"write_file"} if rng.random() < 0.8 else set())
        ending = say(rng, lines["written" if scene.allowed else "denied"], p=path)
    return Ask("several", query, [*first.moves, keep], lambda seen: f"{answer(seen)} {ending}")


def _shortened(text: str) -> str:
    """As many of the first sentences as may be kept; one at least."""
    first, *more = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    for sentence in more:
        if len(first) + len(sentence) >= _LONGEST:
            break
        first += f" {sentence}"
    return first


def _noted(answer: Callable[[Sequence[str]], str], seen: Sequence[str]) -> Move:
    return noting(answer(seen).rstrip("."))


def _written(answer: Callable[[Sequence[str]], str], path: str, seen: Sequence[str]) -> Move:
    return Move("write_file", {"path": path, "content": answer(seen)})


def two_requests(scene: Scene) -> Ask:
    """Two requests in one message."""
    rng, lines = scene.rng, lines_of("several", "two_requests")
    first, second = (family(scene) for family in rng.sample(_ANY, 2))
    count = len(first.moves)
    query = say(rng, lines["queries"], a=first.query, b=second.query)
    later = [_later(planned, count) for planned in second.moves]

    def close(seen: Sequence[str]) -> str:
        return f"{first.close(seen[:count])} {second.close(seen[count:])}"

    return Ask("several", query, [*first.moves, *later], close)


def _later(planned: Planned, count: int) -> Planned:
    """A step that looks at its own request's results only."""
    return planned if isinstance(planned, Move) else lambda seen: planned(seen[count:])
