"""How sure a figure is: 95 % intervals from resampling whole items, alone or paired between two contestants.

Steps of one conversation are alike, so the conversation is drawn as a whole. Two contestants are compared on the same
draws, which leaves what makes an item hard out of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from umi_local.evaluation.suite import Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
_SEED = 20240115
_BLOCK = 500

Interval = tuple[float, float]


def intervals(tallies: Sequence[Tally], names: Sequence[str]) -> dict[str, Interval]:
    """The interval of each metric's mean (a share of 1, not percent); metrics that count nothing are left out."""
    if not tallies:
        return {}
    return _percentiles(names, (_means(draw, tallies, names) for draw in _draws(len(tallies))))


def paired_intervals(first: Sequence[Tally], second: Sequence[Tally], names: Sequence[str]) -> dict[str, Interval]:
    """The interval of each metric's difference, second minus first; the tallies are of the same items in order."""
    if not first:
        return {}
    return _percentiles(
        names, (_means(draw, second, names) - _means(draw, first, names) for draw in _draws(len(first)))
    )


def _draws(n: int) -> Iterator[NDArray[np.float64]]:
    """How often each item is drawn: rows of resamples, in blocks that stay small in memory."""
    import numpy as np

    generator = np.random.default_rng(_SEED)
    for _ in range(RESAMPLES // _BLOCK):
        yield generator.multinomial(n, np.full(n, 1 / n), size=_BLOCK).astype(np.float64)


def _means(draw: NDArray[np.float64], tallies: Sequence[Tally], names: Sequence[str]) -> NDArray[np.float64]:
    """Resamples by metrics; NaN where a resample scored no unit."""
    import numpy as np

    pairs = np.array([[tally.get(name, (0.0, 0.0)) for name in names] for tally in tallies], dtype=np.float64)
    sums, counts = draw @ pairs[:, :, 0], draw @ pairs[:, :, 1]
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _percentiles(names: Sequence[str], blocks: Iterator[NDArray[np.float64]]) -> dict[str, Interval]:
    import numpy as np

    values = np.concatenate(list(blocks))
    found = {}
    for column, name in enumerate(names):
        known = values[:, column][~np.isnan(values[:, column])]
        if known.size:
            low, high = np.percentile(known, [2.5, 97.5])
            found[name] = (float(low), float(high))
    return found
