"""A part of a suite that is like the whole: the same share of every stratum, drawn with a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from umi_local.evaluation.suite import Item


def stratified(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """At most `limit` of the items, in their own order; all of them without a limit.

    Each stratum gives its share, rounded by largest remainder; which of its items is drawn depends on the seed, the
    stratum and the items' ids alone.
    """
    if limit is None or limit >= len(items):
        return list(items)
    strata: dict[str, list[Item]] = {}
    for item in items:
        strata.setdefault(item.stratum, []).append(item)
    chosen: set[str] = set()
    for name, size in _shares({name: len(group) for name, group in strata.items()}, limit).items():
        group = sorted(strata[name], key=lambda item: item.id)
        random.Random(f"{seed}/{name}").shuffle(group)
        chosen |= {item.id for item in group[:size]}
    return [item for item in items if item.id in chosen]


def _shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    exact = {name: limit * size / sum(sizes.values()) for name, size in sizes.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_rest = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in by_rest[: limit - sum(shares.values())]:
        shares[name] += 1
    return shares
