"""How many threads read and write fastest here and now: measured once per machine, model and load, and kept.

More threads are not always faster: llama.cpp's wait for one another by spinning, so beside a busy process the slowest
one sets the pace. Writing is bound by memory and reading by arithmetic, so each has a number of its own.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from umi_local import atomic

_READ, _WRITE = 32, 4  # tokens of a trial
_MOST_KEPT = 50


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads for writing token by token, and for reading many at once."""

    write: int
    read: int


# Reading and writing speed in tokens per second with so many threads.
Trial = Callable[[int], tuple[float, float]]


def tuned(file: Path, about: Mapping[str, object], cores: int, trial: Trial) -> Threads:
    """The numbers kept in `file` for this machine, model and load, or those that a trial finds fastest."""
    kept, key = _read(file), json.dumps({**about, **_machine(cores)}, sort_keys=True)
    with suppress(KeyError, TypeError):
        threads = Threads(**kept[key])
        if 1 <= threads.write <= cores and 1 <= threads.read <= cores:
            return threads
    threads = fastest(cores, trial)
    kept.pop(key, None)
    _write(file, dict([*kept.items(), (key, asdict(threads))][-_MOST_KEPT:]))
    return threads


def fastest(cores: int, trial: Trial) -> Threads:
    """Try 1, 2, 4, ... and all cores until neither speed grows any more."""
    counts = sorted({count for count in (1, 2, 4, 8, 16, 32, 64, 128) if count < cores} | {cores})
    best_read = best_write = (0.0, 1)
    for count in counts:
        read, write = trial(count)
        if read <= best_read[0] and write <= best_write[0]:
            break
        best_read, best_write = max(best_read, (read, count)), max(best_write, (write, count))
    return Threads(best_write[1], best_read[1])


def trial_of(speed: Callable[[int, int], tuple[float, float]], use: Callable[[int, int], None]) -> Trial:
    """A trial on a context: `use` sets its threads for writing and reading, `speed` reads and writes so many tokens."""

    def trial(count: int) -> tuple[float, float]:
        use(count, count)
        return speed(_READ, _WRITE)

    return trial


def _machine(cores: int) -> dict[str, object]:
    """What the numbers depend on beside the model: the processor, and how many cores others keep busy."""
    busy = 0
    if hasattr(os, "getloadavg"):
        busy = min(round(os.getloadavg()[0]), 2 * cores)
    return {"cores": cores, "processor": _processor(), "busy": busy}


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(file: Path) -> dict[str, dict[str, int]]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(file: Path, kept: Mapping[str, Mapping[str, int]]) -> None:
    """Two processes may write at once: one of them is forgotten, and measures again the next time."""
    with suppress(OSError):
        atomic.write(file, json.dumps(kept, indent=1).encode() + b"\n")
