"""Roles on a server that speaks OpenAI's API: llama-cpp-python's own, with a real small model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from umi_local.backends.openai_compatible import ServerBackend
from umi_local.backends.routed import RoutedBackend
from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.backends.server import Server, server_of
from umi_local.cli.choices import resolve
from umi_local.constraints import constraint_for
from umi_local.errors import ConfigError, ContextFull, ModelFailed, UmiError, UsageError
from umi_local.markup import MessagesMarkup
from umi_local.messages import ChatMessage, Constraint, ModelInfo, Prompt, Role, Sampling, ToolSpec
from umi_local.parse import json_calls, whole_step
from umi_local.prompts import ChatRenderer
from umi_local.styles.data import chat_style
from umi_local.trajectory import Decision, Next, Step, Trajectory

pytest.importorskip("openai", reason="the extra [servers] is not installed")

TRAIN = ToolSpec(
    "find_train",
    "Find a train to a city.",
    {"type": "object", "properties": {"city": {"type": "string", "enum": ["York", "Bath"]}}, "required": ["city"]},
)
RUN = Trajectory("A train to York, please.", (TRAIN,))
PLANNED = RUN.with_step(Step(Decision("Use find_train.", Next.CALL)))
RENDERER = ChatRenderer(chat_style(), MessagesMarkup(chat_style().cues))
ALL = (Next.CALL, Next.CONCLUDE, Next.GIVE_UP)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The package's own server, without the tiles that llama.cpp dies of on processors with AMX.
SERVER = """
import runpy
from umi_local.backends.llama_cpp.amx import refuse_amx
refuse_amx()
runpy.run_module("llama_cpp.server", run_name="__main__")
"""


def start(model: Path, *flags: str) -> tuple[subprocess.Popen[bytes], Server]:
    port = free_port()
    command = [sys.executable, "-c", SERVER, "--model", str(model), "--port", str(port), "--n_ctx", "2048"]
    process = subprocess.Popen(
        [*command, "--model_alias", "small", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code in (200, 401):
                return process, Server(f"http://127.0.0.1:{port}/v1")
        except httpx.TransportError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    process, where = start(small_model)
    yield where
    process.kill()
    process.wait()


@pytest.fixture
def backend(server: Server) -> Iterator[ServerBackend]:
    made = ServerBackend(server)
    yield made
    made.close()


def turn(role: Role, run: Trajectory) -> tuple[Prompt, Constraint]:
    return RENDERER.render(run, role), constraint_for(role, RENDERER.language, run, ALL, 1)


@pytest.mark.real
def test_the_first_model_is_taken_and_its_name_told(backend: ServerBackend) -> None:
    assert backend.describe(Role.PLANNER).name == "small"


@pytest.mark.real
@pytest.mark.parametrize("role", [Role.PLANNER, Role.SINGLE])
def test_a_plan_comes_back_as_a_planner_writes_it(backend: ServerBackend, role: Role) -> None:
    told: list[str] = []
    written = backend.complete(role, *turn(role, RUN), Sampling(max_tokens=400), told.append)
    assert written.finished
    decision, _ = whole_step(written.text)
    assert written.text.startswith(f"{decision.rationale} Next: {decision.next}.".strip())
    assert "".join(told) == written.text
    assert written.usage.seconds > 0


@pytest.mark.real
def test_a_call_names_a_listed_tool_and_fits_its_schema(backend: ServerBackend) -> None:
    written = backend.complete(Role.CALLER, *turn(Role.CALLER, PLANNED), Sampling(max_tokens=200))
    (call,) = json_calls(written.text)
    assert call.name == "find_train"
    assert call.arguments["city"] in ("York", "Bath")


@pytest.mark.real
def test_an_answer_streams_and_the_same_request_has_the_same_answer(backend: ServerBackend) -> None:
    pieces: list[str] = []
    first = backend.complete(Role.SUMMARIZER, *turn(Role.SUMMARIZER, RUN), Sampling(max_tokens=24), pieces.append)
    again = backend.complete(Role.SUMMARIZER, *turn(Role.SUMMARIZER, RUN), Sampling(max_tokens=24))
    assert "".join(pieces) == first.text == again.text
    assert len(pieces) > 3


@pytest.mark.real
def test_cancelling_ends_the_turn_and_keeps_what_was_written(backend: ServerBackend) -> None:
    began = threading.Event()
    threading.Thread(target=lambda: (began.wait(60), backend.cancel())).start()
    prompt = Prompt((), (), messages=(ChatMessage("user", "Write a very long story about the sea."),))
    written = backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=1500), lambda _: began.set())
    assert not written.finished
    assert written.text
    assert backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=4)).text


@pytest.mark.real
def test_a_prompt_that_does_not_fit_is_told_as_such(backend: ServerBackend) -> None:
    prompt = Prompt((), (), messages=(ChatMessage("user", "word " * 5000),))
    # This server breaks off; others say why, which is then told.
    with pytest.raises((ContextFull, ModelFailed), match=r"does not fit|broke off"):
        backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=4))


@pytest.mark.real
def test_a_model_that_is_not_served_is_named_with_those_that_are(server: Server) -> None:
    with pytest.raises(ConfigError, match=r"no model 'large'\. It has: small"):
        ServerBackend(Server(server.url, "large")).describe(Role.PLANNER)


@pytest.mark.real
def test_a_wrong_address_on_a_server_is_told(server: Server) -> None:
    with pytest.raises(ConfigError, match="no address of this API"):
        ServerBackend(Server(f"{server.url}/elsewhere")).describe(Role.PLANNER)


@pytest.mark.real
def test_the_key_comes_from_the_environment(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, where = start(small_model, "--api_key", "right")
    try:
        monkeypatch.setenv("UMI_LOCAL_API_KEY", "wrong")
        with pytest.raises(ConfigError, match="refused the key"):
            ServerBackend(where).describe(Role.PLANNER)
        monkeypatch.setenv("UMI_LOCAL_API_KEY", "right")
        assert ServerBackend(where).describe(Role.PLANNER).name == "small"
    finally:
        process.kill()
        process.wait()


@pytest.mark.real
def test_a_server_that_dies_in_the_middle_is_a_sentence(small_model: Path) -> None:
    process, where = start(small_model)
    backend = ServerBackend(where)
    prompt = Prompt((), (), messages=(ChatMessage("user", "Write a very long story about the sea."),))
    with pytest.raises(ModelFailed, match=r"broke off|cannot be reached"):
        backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=1500), lambda _: process.kill())
    process.wait()
    with pytest.raises(ModelFailed, match="cannot be reached"):
        backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=4))


@pytest.mark.real
def test_ask_runs_a_role_on_a_server_and_says_where_the_text_goes(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "umi_local", "ask", "--model", f"{server.url}#small", "--tools", "calculator"]
    home = {**os.environ, "UMI_LOCAL_HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "--max-steps", "1", "--json", "Hello!"],
        capture_output=True,
        text=True,
        env=home,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode in (0, 1), done.stderr
    assert f"leaves this process for {server.host}" in done.stderr
    assert json.loads(done.stdout)["pack"] == "servers"


@pytest.mark.parametrize("adapter", ["planner=a.gguf", "a.gguf"])
def test_an_adapter_for_a_server_is_refused_and_not_left_out(adapter: str) -> None:
    servers = ["http://localhost:1/v1"] if "=" not in adapter else ["planner=http://localhost:1/v1"]
    with pytest.raises(UsageError, match="a server plays that role"):
        resolve(models=servers, adapters=[adapter])
    each = [f"{role}=http://localhost:1/v1" for role in ("planner", "caller", "summarizer")]
    with pytest.raises(UsageError, match="a server plays that role"):
        resolve(models=each, adapters=[adapter])


def test_nobody_listening_is_a_sentence() -> None:
    with pytest.raises(ModelFailed, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        ServerBackend(Server(f"http://127.0.0.1:{free_port()}/v1")).describe(Role.PLANNER)


@pytest.mark.parametrize("text", ["ftp://host/v1", "http://", "http://host:port/v1", "://", "http:///v1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no server's address"):
        server_of(text)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="UMI_LOCAL_API_KEY") as refused:
        server_of("http://me:hunter2@host/v1")
    assert "hunter2" not in str(refused.value)


def test_an_address_may_name_a_model() -> None:
    assert server_of("http://host:8080/v1/#some/model:7b") == Server("http://host:8080/v1", "some/model:7b")


def test_each_role_goes_to_its_own_backend() -> None:
    one, other = ScriptedBackend([Line(Role.PLANNER, "one")]), ScriptedBackend([Line(Role.CALLER, "other")])
    routed = RoutedBackend({Role.PLANNER: one, Role.CALLER: other, Role.SUMMARIZER: other})
    prompt = Prompt((), ())
    assert routed.complete(Role.PLANNER, prompt, None, Sampling()).text == "one"
    assert routed.complete(Role.CALLER, prompt, None, Sampling()).text == "other"
    routed.cancel()
    assert one.cancelled
    assert other.cancelled


def test_messages_alternate_and_end_with_what_is_asked_for() -> None:
    messages = RENDERER.render(PLANNED, Role.CALLER).messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert "find_train" in messages[0].content
    assert messages[1].content.startswith("A train to York, please.\n")
    assert messages[2].content == "Use find_train. Next: caller."
    assert messages[3].content == chat_style().cues["caller"]


def test_nothing_is_sent_on_to_another_host_nor_told_of_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, dict(self.headers)))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere}/v1/models")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as first,
        ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as other,
    ):
        elsewhere = other.server_port
        for server in (first, other):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        backend = ServerBackend(Server(f"http://127.0.0.1:{first.server_port}/v1"))
        with pytest.raises(ModelFailed):
            backend.describe(Role.PLANNER)
        backend.close()
        first.shutdown()
        other.shutdown()
    assert {path for path, _ in seen} == {"/v1/models"}
    told = [headers for _, headers in seen]
    assert all(headers["Host"] == f"127.0.0.1:{first.server_port}" for headers in told)
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("known", "head"),
    [
        (None, b""),
        (ModelInfo("silent", 8192), b""),
        (ModelInfo("silent", 8192), b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
    ],
)
def test_a_turn_is_cancelled_while_its_server_sends_nothing(known: ModelInfo | None, head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = ServerBackend(Server(f"http://127.0.0.1:{silent.getsockname()[1]}/v1"))
        backend._info = known

        def cancel() -> None:
            connection, _ = silent.accept()
            connection.sendall(head)
            time.sleep(0.3)
            backend.cancel()
            time.sleep(5)
            connection.close()

        threading.Thread(target=cancel, daemon=True).start()
        started = time.monotonic()
        prompt = Prompt((), (), messages=(ChatMessage("user", "Hello"),))
        written = backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=4))
        assert not written.finished and not written.text
        assert time.monotonic() - started < 4
        backend.close()


MODELS = {"data": [{"id": "odd", "max_model_len": 4096}]}


@pytest.mark.parametrize(
    ("models", "chunk", "sentence"),
    [
        ({"data": {}}, {}, "has no model"),
        ({"data": ["odd"]}, {}, "is no address of this API"),
        ({"data": [{"id": "odd", "max_model_len": "many"}]}, {}, "is no address of this API"),
        ({"data": None}, {}, "has no model"),
        (MODELS, {"choices": None}, "broke off its answer"),
        (MODELS, {"choices": ["text"]}, "broke off its answer"),
        (MODELS, {"choices": [{"delta": {"content": [{"text": "Hi"}]}}]}, "broke off its answer"),
        (MODELS, [], "broke off its answer"),
    ],
)
def test_an_answer_of_another_form_is_a_sentence(models: object, chunk: object, sentence: str) -> None:
    class Odd(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("application/json", json.dumps(models))

        def do_POST(self) -> None:
            self.answer("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")

        def answer(self, kind: str, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as odd:
        threading.Thread(target=odd.serve_forever, daemon=True).start()
        backend = ServerBackend(Server(f"http://127.0.0.1:{odd.server_port}/v1"))
        prompt = Prompt((), (), messages=(ChatMessage("user", "Hello"),))
        with pytest.raises(UmiError, match=sentence):
            backend.complete(Role.SUMMARIZER, prompt, None, Sampling(max_tokens=4))
        backend.close()
        odd.shutdown()


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "odd://127.0.0.1:1"), ("SSL_CERT_FILE", "/nowhere/certificates.pem")]
)
def test_a_proxy_or_certificate_that_cannot_be_used_is_a_sentence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="settings of the environment"):
        ServerBackend(Server("https://example.org/v1"))
    ServerBackend(Server("http://127.0.0.1:1/v1")).close()


def test_what_stays_on_this_computer_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        proxy.settimeout(0.5)
        with pytest.raises(ModelFailed, match="cannot be reached"):
            ServerBackend(Server(f"http://localhost:{free_port()}/v1")).describe(Role.PLANNER)
        with pytest.raises(TimeoutError):
            proxy.accept()
