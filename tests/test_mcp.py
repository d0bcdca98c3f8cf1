"""MCP servers: the file that lists them, trust, calls, and servers that mean harm or fail."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from umi_local.constraints import inexpressible
from umi_local.errors import ConfigError, UsageError
from umi_local.mcp import Manager, ServerFile, tools_of, trust
from umi_local.mcp.servers import followed
from umi_local.mcp.tools import narrowed
from umi_local.messages import Observation, ToolCall, ToolSpec
from umi_local.styles.data import chat_style
from umi_local.toolbox import Approval, AuditLog, LocalToolbox, Stopped, ToolContext, ToolError, Workspace, policy_of

LOOP = {"$ref": "#/$defs/A"}
HOSTILE = str(Path(__file__).with_name("hostile_server.py"))


class Servers:
    """One server in a file of its own, trusted, and a toolbox with its tools."""

    def __init__(self, folder: Path, args: list[str], **more: Any) -> None:
        self.file, self.pins, self.folder = ServerFile(folder / "mcp.json"), folder / "pins.json", folder
        self.file.add("srv", {"command": sys.executable, "args": args, **more})
        self.manager = Manager(self.file)
        self.offers = {offer.name: offer for offer in self.manager.offers("srv")}
        trust(self.pins, "srv", self.offers.values())

    def again(self) -> None:
        """As in the next process."""
        self.manager.close()
        self.manager = Manager(self.file)

    def box(self) -> LocalToolbox:
        tools = tools_of(self.manager, self.file, self.pins)
        context = ToolContext(Workspace(self.folder), self.folder / "notes.md")
        return LocalToolbox(tools, context, Approval(policy_of(allow=["srv__*"])))

    def call(self, tool: str, box: LocalToolbox | None = None, **arguments: Any) -> Observation:
        box = box or self.box()
        box.approval.taint = ""
        return box.run(ToolCall(f"srv__{tool}", arguments))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    started: list[Servers] = []

    def make(how: str, **more: Any) -> Servers:
        started.append(Servers(tmp_path, [HOSTILE, how, str(tmp_path / "state")], **more))
        return started[-1]

    yield make
    for servers in started:
        servers.manager.close()


def test_a_real_server_tells_the_time(tmp_path: Path) -> None:
    servers = Servers(tmp_path, ["-m", "mcp_server_time", "--local-timezone", "UTC"])
    try:
        told = json.loads(servers.call("get_current_time", timezone="Asia/Tokyo").content)
        assert told["timezone"] == "Asia/Tokyo"
        wrong = servers.call("get_current_time", timezone="Mars")
        assert wrong.is_error
        assert "Mars" in wrong.content
        missing = servers.call("get_current_time")
        assert missing.is_error
        assert "'timezone' is a required property" in missing.content
    finally:
        servers.manager.close()


HTTP_SERVER = """
import sys
from mcp.server.mcpserver import MCPServer

server = MCPServer("adder")

@server.tool()
def add(a: int, b: int) -> str:
    'Add two numbers.'
    return str(a + b)

