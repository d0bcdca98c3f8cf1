"""The agent as a server: answers, streaming, the queue, clients that leave, and who may ask."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn

from umi_local.errors import ContextFull, ModelFailed
from umi_local.events import RunEnded, TextWritten, TurnEnded
from umi_local.messages import Message, Role, Speaker, Usage
from umi_local.protocols import Emit
from umi_local.serve import Engine, Limits, application
from umi_local.trajectory import StopReason, Trajectory


class Echo:
    """Answers with the question and what was said before it, slowly and word by word; stops when it is told to."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.cancelled: list[str] = []
        self.at_work = 0
        self.most_at_work = 0
        self.delay = 0.02

    def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.stop.clear()
        try:
            if query == "fail":
                raise ModelFailed("The model's process ended.", "Ask again.")
            if query == "break":
                raise ValueError(query)
            if query == "too much":
                raise ContextFull("The conversation has 9,000 tokens and the context 8,192.", "Start a new session.")
            if query == "give up":
                run = Trajectory(query, stop=StopReason.GAVE_UP)
                emit(RunEnded(run))
                return run
            emit(TextWritten(Role.PLANNER, "Say it back."))
            words = [*(message.text for message in history), *query.split()]
            for word in words:
                if self.stop.wait(self.delay):
                    self.cancelled.append(query)
                    run = Trajectory(query, stop=StopReason.CANCELLED)
                    emit(RunEnded(run))
                    return run
                emit(TextWritten(Role.SUMMARIZER, f"{word} "))
            emit(TurnEnded(Role.SUMMARIZER, 0, "", Usage(evaluated=10, sampled=4)))
            run = Trajectory(query, answer=" ".join(words), stop=StopReason.ANSWERED)
            emit(RunEnded(run))
            return run
        finally:
            self.at_work -= 1

    def cancel(self) -> None:
        self.stop.set()


class Served:
    """A real server on a free port."""

    def __init__(self, queue: int = 2, seconds: float = 30, token: str = "") -> None:
        self.echo = Echo()
        app = application(Engine(self.echo, queue, seconds), Limits(token, 10_000))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def ask(self, *said: str, **more: object) -> httpx.Response:
        roles = ["user", "assistant"]
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
        return self.client.post("/v1/chat/completions", json={"messages": messages, **more})

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**options: object) -> Served:
        started.append(Served(**options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for served in started:
        served.close()


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def chunks(response: httpx.Response) -> list[dict[str, object]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_has_the_form_of_openais(serve: Callable[..., Served]) -> None:
    told = serve().ask("one", "two", "three").json()
    assert told["object"] == "chat.completion"
    assert told["choices"][0]["message"] == {"role": "assistant", "content": "one two three"}
    assert told["choices"][0]["finish_reason"] == "stop"
    assert told["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


def test_openais_own_client_reads_it_whole_and_streamed(serve: Callable[..., Served]) -> None:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{serve().port}/v1", api_key="any")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}]
    whole = client.chat.completions.create(model="umi-local", messages=messages)  # type: ignore[arg-type]
    assert whole.choices[0].message.content == "Be brief. hello there"
    pieces = client.chat.completions.create(model="umi-local", messages=messages, stream=True)  # type: ignore[arg-type]
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces).split() == [
        "Be",
        "brief.",
        "hello",
        "there",
    ]
    assert [model.id for model in client.models.list()] == ["umi-local"]


def test_a_streamed_answer_tells_its_steps_apart_and_what_it_cost(serve: Callable[..., Served]) -> None:
    found = chunks(serve().ask("a b", stream=True, stream_options={"include_usage": True}))
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]  # type: ignore[index]
    assert {"reasoning_content": "Say it back."} in deltas
    assert "".join(delta.get("content", "") for delta in deltas).strip() == "a b"
    assert found[-1]["usage"]["completion_tokens"] == 4  # type: ignore[index]
    assert len({chunk["id"] for chunk in found}) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "not JSON"),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "must be the user's"),
        (b'{"messages": [{"role": "user", "content": " "}]}', "hold a question"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n": 2}', "n: "),
        (b'{"messages": [{"role": "user", "content": "x"}], "tools": [{}]}', "tools"),
        (b'{"messages": [{"role": "user", "content": "x"}], "functions": [{}]}', "functions"),
        (b'{"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"}', "tool_choice"),
        (b'{"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}}', "format"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}',
            "messages.0.content",
        ),
        (b"[" * 100_000, "more than 10,000 bytes"),
        (b"[" * 9_000, "not JSON"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    serve: Callable[..., Served], body: bytes, problem: str
) -> None:
    reply = serve().client.post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert problem in reply.json()["error"]["message"]


