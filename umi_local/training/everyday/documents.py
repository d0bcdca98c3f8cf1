"""Requests about documents as people keep them: a letter, minutes, a log. They say several things of the same sort, so
that the right one must be told from the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.files import mention, reading, upper_first_word
from umi_local.training.everyday.phrasing import ask, data, filled, say
from umi_local.training.everyday.scene import Ask, Move, Planned, Scene
from umi_local.training.everyday.values import value


class Asked(BaseModel):
    """What is asked of a document and how it is answered: `q` and `a` are templates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: list[str]
    a: list[str]
    none: bool = False


class AskedSum(Asked):
    """A sum over numbers of the document; {r} in an answer is its result."""

    e: str


class AskedDate(Asked):
    """A date that lies some time after one of the document; {r} in an answer is that date."""

    start: str = Field(alias="from")
    add: dict[str, str]


class Document(BaseModel):
    """A document: where it may lie, the kinds of its values, its text, and what may be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: list[str]
    values: dict[str, str]
    text: str
    ask: list[Asked]
    sums: list[AskedSum] = []
    dates: list[AskedDate] = []


@cache
def all_documents() -> list[Document]:
    """The documents of the data file.

    Raises:
        ValidationError: the data file holds something else.
    """
    return TypeAdapter(list[Document]).validate_python(data("documents")["documents"])


def documents(scene: Scene) -> Ask:
    """A question that a document answers, alone or with a sum or a date counted on."""
    rng = scene.rng
    while True:
        document = rng.choice(all_documents())
        drawn = drawn_for(rng, document.values)
        path = re.sub(r"[^\w./-]+", "_", filled(rng.choice(document.paths), drawn)).lower()
        if scene.stem_is_free(path):
            break
    scene.add(path, filled(document.text.strip("\n"), drawn) + "\n")
    asked = rng.choice([*document.ask, *document.sums * 2, *document.dates * 2])
    named = mention(rng, path)
    query = ask(rng, asked.q, f=named, **drawn)

    def close(seen: Sequence[str]) -> str:
        return upper_first_word(say(rng, asked.a, f=path, r=_result(seen[-1]), **drawn), path)

    return Ask("documents", query, [reading(path), *_steps(asked, drawn)], close)


def drawn_for(rng: Random, kinds: Mapping[str, str]) -> dict[str, str]:
    """A value for each slot; those of one kind differ, so that none can be taken for another."""
    drawn: dict[str, str] = {}
    for name, kind in kinds.items():
        for _ in range(30):
            drawn[name] = value(rng, kind)
            if list(drawn.values()).count(drawn[name]) == 1:
                break
    return drawn


def _steps(asked: Asked, drawn: Mapping[str, str]) -> list[Planned]:
    """What follows the reading."""
    if isinstance(asked, AskedSum):
        return [sum_move(filled(asked.e, drawn))]
    if isinstance(asked, AskedDate):
        amount = {unit: int(filled(count, drawn)) for unit, count in asked.add.items()}
        return [Move("add_to_date", {"date": filled(asked.start, drawn), **amount})]
    return []


def _result(observation: str) -> str:
    return re.sub(r" \(\d{4}-\d\d-\d\d\)$", "", observation.rpartition(" = ")[2])
