"""Observations for recorded calls whose source holds none, so that a planner learns to go on from a result.

They say nothing that is true: no answer is made from them, and a caller never reads values out of them, since the
calls of such records do not need each other's results.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

from umi_local.messages import Observation, ToolCall
from umi_local.records import Record, with_trajectory
from umi_local.trajectory import Step

_WORDS = ("available", "confirmed", "ok", "medium", "standard", "active", "updated today", "none reported", "high")
_CONFIRMED = ("OK", "ok", "Success", "Completed successfully.", "The request was carried out.", '{"success": true}')
_NAMES = ("Aurora", "Beacon", "Cedar", "Delta", "Ember", "Falcon", "Garnet", "Harbour", "Iris", "Juniper")


def with_observations(record: Record) -> Record:
    """The record with a made result for each call that has none. Its last step stays without an answer."""
    chance = random.Random(f"observations {record.id}")
    steps = tuple(_observed(step, chance) for step in record.trajectory.steps)
    changed = with_trajectory(record, steps=steps)
    return replace(changed, meta={**record.meta, "independent": True}) if steps != record.trajectory.steps else record


def _observed(step: Step, chance: random.Random) -> Step:
    if not step.calls or any(observation.content for observation in step.observations):
        return step
    return replace(step, observations=tuple(Observation(_result(call, chance)) for call in step.calls))


def _result(call: ToolCall, chance: random.Random) -> str:
    """What a service might have sent: an object, a list or a sentence, in JSON or as Python prints it, or just `OK`."""
    thing = "_".join(words_of(call.name)[1:]) or "result"
    given = dict(list(call.arguments.items())[: chance.randint(0, 2)])
    match chance.randrange(8):
        case 0:
            found: Any = {"status": chance.choice(("success", "ok", "completed")), thing: _value(chance)}
        case 1:
            found = {**given, thing: _value(chance), "id": chance.randrange(100, 99_999)}
        case 2:
            found = {"data": {**given, "details": _value(chance), thing: {"value": _value(chance), "note": ""}}}
        case 3:
            names = chance.sample(_NAMES, chance.randint(2, 4))
            found = {"total": len(names), "results": [{"name": name, thing: _value(chance)} for name in names]}
        case 4:
            found = [{"id": number, "name": chance.choice(_NAMES), thing: _value(chance)} for number in (1, 2)]
        case 5 | 6:
            return chance.choice(_CONFIRMED)
        case _:
            return f"{thing.replace('_', ' ').capitalize()}: {_value(chance)}"
    return repr(found) if chance.random() < 0.3 else json.dumps(found, ensure_ascii=False)


def _value(chance: random.Random) -> Any:
    return chance.choice(
        (chance.randrange(1, 5_000), round(chance.uniform(0, 400), 2), chance.choice(_WORDS), chance.random() < 0.5)
    )


def words_of(name: str) -> list[str]:
    """The words of a tool's name: `getWarehouseCapacity` and `get_warehouse_capacity` have three."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]
