"""One agent for all requests: a turn each, in the order in which they came, and no more waiting than was allowed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from umi_local.errors import UmiError
from umi_local.events import Event
from umi_local.messages import Message
from umi_local.protocols import Emit
from umi_local.trajectory import Trajectory

_AGAIN_SECONDS = 0.5  # between two tries to stop a run that was perhaps not under way at the first


class Busy(Exception):
    """More requests are waiting than the queue has room for."""


class Runner(Protocol):
    """Answers a question. Called from one thread at a time; `cancel` comes from another."""

    def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory: ...

    def cancel(self) -> None: ...


class Engine:
    """Gives each request its turn with the agent.

    Args:
        runner: what answers.
        waiting: how many requests may wait while one is answered.
        seconds: how long one may take before it is stopped.
    """

    def __init__(self, runner: Runner, waiting: int, seconds: float) -> None:
        self._runner, self._waiting, self._seconds = runner, waiting, seconds
        self._turn = asyncio.Lock()
        self._present = 0

    @property
    def present(self) -> int:
        """Requests that are answered or wait."""
        return self._present

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the queue, given back at the end. Raises Busy at once where there is none."""
        if self._present > self._waiting:
            raise Busy
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    async def events(self, query: str, history: Sequence[Message]) -> AsyncGenerator[Event | UmiError, None]:
        """What happens in a run, and last its error if it failed. Leaving early stops the run.

        The turn belongs to the thread of the run and ends with it, not with who waits for it: a web framework may
        cancel a request again and again, and the next one must not meet a run that is still ending.
        """
        await self._turn.acquire()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        happened: asyncio.Queue[Event | UmiError | None] = asyncio.Queue()

        def tell(what: Event | UmiError | None) -> None:
            with suppress(RuntimeError):  # the server is gone
                loop.call_soon_threadsafe(happened.put_nowait, what)

        def end() -> None:
            ended.set()
            self._turn.release()

        def stop() -> None:
            if not ended.is_set():  # else it would be the next run that stops
                self._runner.cancel()
                loop.call_later(_AGAIN_SECONDS, stop)

        def work() -> None:
            try:
                self._runner.run(query, history, tell)
            except UmiError as error:
                tell(error)
            finally:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(end)
                tell(None)

        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError:  # no thread can be had
            self._turn.release()
            raise
        late = loop.call_later(self._seconds, stop)
        try:
            while (event := await happened.get()) is not None:
                yield event
        finally:
            late.cancel()
            stop()
