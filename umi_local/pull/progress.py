"""How far a pull has got, as a value that any front end can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """`WAITING` is for another process that fetches the same file."""

    WAITING = "waiting"
    FETCHING = "fetching"
    CHECKING = "checking"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes in this stage. `done` goes back only when a source turned out wrong."""

    filename: str
    stage: Stage
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """For callers that show nothing."""
