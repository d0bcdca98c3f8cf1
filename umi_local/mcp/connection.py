"""One MCP server at work: started when it is first needed, called under a time limit, begun anew after it has died."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from umi_local.errors import ConfigError
from umi_local.mcp.servers import Server, followed, resolved
from umi_local.toolbox import Stopped, ToolError, waited_for

if TYPE_CHECKING:
    from mcp import Client

# The SDK logs what a server does wrong with tracebacks; what a person needs of it is in our own errors.
logging.getLogger("mcp").addHandler(logging.NullHandler())

_START_SECONDS = 20.0
_LARGEST_RESULT = 200_000  # characters
_MOST_TOOLS = 500


class Connection:
    """Speaks with a server from a thread of its own, in which the SDK's event loop runs.

    Every method raises ToolError, with a sentence for the planner, when the server cannot be started, does not answer
    in time or has died; the next call starts it again. Stopped, where `stop` is set before that.
    """

    def __init__(self, name: str, server: Server) -> None:
        self._name, self._server = name, server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._end: Callable[[], object] | None = None  # ends the session from within its loop
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()

    def tools(self, stop: threading.Event | None = None) -> list[dict[str, Any]]:
        """Every tool's `name`, `description` and `parameters`, as the server describes them now."""
        with self._turn:
            client = self._running(stop)
            return list(self._wait(self._list(client), _START_SECONDS, stop))

    def call(self, tool: str, arguments: Mapping[str, Any], stop: threading.Event | None = None) -> str:
        """The text of a tool's result. A result that is an error, too, raises ToolError, with the server's words."""
        with self._turn:
            client = self._running(stop)
            result = self._wait(client.call_tool(tool, dict(arguments)), self._server.timeout, stop)
        text = _text(result.content)
        if result.is_error:
            raise ToolError(text or f"{tool} failed and did not say why.")
        return text

    def close(self) -> None:
        """End the server; one that was reached by its address is only left."""
        loop, end, thread = self._loop, self._end, self._thread
        self._loop = self._client = self._end = self._thread = None
        if loop and end and thread:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(end)
            thread.join(5)

    def _running(self, stop: threading.Event | None) -> Client:
        if self._client is not None and self._thread is not None and self._thread.is_alive():
            return self._client
        self.close()
        ready: Future[Client] = Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        try:
            self._client = waited_for(ready, _START_SECONDS, stop)
        except Stopped:
            self.close()
            raise
        except FutureTimeout:
            self.close()
            raise ToolError(f"The MCP server {self._name} did not start within {_START_SECONDS:g} seconds.") from None
        except ConfigError as error:
            raise ToolError(str(error)) from None
        except ModuleNotFoundError as error:
            raise ToolError(
                f"MCP servers need more than is installed ({error.name} is missing). Run: pip install 'umi-local[mcp]'"
            ) from None
        except Exception as error:  # whatever the SDK and the server make of a start
            raise ToolError(f"The MCP server {self._name} cannot be used: {_told(error)}.") from None
        return self._client

    def _serve(self, ready: Future[Client]) -> None:
        try:
            asyncio.run(self._session(ready))
        except BaseException as error:  # handed to whoever waits; nobody else hears of it
            if not ready.done():
                ready.set_exception(error)

    async def _session(self, ready: Future[Client]) -> None:
        import os

        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        stop, starting = asyncio.Event(), asyncio.current_task()
        assert starting is not None
        if self._given_up:
            return
        self._loop, self._end = asyncio.get_running_loop(), starting.cancel  # a start may never come to its end
        server = self._server
        with open(os.devnull, "w") as silent:  # noqa: PTH123 - what servers log is not for our terminal
            if server.command:
                parameters = StdioServerParameters(
                    command=server.command,
                    args=[followed(arg) for arg in server.args],
                    env=resolved(server.env),
                    cwd=server.cwd,
                )
                transport: Any = stdio_client(parameters, errlog=silent)
            else:
                http = create_mcp_http_client(headers=resolved(server.headers))
                transport = streamable_http_client(followed(server.url), http_client=http)
            async with Client(transport, read_timeout_seconds=server.timeout) as client:
                if self._given_up:
                    return
                self._end = stop.set
                ready.set_result(client)
                await stop.wait()

    @property
    def _given_up(self) -> bool:
        """Whether nobody waits for this thread's session any more: it took too long to start."""
        return self._thread is not threading.current_thread()

    async def _list(self, client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                told = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
                found.append(told)
            cursor = page.next_cursor
            if not cursor or len(found) > _MOST_TOOLS:
                return found[:_MOST_TOOLS]

    def _wait(self, work: Any, seconds: float, stop: threading.Event | None = None) -> Any:
        assert self._loop is not None
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waited_for(waiting, seconds, stop)
        except Stopped:  # the server lives on
            waiting.cancel()
            raise
        except FutureTimeout:
            waiting.cancel()
            self.close()
            raise ToolError(f"The MCP server {self._name} did not answer within {seconds:g} seconds.") from None
        except Exception as error:  # a server may answer with anything, or die
            if _lives_on(error):
                raise ToolError(f"The MCP server {self._name} refused: {_told(error)}.") from None
            self.close()
            raise ToolError(f"The MCP server {self._name} failed: {_told(error)}.") from None


def _text(content: Sequence[Any]) -> str:
    """The parts of a result that are text; others are named."""
    parts = [part.text if part.type == "text" else f"[{part.type} left out]" for part in content]
    text = "\n".join(parts)
    return text if len(text) <= _LARGEST_RESULT else f"{text[:_LARGEST_RESULT]}\n[cut]"


def _lives_on(error: Exception) -> bool:
    """Whether it is a server's own word, such as on arguments that it does not take, and not that of the SDK on a
    connection that is of no more use."""
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, REQUEST_TIMEOUT

    lost = (CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, REQUEST_TIMEOUT)
    return isinstance(error, MCPError) and error.code not in lost


def _told(error: BaseException) -> str:
    """The innermost reason, in one line: the SDK wraps what happens in groups of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
