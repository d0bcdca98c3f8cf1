"""`umi-local serve`: the agent for other programs."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli import choices

if TYPE_CHECKING:
    from umi_local.agent import Agent
    from umi_local.messages import Message
    from umi_local.protocols import Backend, Emit
    from umi_local.setups import Setup
    from umi_local.toolbox import Tool
    from umi_local.trajectory import Trajectory

TOKEN = "UMI_LOCAL_SERVE_TOKEN"


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    queue: Annotated[int, typer.Option(min=0, help="How many requests may wait.")] = 8,
    max_seconds: Annotated[float, typer.Option(min=1, metavar="N", help="Stop an answer after so long.")] = 300,
    workspace: choices.Workspace = Path(),
    pack: choices.Pack = "",
    model: choices.Models = None,
    adapter: choices.Adapters = None,
    mode: choices.ModeName = "",
    tools: choices.Tools = None,
    allow: choices.Allow = None,
    deny: choices.Deny = None,
    max_steps: choices.MaxSteps = None,
    gpu_layers: choices.GpuLayers = "",
) -> None:
    """\b
    Examples:
      umi-local serve
      curl localhost:8765/v1/chat/completions -d '{"messages": [{"role": "user", "content": "What day is it?"}]}'
      UMI_LOCAL_SERVE_TOKEN=... umi-local serve --host 0.0.0.0

    Offer the agent as a server with OpenAI's chat API (needs: pip install 'umi-local[serve]'). Tools that ask are
    denied unless they are allowed. Beyond this computer it listens only with a token, which clients send as their key.
    """
    from umi_local.assemble import backend_for, check_tool_names, chosen_tools
    from umi_local.errors import UsageError
    from umi_local.permissions import approval_for, tools_named

    try:
        import uvicorn

        from umi_local.serve import Engine, Limits, application, is_loopback
    except ImportError:
        raise UsageError("The server needs more packages.", "Install them: pip install 'umi-local[serve]'") from None
    token = os.environ.get(TOKEN, "").strip()
    if not token and not is_loopback(host):
        raise UsageError(f"{host} can be reached from other computers.", f"Set {TOKEN} to a long random text.")
    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, gpu_layers=gpu_layers)
    check_tool_names(tools_named([*(allow or ()), *(deny or ())]))
    workspace = choices.folder(workspace)
    approval_for(wanted.settings, workspace, allow or (), deny or ())
    chosen = chosen_tools(choices.tool_names(tools))
    listening = _bound(host, port)
    choices.pull_missing(wanted)
    backend = backend_for(wanted)
    runner = Served(wanted, backend, chosen, workspace, (allow or (), deny or ()))
    app = application(Engine(runner, queue, max_seconds), Limits(token))
    try:
        choices.say_where_text_goes(wanted)
        backend.describe(wanted.roles[0])  # the model is loaded before the first request
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"Listening on http://{shown}:{listening.getsockname()[1]}/v1; Ctrl+C ends it.", err=True)
        server.run(sockets=[listening])
    finally:
        backend.close()
        listening.close()


class Served:
    """Answers requests that have nothing to do with each other, one at a time."""

    def __init__(
        self,
        wanted: Setup,
        backend: Backend,
        tools: Sequence[Tool],
        workspace: Path,
        rules: tuple[Sequence[str], Sequence[str]],
    ) -> None:
        self._wanted, self._backend, self._tools = wanted, backend, tools
        self._workspace, self._rules = workspace, rules
        self._agent: Agent | None = None

    def run(self, query: str, history: Sequence[Message], emit: Emit) -> Trajectory:
        from umi_local.assemble import agent_for, context_for, toolbox_for
        from umi_local.messages import Speaker
        from umi_local.permissions import approval_for

        # A new one for each: what one client read must not make the next one's calls ask.
        approval = approval_for(self._wanted.settings, self._workspace, *self._rules, session="serve")
        if any(said.speaker is Speaker.CONCLUSION for said in history):
            approval.saw_answers(self._tools)
        toolbox = toolbox_for(self._tools, self._workspace, approval, "serve")
        self._agent = agent_for(self._wanted, self._backend, toolbox, emit)
        try:
            return self._agent.run(query, history, context_for(toolbox))
        finally:
            self._agent = None

    def cancel(self) -> None:
        agent = self._agent
        if agent is not None:
            agent.cancel()


def _bound(host: str, port: int) -> socket.socket:
    """A socket at that address, taken before a model is loaded in vain.

    Raises:
        UsageError: another program has it, or it is none of this computer's.
    """
    from umi_local.errors import UsageError

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # Python adds the address
        raise UsageError(f"Nothing can listen on {host}, port {port}: {why}.", "Give another --port.") from None
