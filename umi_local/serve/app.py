"""The HTTP side: who may ask, how much, and answers whole or as they are written."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from umi_local.errors import UmiError
from umi_local.events import Event, RunEnded, TextWritten
from umi_local.messages import Role
from umi_local.serve.engine import Busy, Engine
from umi_local.serve.wire import MODEL, Answer, BadRequest, Request, content, failure, problem, request_of
from umi_local.stats import Stats
from umi_local.trajectory import Trajectory

_WORDLESS = problem("server_error", "The run ended without a word.")
_LOOK = 0.2  # seconds between two looks whether a client is still there


@dataclass(frozen=True, slots=True)
class Limits:
    """Who may ask and how much. Without a `token` only this computer may, and no web page that it shows."""

    token: str = ""
    body_bytes: int = 1_000_000


def application(engine: Engine, limits: Limits) -> Starlette:
    """An ASGI application with /v1/chat/completions, /v1/models and /health."""

    async def complete(http: HttpRequest) -> Response:
        refused = _refusal(http, limits)
        if refused:
            return refused
        try:
            asked = request_of(await _body(http, limits.body_bytes))
        except BadRequest as error:
            return JSONResponse(problem("invalid_request_error", str(error)), 400)
        except ClientDisconnect:
            return Response(status_code=499)
        place = engine.place()
        try:
            await place.__aenter__()
        except Busy:
            told = problem("rate_limit_error", "Too many requests are waiting; try again later.")
            return JSONResponse(told, 429, {"Retry-After": "5"})
        if asked.stream:
            return _Streaming(_streamed(engine, asked), place)
        try:
            return await _whole(engine, asked, http)
        finally:
            await place.__aexit__(None, None, None)

    async def models(http: HttpRequest) -> Response:
        listed = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "local"}]
        return _refusal(http, limits) or JSONResponse({"object": "list", "data": listed})

    async def health(_: HttpRequest) -> Response:
        return JSONResponse({"status": "ok", "requests": engine.present})

    routes = [
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ]
    return Starlette(routes=routes)


async def _whole(engine: Engine, asked: Request, http: HttpRequest) -> Response:
    answering = asyncio.create_task(_answered(engine, asked))
    while not answering.done():
        await asyncio.wait([answering], timeout=_LOOK)
        if not answering.done() and await http.is_disconnected():
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            return Response(status_code=499)
    return answering.result()


async def _answered(engine: Engine, asked: Request) -> Response:
    stats, run = Stats(), None
    async with aclosing(engine.events(asked.query, asked.history)) as events:
        async for event in events:
            if isinstance(event, UmiError):
                return JSONResponse(*failure(event))
            stats(event)
            run = event.trajectory if isinstance(event, RunEnded) else run
    if run is None:
        return JSONResponse(_WORDLESS, 500)
    return JSONResponse(Answer().whole(run, stats))


async def _streamed(engine: Engine, asked: Request) -> AsyncGenerator[bytes, None]:
    """Server-sent events: the steps as reasoning, then the answer, then why it ended."""
    answer, stats, run = Answer(), Stats(), None
    written, told = "", False
    yield _line(answer.chunk({"role": "assistant", "content": ""}))
    async with aclosing(engine.events(asked.query, asked.history)) as events:
        async for event in events:
            if isinstance(event, UmiError):
                told = True
                yield _line(failure(event)[0])
                break
            stats(event)
            if isinstance(event, RunEnded):
                run = event.trajectory
            delta = _delta(event)
            if delta:
                written += delta.get("content", "")
                yield _line(answer.chunk(delta))
    if run is None and not told:
        yield _line(_WORDLESS)
    if run is not None:
        for chunk in _ending(answer, run, written):
            yield _line(chunk)
        if (asked.stream_options or {}).get("include_usage"):
            yield _line(answer.cost(stats))
    yield b"data: [DONE]\n\n"


def _delta(event: Event) -> dict[str, str]:
    match event:
        case TextWritten(Role.SUMMARIZER, text):
            return {"content": text}
        case TextWritten(_, text):
            return {"reasoning_content": text}  # where clients look for what came before an answer
    return {}


def _ending(answer: Answer, run: Trajectory, written: str) -> list[dict[str, Any]]:
    """The last chunks: an answer that no summarizer wrote (one model in all roles), and why it ended."""
    left = [] if written else [answer.chunk({"content": content(run)})]
    return [*left, answer.chunk({}, run)]


class _Streaming(StreamingResponse):
    """Server-sent events that give the place in the queue back however they end, also if they never begin."""

    def __init__(self, body: AsyncGenerator[bytes, None], place: AbstractAsyncContextManager[None]) -> None:
        super().__init__(body, media_type="text/event-stream")
        self._body, self._place = body, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._body.aclose()
            await self._place.__aexit__(None, None, None)


async def _body(http: HttpRequest, most: int) -> bytes:
    body = b""
    async for chunk in http.stream():
        body += chunk
        if len(body) > most:
            raise BadRequest(f"The body has more than {most:,} bytes.")
    return body


def _refusal(http: HttpRequest, limits: Limits) -> Response | None:
    """Why this client is not answered."""
    if limits.token:
        given = http.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, limits.token.encode()):
            return JSONResponse(problem("authentication_error", "The token is missing or wrong."), 401)
        return None
    host = re.sub(r":\d+$", "", http.headers.get("host", ""))
    # A page in the user's browser may send requests here, by this address or by a name that was turned to it.
    if "origin" in http.headers:
        return JSONResponse(problem("authentication_error", "Web pages are not answered without a token."), 403)
    if not is_loopback(host.strip("[]")):
        told = f"{host[:80]} is not this computer's own address; by others it answers only with a token."
        return JSONResponse(problem("authentication_error", told), 403)
    return None


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is one that only programs on this computer can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(event: Any) -> bytes:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
