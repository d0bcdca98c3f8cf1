"""How a download is shown on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from umi_local.plain import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from umi_local.pull import OnProgress, Progress, Stage

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.1


@contextmanager
def download_progress(redraws: bool = True) -> Iterator[OnProgress]:
    """What to give to `pull` and `verify` as `on_progress`; good for several files, one after the other."""
    from rich.console import Console

    console = Console(stderr=True)
    if not redraws or not console.is_interactive:
        yield _Lines()
        return
    with _bars(console) as bars:
        yield _Bar(bars)


class _Lines:
    """Nothing for what is quick; of the rest a line every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_SECONDS
        percent = 100 * progress.done // max(1, progress.total)
        amount = f"{progress.done / 1e6:,.0f} of {progress.total / 1e6:,.0f} MB ({percent} %)"
        print(f"{_words(progress)}: {amount}", file=sys.stderr, flush=True)


class _Bar:
    """One bar for the file and stage at hand."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._shown: tuple[str, Stage] | None = None
        self._task: TaskID | None = None
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if (progress.filename, progress.stage) != self._shown:
            self._begin(progress)
        elif self._task is not None and (now >= self._next or progress.done == progress.total):
            self._bars.update(self._task, completed=progress.done)
            self._next = now + _BAR_SECONDS

    def _begin(self, progress: Progress) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._shown = (progress.filename, progress.stage)
        self._task = self._bars.add_task(_words(progress), total=progress.total, completed=progress.done)


def _words(progress: Progress) -> str:
    what = "waiting for another umi-local to fetch" if progress.stage == "waiting" else progress.stage
    return f"{what} {printable(progress.filename)}"


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    # The name gives way where a terminal is narrow; numbers that wrap would make the bar jump.
    name = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    numbers = [kind(table_column=Column(no_wrap=True)) for kind in (DownloadColumn, TransferSpeedColumn)]
    left = TimeRemainingColumn(table_column=Column(no_wrap=True))
    return Bars(name, BarColumn(bar_width=16), *numbers, left, console=console, transient=True, expand=True)


@contextmanager
def steps_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, or a line every few seconds, for work that tells how much of how much is done."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive:
        yield _step_lines(what)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task(printable(what), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _step_lines(what: str) -> Callable[[int, int], None]:
    due = time.monotonic() + _LINE_SECONDS

    def step(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            print(f"{printable(what)}: {100 * done // max(1, total)} %", file=sys.stderr, flush=True)

    return step
