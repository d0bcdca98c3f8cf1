"""Measuring a contestant on a suite, item by item."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from umi_local.evaluation.meter import Meter
from umi_local.evaluation.report import Report, report_of
from umi_local.evaluation.sample import stratified
from umi_local.evaluation.store import Result, Store
from umi_local.evaluation.suite import Contestant, Item, Suite


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `seconds_left` is None until the first item of this run is done."""

    done: int
    items: int
    seconds_left: float | None


def measure(
    suite: Suite,
    contestant: Contestant,
    store: Store | None = None,
    limit: int | None = None,
    seed: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    meter: Meter | None = None,
    jobs: int = 1,
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """Measure a contestant and the suite's trivial baselines on the same items.

    Args:
        store: where finished items are kept and found again; without one they are lost if the run breaks off.
        limit: at most so many items, a sample stratified with `seed`.
        meter: hears the contestant's events; without one only the time is known.
        jobs: items at a time. More than one needs a contestant that may be used from several threads.

    Raises:
        UmiError: whatever the contestant's backend raises; finished items are kept in the store.
    """
    items = stratified(suite.items(), limit, seed)
    results = predict(suite, items, contestant, store, on_progress, meter or Meter(), jobs)
    facts = {"limit": limit, "sample_seed": seed, **(provenance or {})}
    return report_of(suite, items, results, facts)


def predict(
    suite: Suite,
    items: Sequence[Item],
    contestant: Contestant,
    store: Store | None,
    on_progress: Callable[[Progress], None],
    meter: Meter,
    jobs: int,
) -> list[Result]:
    """The results of the items, in their order; those in the store are not predicted again."""
    finished = dict(store.finished) if store else {}
    todo = [item for item in items if item.id not in finished]
    before = len(items) - len(todo)
    on_progress(Progress(before, len(items), None))
    started = time.monotonic()
    for count, result in enumerate(_results(suite, todo, contestant, meter, jobs), 1):
        finished[result.id] = result
        if store:
            store.add(result)
        left = (time.monotonic() - started) / count * (len(todo) - count)
        on_progress(Progress(before + count, len(items), left))
    return [finished[item.id] for item in items]


def _results(suite: Suite, items: Sequence[Item], contestant: Contestant, meter: Meter, jobs: int) -> Iterator[Result]:
    def one(item: Item) -> Result:
        meter.start()
        prediction = suite.predict(item, contestant)
        return Result(item.id, prediction, meter.stop())

    if jobs <= 1:
        yield from map(one, items)
        return
    given: set[Future[Result]] = set()
    failure: BaseException | None = None
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one, item) for item in items]
        try:
            for future in as_completed(futures):
                if failure := future.exception():
                    break
                given.add(future)
                yield future.result()
        except KeyboardInterrupt as interrupt:
            failure = interrupt
        finally:
            # After a failure nothing new is begun; what is under way is waited for and kept.
            pool.shutdown(cancel_futures=True)
    if failure:
        ended = (future for future in futures if future not in given and not future.cancelled())
        yield from (future.result() for future in ended if not future.exception())
        raise failure
