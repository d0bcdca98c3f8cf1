"""Requests for convert_units."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from pydantic import BaseModel, ConfigDict, TypeAdapter

from umi_local.training.everyday.phrasing import ask, data, lines_of, say
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.values import pick


class Dimension(BaseModel):
    """Units that convert into each other, each with the ways to say it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: list[str]
    range: str

    @property
    def spoken(self) -> list[list[str]]:
        """The ways to say each unit."""
        return [unit.split(", ") for unit in self.units]


@cache
def dimensions() -> dict[str, Dimension]:
    """What can be measured, by name."""
    found = {name: content for name, content in data("units").items() if name != "any"}
    return TypeAdapter(dict[str, Dimension]).validate_python(found)


def convert_units(scene: Scene) -> Ask:
    """A value in another unit."""
    rng = scene.rng
    weights = [4, 4, 3, 4, 2, 2, 2, 2, 1, 1, 1]
    name = rng.choices(list(dimensions()), weights)[0]
    source, target = measure_pair(rng, name)
    value = measured(rng, name)
    return conversion(
        rng,
        value,
        source,
        target,
        ask(rng, lines_of("units", "any")["queries"], v=value, s=source, t=target, first=pick(rng, "first")),
    )


def conversion(rng: Random, value: str, source: str, target: str, query: str) -> Ask:
    """The request with its one step and its answer."""

    def close(seen: Sequence[str]) -> str:
        result = converted_number(seen[-1], target)
        return say(rng, lines_of("units", "any")["answers"], v=value, s=source, t=target, r=result)

    facts = {"value": value, "source": source, "target": target}
    return Ask("convert_units", query, [conversion_move(value, source, target)], close, facts=facts)


def conversion_move(value: str, source: str, target: str) -> Move:
    """The step that converts."""
    return Move("convert_units", {"value": number(value), "source": source, "target": target})


def converted_number(observation: str, target: str) -> str:
    """The number after the equals sign of an observation."""
    return observation.rpartition(" = ")[2].removesuffix(target).strip()


def number(text: str) -> int | float:
    """A written number as a JSON number, whole where it is."""
    value = float(text.replace(",", ""))
    return int(value) if value == int(value) else value


def measure_pair(rng: Random, name: str) -> tuple[str, str]:
    """Two different units of a dimension, in some way of saying them."""
    one, other = rng.sample(dimensions()[name].spoken, 2)
    return rng.choice(one), rng.choice(other)


def measured(rng: Random, name: str) -> str:
    """A value that is asked about."""
    low, high = (int(bound) for bound in dimensions()[name].range.split())
    roll = rng.random()
    if roll < 0.45:
        return str(rng.randint(low, high))
    if roll < 0.65:
        return str(rng.randint(low, min(high, 20)))
    if roll < 0.75:
        return str(rng.randint(low, high) * 10)
    return f"{rng.uniform(low, high / rng.choice((1, 4, 10))):.{rng.choice((1, 1, 2))}f}".removesuffix(".0")