def test_what_is_null_counts_as_left_out(serve: Callable[..., Served]) -> None:
    left_out = dict.fromkeys(("tools", "stream", "n", "response_format", "stream_options"))
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}, {"role": "user", "content": "b"}]
    assert serve().client.post("/v1/chat/completions", json={"messages": said, **left_out}).status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_that_breaks_off_is_an_error_in_a_stream_too(serve: Callable[..., Served]) -> None:
    served = serve()
    assert served.ask("break").status_code == 500
    assert "without a word" in chunks(served.ask("break", stream=True))[-1]["error"]["message"]  # type: ignore[index]


def test_a_failed_run_is_an_error_and_the_next_is_answered(serve: Callable[..., Served]) -> None:
    served = serve()
    assert served.ask("fail").status_code == 500
    assert "ended" in chunks(served.ask("fail", stream=True))[-1]["error"]["message"]  # type: ignore[index]
    assert served.ask("fine").status_code == 200


def test_under_load_the_queue_is_full_at_once_and_nothing_is_mixed(serve: Callable[..., Served]) -> None:
    served = serve(queue=3)
    served.echo.delay = 0.1

    def ask(i: int) -> tuple[int, int, str, float]:
        started = time.monotonic()
        reply = served.ask(f"question {i} of client {i}")
        text = reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else ""
        return i, reply.status_code, text, time.monotonic() - started

    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(ask, range(12)))
    answered = [(i, text) for i, status, text, _ in done if status == 200]
    refused = [seconds for _, status, _, seconds in done if status == 429]
    assert len(answered) == 4
    assert len(refused) == 8
    assert max(refused) < 0.5 * max(seconds for *_, seconds in done)
    assert all(text == f"question {i} of client {i}" for i, text in answered)
    assert served.echo.most_at_work == 1
    assert served.ask("again").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_turn(serve: Callable[..., Served], stream: bool) -> None:
    served = serve(queue=0)
    served.echo.delay = 0.2
    body = json.dumps({"messages": [{"role": "user", "content": "word " * 200}], "stream": stream})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall((head + body).encode())
        until(lambda: served.echo.at_work)  # who leaves before that has nothing to cancel
    until(lambda: not served.client.get("/health").json()["requests"])
    until(lambda: served.echo.cancelled)
    assert served.ask("next").status_code == 200


def test_the_next_run_waits_for_one_that_was_left_and_does_not_stop_at_once() -> None:
    """A tool cannot be cancelled in the middle, and a web framework cancels again and again."""
    at_work, most, ended = 0, 0, threading.Event()

    class Deaf:
        def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            emit(TextWritten(Role.PLANNER, "at work"))
            time.sleep(0.5 if query == "first" else 0)
            at_work -= 1
            if query == "first":
                ended.set()
            return Trajectory(query, answer="done", stop=StopReason.ANSWERED)

        def cancel(self) -> None:
            pass

    async def act() -> None:
        engine, begun = Engine(Deaf(), 2, 30), asyncio.Event()

        async def first() -> None:
            async for _ in engine.events("first", ()):
                begun.set()

        left = asyncio.create_task(first())
        await begun.wait()
        while not left.done():
            left.cancel()
            await asyncio.sleep(0)
        assert not ended.is_set()
        assert [type(event) async for event in engine.events("second", ())] == [TextWritten]
        assert ended.is_set()

    asyncio.run(act())
    assert most == 1


