"""Requests that can be stopped while a server sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any


class Stopped(Exception):
    """`cancel` came before all of an answer."""


class Failed(Exception):
    """A request failed, with the error of whatever package."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Requests:
    """Each is made in a thread that may be left behind: nothing wakes it while the server sends nothing."""

    def __init__(self) -> None:
        self._going_on: set[_Request] = set()

    def sent(self, request: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """What a request brings, piece by piece.

        Raises:
            Failed: the request did.
            Stopped: `cancel` came first.
        """
        going_on = _Request()
        self._going_on.add(going_on)
        threading.Thread(target=self._read, args=(request, going_on), daemon=True).start()
        try:
            while (piece := going_on.pieces.get()) is not None and not going_on.cancelled:
                if isinstance(piece, Exception):
                    raise Failed(piece)
                yield piece
        finally:
            self._going_on.discard(going_on)
        if going_on.cancelled:
            raise Stopped

    def cancel(self) -> None:
        """Stop every request at once; its server hears of it when it next sends something."""
        for going_on in list(self._going_on):
            going_on.cancelled = True
            going_on.pieces.put(None)

    def _read(self, request: Callable[[], Iterable[Any]], going_on: _Request) -> None:
        """Hand on what a request brings, then None or what went wrong."""
        try:
            for piece in request():
                if going_on not in self._going_on:  # nobody reads it any more
                    return
                going_on.pieces.put(piece)
            going_on.pieces.put(None)
        except Exception as error:  # a connection that breaks shows as any of several packages' errors
            going_on.pieces.put(error)


@dataclass(eq=False)
class _Request:
    """A request that is going on, with what its server has sent: pieces, then None or an error."""

    pieces: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    cancelled: bool = False
