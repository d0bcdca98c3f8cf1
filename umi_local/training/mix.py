"""The records of a recipe: drawn from its files or made, varied, and given rationales."""

from __future__ import annotations

import gzip
import json
import random
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from umi_local.errors import UsageError
from umi_local.messages import ToolSpec
from umi_local.records import Fault, Record, read_records
from umi_local.sessions import SessionStore
from umi_local.training.everyday import generate
from umi_local.training.inventing import with_observations
from umi_local.training.joining import stands_alone, with_joined
from umi_local.training.recipe import Part, Recipe
from umi_local.training.thoughts import with_spoken_thoughts, with_thoughts
from umi_local.training.variation import Shares, Varier
from umi_local.trajectory import StopReason

_VARIANTS = "sgd_x_variants.json.gz"  # beside the records


def mixed(recipe: Recipe, data: Path | None, faults: list[Fault]) -> Iterator[tuple[str, Record]]:
    """Every record of the recipe with the name of its part.

    Raises:
        UsageError: at once, if a part needs a file and there is no data folder, or no such file in it.
    """
    files = {name: _file(name, part, data) for name, part in recipe.parts.items() if part.file}
    return (
        (name, record)
        for name, part in recipe.parts.items()
        for record in _of_part(name, part, recipe.seed, files.get(name), faults)
    )


def _file(name: str, part: Part, data: Path | None) -> Path:
    if data is None:
        raise UsageError(f"The part {name} of the recipe is read from {part.file}.", "Name its folder with --data DIR.")
    path = data / part.file
    if path.resolve().is_relative_to((data / "eval").resolve()):
        raise UsageError(
            f"The part {name} names {part.file}, which is for measuring.", "Train on files of train/ only."
        )
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Name the folder that has train/ in it with --data DIR.")
    return path


def own_runs(store: SessionStore) -> Iterator[tuple[str, Record]]:
    """The user's stored runs that came to an end of their own. To ask for their consent is the caller's part."""
    for session in store.list(limit=sys.maxsize):
        for number, run in enumerate(store.trajectories(session.id)):
            if run.stop in (StopReason.ANSWERED, StopReason.GAVE_UP):
                yield "sessions", Record(f"session-{session.id}-{number}", "sessions", run)


def _of_part(name: str, part: Part, seed: int, path: Path | None, faults: list[Fault]) -> Iterator[Record]:
    if path is None:
        yield from generate(part.count, seed, part.partial, part.families, name)
        return
    broken: list[Fault] = []
    records = list(read_records(path, broken))
    told = set(faults)  # another part may be of the same file
    faults += [fault for fault in broken if fault not in told]
    records = records[: max(0, len(records) - part.hold_back)]
    if part.observed:
        records = [with_observations(record) for record in records]
    records = [record for record in records if _wanted(part, record)]
    if len(records) < part.count:
        lines = f" ({len(broken)} of its lines cannot be read; {broken[0]})" if broken else ""
        raise UsageError(
            f"The part {name} asks for {part.count} records, and {path} has {len(records)} of that kind{lines}.",
            "Mend the file, or lower the part's count in the recipe." if broken else "Lower its count in the recipe.",
        )
    random.Random(f"{seed} {name}").shuffle(records)
    changed = (part.rename, part.mask, part.impossible, part.failing, part.detour, part.fewer)
    shares = Shares(*changed, part.distractors)
    varier = Varier(shares, _pool(records), _variants(path.with_name(_VARIANTS)) if part.rename else {}, name)
    for record in with_joined(records[: part.count], records[part.count :] or records, part.joined, name):
        thoughtful = with_thoughts(varier.vary(record))
        spoken = random.Random(f"spoken {name} {record.id}").random() < part.spoken
        yield with_spoken_thoughts(thoughtful) if spoken else thoughtful


def _wanted(part: Part, record: Record) -> bool:
    calls = len(record.calls)
    return not ((part.calls and not calls) or (part.several and calls < 2) or (part.alone and not stands_alone(record)))


def _pool(records: list[Record]) -> list[ToolSpec]:
    """Each tool of the records once, by name."""
    tools = {tool.name: tool for record in records for tool in record.trajectory.tools}
    return [tools[name] for name in sorted(tools)]


def _variants(path: Path) -> Mapping[str, Any]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            variants: Mapping[str, Any] = json.load(file)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"The other names in {path} cannot be read: {error}.") from None
    return variants