def test_a_run_that_ended_is_not_stopped_in_the_next_ones_place() -> None:
    """Whoever reads slowly, or is late to hear of the end, must not stop the run that has begun since."""
    at_work: list[str] = []
    stopped: list[str] = []

    class Prompt:
        def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory:
            at_work.append(query)
            emit(TextWritten(Role.SUMMARIZER, query))
            time.sleep(0.2 if query == "second" else 0)
            at_work.remove(query)
            return Trajectory(query, answer=query, stop=StopReason.ANSWERED)

        def cancel(self) -> None:
            stopped.extend(at_work)

    async def act() -> None:
        engine = Engine(Prompt(), 2, 30)
        first = engine.events("first", ())
        await anext(first)
        second = engine.events("second", ())
        await anext(second)
        await first.aclose()
        assert stopped == []
        await second.aclose()
        assert stopped == ["second"]

    asyncio.run(act())


def test_a_run_that_is_left_before_it_began_is_stopped_all_the_same() -> None:
    begun, stopped = threading.Event(), threading.Event()

    class Slow:
        def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory:
            time.sleep(0.1)  # what it needs is put together; a cancel in this time finds nothing
            begun.set()
            assert stopped.wait(10)
            return Trajectory(query, stop=StopReason.CANCELLED)

        def cancel(self) -> None:
            if begun.is_set():
                stopped.set()

    async def act() -> None:
        engine = Engine(Slow(), 1, 30)
        left = asyncio.create_task(anext(engine.events("left", ())))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.to_thread(stopped.wait, 10)

    asyncio.run(act())
    assert stopped.is_set()


def test_an_answer_that_takes_too_long_is_stopped(serve: Callable[..., Served]) -> None:
    served = serve(seconds=0.3)
    served.echo.delay = 0.1
    told = served.ask("word " * 100).json()
    assert told["choices"][0]["finish_reason"] == "length"


def test_too_long_a_conversation_is_told_as_clients_know_it(serve: Callable[..., Served]) -> None:
    served = serve()
    told = served.ask("too much")
    assert told.status_code == 400
    assert told.json()["error"]["code"] == "context_length_exceeded"
    assert chunks(served.ask("too much", stream=True))[-1] == told.json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_gave_up_says_so(serve: Callable[..., Served], stream: bool) -> None:
    told = serve().ask("give up", stream=stream)
    assert "gave up" in told.text
    assert told.status_code == 200


def test_with_a_token_nobody_is_answered_without_it(serve: Callable[..., Served]) -> None:
    served = serve(token="s3cret")
    assert served.ask("x").status_code == 401
    for wrong in ("Bearer s3cre", "Basic s3cret", "s3cret2", "Bearer é"):
        served.client.headers["Authorization"] = wrong.encode().decode("latin-1")
        assert served.ask("x").status_code == 401
    served.client.headers["Authorization"] = "Bearer s3cret"
    assert served.ask("x").status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Host": "a:1:2"}])
def test_web_pages_are_not_answered_without_a_token(serve: Callable[..., Served], headers: dict[str, str]) -> None:
    served = serve()
    served.client.headers.update(headers)
    assert served.ask("x").status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.2:80", "localhost", "[::1]:8765", "[::1]"])
def test_this_computers_own_addresses_are_answered(serve: Callable[..., Served], host: str) -> None:
    served = serve()
    served.client.headers["Host"] = host
    assert served.ask("x").status_code == 200


def test_history_keeps_who_said_what() -> None:
    from umi_local.serve.wire import request_of

    said = [{"role": role, "content": role} for role in ("user", "assistant", "system", "user")]
    asked = request_of(json.dumps({"messages": said}).encode())
    assert [message.speaker for message in asked.history] == [Speaker.USER, Speaker.CONCLUSION]
    assert asked.query == "system\n\nuser"