server.run("streamable-http", port=int(sys.argv[1]))
"""


def test_a_real_server_behind_an_address_is_called(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", HTTP_SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        file = ServerFile(tmp_path / "mcp.json")
        file.add("srv", {"url": f"http://127.0.0.1:{port}/mcp"})
        manager = Manager(file)
        trust(tmp_path / "pins.json", "srv", manager.offers("srv"))
        (tool,) = tools_of(manager, file, tmp_path / "pins.json")
        context = ToolContext(Workspace(tmp_path), tmp_path / "notes.md")
        assert tool.call(context, tool.validate({"a": 2, "b": 3})) == "5"
        process.kill()
        process.wait()
        with pytest.raises(ToolError, match="server srv"):
            tool.call(context, {"a": 2, "b": 3})
        manager.close()
    finally:
        process.kill()
        process.wait()


def test_a_tool_of_a_server_asks_and_taints(made: Any) -> None:
    box = made("echoes").box()
    (tool,) = box.tools
    assert tool.asks
    assert tool.untrusted
    box.run(ToolCall("srv__echo", {"text": "x"}))
    assert "srv__echo" in box.approval.taint
    assert box.run(ToolCall("srv__echo", {"text": "x"})).denied  # the network again, after outside text


def test_a_description_that_changed_is_not_called(made: Any) -> None:
    servers = made("swaps")
    assert servers.call("echo", text="a").content == "a"
    servers.again()
    seen = servers.call("echo", text="a")
    assert seen.is_error
    assert "tools trust srv" in seen.content


def test_a_servers_state_is_told_in_words(made: Any) -> None:
    servers = made("swaps")
    assert servers.manager.state("srv", servers.pins) == "answers with 1 tool"
    servers.again()
    changed = (
        "answers with 1 tool; 1 trusted tool is gone or has changed."
        " Look at what they say now: umi-local tools trust srv"
    )
    assert servers.manager.state("srv", servers.pins) == changed
    servers.file.add("gone", {"command": "no-such-command-anywhere"})
    assert "The MCP server gone cannot be used" in servers.manager.state("gone", servers.pins)


def test_a_server_that_hangs_is_a_failed_observation_in_time(made: Any) -> None:
    servers = made("hangs", timeout=1)
    started = time.monotonic()
    seen = servers.call("echo", text="a")
    assert seen.is_error
    assert time.monotonic() - started < 10


def test_a_call_that_nobody_waits_for_is_stopped_and_the_server_lives_on(made: Any) -> None:
    servers = made("hangs", timeout=60)
    box = servers.box()
    threading.Timer(0.5, box.cancel).start()
    started = time.monotonic()
    seen = servers.call("echo", box, text="a")
    assert (seen.content, seen.is_error) == ("The call was stopped.", True)
    assert time.monotonic() - started < 10
    assert servers.manager.connection("srv")._client is not None


def test_a_server_that_does_not_start_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umi_local.mcp.connection._START_SECONDS", 1.0)
    file, mark = ServerFile(tmp_path / "mcp.json"), tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(300)"
    file.add("srv", {"command": sys.executable, "args": ["-c", code]})
    manager = Manager(file)
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(ToolError, match="did not start within"):
            manager.offers("srv")
        deadline = time.monotonic() + 10
        while Path(f"/proc/{mark.read_text()}").exists() or threading.active_count() > before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    manager.close()


def test_a_start_that_nobody_waits_for_is_ended_at_once(tmp_path: Path) -> None:
    file, stop = ServerFile(tmp_path / "mcp.json"), threading.Event()
    file.add("srv", {"command": sys.executable, "args": ["-c", "import time; time.sleep(300)"]})
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        Manager(file).call("srv", "echo", "", {}, stop)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("schema", [{"properties": []}, {"type": "object", "properties": {"a": {"properties": 1}}}])
def test_properties_that_are_not_named_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="not described by name"):
        narrowed(schema)


def test_two_tools_of_one_name_for_models_are_not_both_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [{"name": name, "description": "", "parameters": {"type": "object"}} for name in ("get.x", "get_x")]
    monkeypatch.setattr("umi_local.mcp.connection.Connection.tools", lambda _self: told)
    file = ServerFile(tmp_path / "mcp.json")
    file.add("srv", {"command": sys.executable, "args": []})
    first, second = Manager(file).offers("srv")
    assert not first.problem and "same name" in second.problem


def test_a_server_that_dies_is_a_failed_observation_and_is_started_again(made: Any) -> None:
    servers = made("dies")
    box = servers.box()
    for _ in range(2):
        seen = servers.call("echo", box, text="a")
        assert seen.is_error
        assert "srv" in seen.content
    assert servers.manager.offers("srv")


def test_a_server_that_refuses_a_call_lives_on(made: Any) -> None:
    servers = made("refuses")
    seen = servers.call("echo", text="a")
    assert (seen.content, seen.is_error) == ("The MCP server srv refused: unknown.", True)
    assert servers.manager.connection("srv")._client is not None


def test_schema_bombs_are_dropped_alone_each_with_a_reason(made: Any) -> None:
    servers = made("bombs")
    problems = {name.removeprefix("srv__"): offer.problem for name, offer in servers.offers.items()}
    assert not problems.pop("echo")
    assert all(problems.values())
    assert [tool.name for tool in servers.box().tools] == ["srv__echo"]
    assert servers.call("echo", text="fine").content == "fine"


def test_a_server_cannot_take_the_name_of_a_tool_nor_disguise_what_it_says(made: Any) -> None:
    (tool,) = made("disguises").box().tools
    assert tool.name == "srv__calculator"
    assert not set(tool.spec.description) & set("\n\x1b\u202e")
    assert len(tool.spec.description) < 500


def test_a_flood_is_cut(made: Any) -> None:
    assert len(made("floods").call("echo", text="a").content) < 210_000


def test_the_environment_is_not_inherited_unless_it_is_listed(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "secret")
    monkeypatch.setenv("GIVEN", "value")
    servers = made("env", env={"GIVEN": "${env:GIVEN}"})
    told = json.loads(servers.call("echo", text="a").content)
    assert "OURS" not in told
    assert told["GIVEN"] == "value"


def test_what_is_no_server_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = ServerFile(tmp_path / "mcp.json")
    file.add("bad", {"command": sys.executable, "args": [HOSTILE, "garbage", str(tmp_path / "s")]})
    file.add("none", {"command": str(tmp_path / "no-such-program")})
    manager = Manager(file)
    for name in ("bad", "none"):
        with pytest.raises(ToolError, match=f"server {name}"):
            manager.offers(name)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({}, "a command or a url"),
        ({"command": "x", "url": "https://x"}, "not both"),
        ({"url": "ftp://x"}, "http"),
        ({"command": "x", "env": {"API_TOKEN": "abc"}}, "looks like a secret"),
        ({"url": "https://x", "headers": {"Authorization": "Bearer abc"}}, "looks like a secret"),
        ({"command": "x", "shell": True}, "shell"),
        ({"command": "x", "env": {"API_TOKEN": "abc${env:HOME}"}}, "looks like a secret"),
        ({"command": "x", "env": {"DATABASE": "postgres://me:abc@host/db"}}, "looks like a secret"),
        ({"command": "x", "args": ["--api-key=abc"]}, "looks like a secret"),
        ({"command": "x", "args": ["--github-token", "abc"]}, "looks like a secret"),
        ({"command": "x", "args": ["--access-key", "abc"]}, "looks like a secret"),
        ({"command": "x", "args": ["--header", "Authorization: Bearer abc"]}, "looks like a secret"),
        ({"command": "x", "args": ["-H", "X: Bearer abc"]}, "looks like a secret"),
        ({"command": "x", "env": {"openaiApiKey": "abc"}}, "looks like a secret"),
        ({"command": "x", "args": ["postgres://me:abc@host/db"]}, "looks like a secret"),
        ({"url": "https://x/mcp?api_key=abc"}, "looks like a secret"),
        ({"url": "https://me:abc@x/mcp"}, "holds a password"),
    ],
)
def test_a_server_that_is_not_described_as_it_must_be_is_refused(
    tmp_path: Path, told: dict[str, Any], problem: str
) -> None:
    file = ServerFile(tmp_path / "mcp.json")
    with pytest.raises(UsageError, match=problem):
        file.add("srv", told)
    assert not file.path.exists()


def test_a_word_that_only_holds_the_letters_of_a_secrets_is_none(tmp_path: Path) -> None:
    file = ServerFile(tmp_path / "mcp.json")
    env = {"GIT_AUTHOR_NAME": "Anna", "MAX_TOKENS": "9", "KEYBOARD": "de"}
    file.add("srv", {"command": "x", "env": env, "args": ["--header", "Authorization: Bearer ${env:T}", "--keys"]})
    file.add("other", {"command": "x", "args": ["--header", "Authorization:${AUTH_HEADER}"]})
    file.add("hub", {"url": "https://x/mcp?keyword=a"})
    assert list(file.read()) == ["srv", "other", "hub"]


def test_references_are_followed_in_arguments_and_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "abc")
    file = ServerFile(tmp_path / "mcp.json")
    told = ["--token=${env:MY_TOKEN}", "--token-file", "x", "--token", "${env:MY_TOKEN}", "--verbose"]
    assert [followed(arg) for arg in file.add("srv", {"command": "x", "args": told}).args] == [
        *("--token=abc", "--token-file", "x", "--token", "abc", "--verbose")
    ]
    assert followed(file.add("hub", {"url": "https://x/mcp?key=${env:MY_TOKEN}"}).url) == "https://x/mcp?key=abc"
    assert "abc" not in file.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"anyOf": [LOOP, {"type": "string"}]}}},
        {"properties": {"x": {"$ref": "#/$defs/missing"}}},
    ],
)
def test_a_schema_that_nothing_can_be_checked_with_is_an_observation(
    tmp_path: Path, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"name": "bad", "description": "", "parameters": {"type": "object", **schema}}
    monkeypatch.setattr("umi_local.mcp.connection.Connection.tools", lambda _self: [described])
    file = ServerFile(tmp_path / "mcp.json")
    file.add("srv", {"command": sys.executable})
    manager = Manager(file)
    trust(tmp_path / "pins.json", "srv", manager.offers("srv"))
    log = AuditLog(tmp_path / "audit.jsonl")
    context = ToolContext(Workspace(tmp_path), tmp_path / "notes.md")
    box = LocalToolbox(tools_of(manager, file, tmp_path / "pins.json"), context, Approval(audit=log))
    assert box.run(ToolCall("srv__bad", {"x": 1})).is_error
    assert "refused" in str(list(log.lines()))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "wat"},
        {"enum": 5},
        {"type": "number", "multipleOf": 0},
        {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},  # as drafts before 2020-12 had it
        {"type": "string", "description": 5},
    ],
)
def test_what_is_no_schema_is_left_out_also_of_what_was_trusted_before(
    tmp_path: Path, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"name": "bad", "description": "", "parameters": {"type": "object", "properties": {"x": schema}}}
    monkeypatch.setattr("umi_local.mcp.connection.Connection.tools", lambda _self: [described])
    file = ServerFile(tmp_path / "mcp.json")
    file.add("srv", {"command": sys.executable})
    (offer,) = Manager(file).offers("srv")
    assert "draft 2020-12" in offer.problem
    (tmp_path / "pins.json").write_text(json.dumps({"srv": [described]}), encoding="utf-8")
    assert tools_of(Manager(file), file, tmp_path / "pins.json") == ()


def test_a_variable_that_is_not_set_is_told_before_anything_runs(tmp_path: Path) -> None:
    file = ServerFile(tmp_path / "mcp.json")
    file.add("srv", {"command": sys.executable, "args": ["-c", ""], "env": {"TOKEN": "${env:NOT_SET_ANYWHERE}"}})
    with pytest.raises(ToolError, match="NOT_SET_ANYWHERE"):
        Manager(file).offers("srv")


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}', '{"mcpServers": {"UP": {"command": "x"}}}'])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "mcp.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mcp\.json"):
        ServerFile(tmp_path / "mcp.json").read()


def test_a_narrowed_schema_keeps_what_constrains_and_compiles() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "title": {"type": "string", "format": "date", "title": "T", "minLength": 1},
            "kind": {"enum": ["a", "b"], "default": "a"},
            "more": {"$ref": "#/$defs/More"},
        },
        "required": ["title"],
        "$defs": {"More": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}}},
    }
    found = narrowed(schema)
    assert found["properties"]["title"] == {"type": "string", "minLength": 1}
    assert found["properties"]["kind"] == {"enum": ["a", "b"]}
    assert found["additionalProperties"] is False
    assert not inexpressible(ToolSpec("t", "d", found), chat_style().language)


def test_definitions_are_kept_whatever_they_are_called_and_wherever_they_stand() -> None:
    told = {"definitions": {"title": {"enum": ["a"]}}, "properties": {"x": {"$ref": "#/definitions/title"}}}
    found = narrowed(told)
    assert (found["$defs"], found["properties"]) == ({"title": {"enum": ["a"]}}, {"x": {"$ref": "#/$defs/title"}})
    assert not inexpressible(ToolSpec("t", "d", found), chat_style().language)
    assert narrowed({"properties": {"x": {"enum": [{"title": "a"}]}}})["properties"]["x"] == {"enum": [{"title": "a"}]}
