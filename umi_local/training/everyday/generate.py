"""The records of a seed, one after the other."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType

from pydantic import TypeAdapter

from umi_local.errors import ConfigError
from umi_local.records import Record
from umi_local.training.everyday import families as known
from umi_local.training.everyday.phrasing import data
from umi_local.training.everyday.scene import Scene
from umi_local.training.everyday.turns import converse

_PLAIN = "everyday"
_AT_A_TIME = 64
_WORKERS = 3  # most of a record's time is spent waiting for a child process


def generate(
    count: int,
    seed: int,
    partial: float = 0.2,
    families: Mapping[str, float] = MappingProxyType({}),
    name: str = _PLAIN,
) -> Iterator[Record]:
    """That many records; each depends on the seed, the shares, the name of their part and its own number alone.

    A share of `partial` of them lists only some of the tools. `families` says what is drawn more or less often than
    by itself (in percent, as `shares.toml` has it).

    Raises:
        ConfigError: at the first record, if one of them is not known.
    """
    if unknown := families.keys() - shares().keys():
        raise ConfigError(
            f"There is no family {sorted(unknown)[0]!r} of everyday runs.", f"They are: {', '.join(shares())}."
        )
    record_of = functools.partial(record, seed, partial=partial, families=families, name=name)
    with ThreadPoolExecutor(_WORKERS) as pool:
        for start in range(0, count, _AT_A_TIME):
            yield from pool.map(record_of, range(start, min(count, start + _AT_A_TIME)))


@cache
def shares() -> Mapping[str, float]:
    """How often each family is drawn."""
    found = TypeAdapter(dict[str, float]).validate_python(data("shares")["families"])
    return {name: share for name, share in found.items() if name in known.FAMILIES}


def record(
    seed: int,
    number: int,
    partial: float = 0.2,
    families: Mapping[str, float] = MappingProxyType({}),
    name: str = _PLAIN,
) -> Record:
    """One record: a scene, a request in it, and the real tools' answers."""
    # A second part of a recipe gets others; the first has those that it had before there could be a second.
    rng = Random(f"{seed}/{number}" if name == _PLAIN else f"{seed}/{name}/{number}")
    drawn = {**shares(), **families}
    family = rng.choices(list(drawn), list(drawn.values()))[0]
    with tempfile.TemporaryDirectory(prefix="umi-everyday-") as folder:
        scene = Scene(rng, Path(folder), partial=partial)
        request, trajectory = converse(scene, family)
    meta = {"kind": family} if request.untaught is None else {"kind": family, "untaught": request.untaught}
    return Record(f"{name}-{seed}-{number}", "everyday", trajectory, meta)
