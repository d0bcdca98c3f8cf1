"""Waiting for what takes long, as long as somebody waits for its result."""

from __future__ import annotations

import time
from concurrent.futures import Future
from contextlib import suppress
from threading import Event
from typing import TypeVar

from umi_local.toolbox.workspace import ToolError

LOOKS_EVERY = 0.1  # seconds
_T = TypeVar("_T")


class Stopped(ToolError):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__("The call was stopped.")


def waited_for(future: Future[_T], seconds: float, stop: Event | None) -> _T:
    """What a future gives.

    Raises:
        TimeoutError: it gave nothing in time.
        Stopped: `stop` was set before.
    """
    last = time.monotonic() + seconds
    while (left := last - time.monotonic()) > LOOKS_EVERY:
        with suppress(TimeoutError):
            return future.result(LOOKS_EVERY)
        if future.done():  # it ended with an error of this kind
            break
        if stop is not None and stop.is_set():
            raise Stopped
    return future.result(max(left, 0))
