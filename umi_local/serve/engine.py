"""One agent for all requests: a turn each, in the order in which they came, and no more waiting than was allowed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from umi_local.errors import UmiError
from umi_local.events import Event
from umi_local.messages import Message
from umi_local.protocols import Emit
from umi_local.trajectory import Trajectory


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
        """What happens in a run, and last its error if it failed. Leaving early stops the run."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            happened: asyncio.Queue[Event | UmiError | None] = asyncio.Queue()

            def tell(what: Event | UmiError | None) -> None:
                loop.call_soon_threadsafe(happened.put_nowait, what)

            def work() -> None:
                try:
                    self._runner.run(query, history, tell)
                except UmiError as error:
                    tell(error)
                finally:
                    tell(None)

            thread = threading.Thread(target=work, daemon=True)
            late = loop.call_later(self._seconds, self._runner.cancel)
            thread.start()
            try:
                while (event := await happened.get()) is not None:
                    yield event
            finally:
                late.cancel()
                if thread.is_alive():
                    self._runner.cancel()
                    # The next request must not meet a run that is still ending.
                    await asyncio.shield(asyncio.to_thread(thread.join))
