"""`umi-local chat`: the terminal chat, and the same line by line for screen readers and pipes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from umi_local.cli import choices


def chat(
    plain: Annotated[bool, typer.Option("--plain", help="Line by line: for screen readers and pipes.")] = False,
    workspace: choices.Workspace = Path(),
    pack: choices.Pack = "",
    model: choices.Models = None,
    adapter: choices.Adapters = None,
    mode: choices.ModeName = "",
    tools: choices.Tools = None,
    allow: choices.Allow = None,
    deny: choices.Deny = None,
    max_steps: choices.MaxSteps = None,
    seed: choices.Seed = None,
    gpu_layers: choices.GpuLayers = "",
    continue_: Annotated[bool, typer.Option("-c", "--continue", help="Go on with the session used last.")] = False,
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Go on with this session.")] = "",
) -> None:
    """\b
    Examples:
      umi-local chat
      umi-local chat --continue
      umi-local chat --plain

    Open the chat: each role's turn and tool call on a card, approvals in place, sessions that go on after a kill.
    With --plain, or where there is no terminal, the same line by line, with the same commands.
    """
    from umi_local.assemble import check_tool_names, chosen_tools
    from umi_local.cli.chat_plain import line_by_line
    from umi_local.conversation import Conversation
    from umi_local.permissions import approval_for, tools_named
    from umi_local.sessions import open_store

    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, seed=seed, gpu_layers=gpu_layers)
    check_tool_names(tools_named([*(allow or ()), *(deny or ())]))
    store = open_store()
    found = store.get(session).id if session else store.latest().id if continue_ else ""
    chosen = chosen_tools(choices.tool_names(tools))
    rules = (allow or (), deny or ())
    workspace = choices.folder(workspace)
    approval_for(wanted.settings, workspace, *rules)  # a wrong rule is told before the first question
    conversation = Conversation(wanted, chosen, workspace, store, None, *rules, found)
    if plain or not (sys.stdin.isatty() and sys.stdout.isatty()):
        choices.pull_missing(wanted)
        line_by_line(conversation)
    else:
        # Found by name: neither front end imports the other.
        if any(file.pack != wanted.pack_name for file in wanted.missing()):
            choices.pull_missing(wanted)  # a manifest that is named by its path is in no list to choose from
        app = import_module("umi_local.tui").ChatApp(conversation)
        app.run()
        raise typer.Exit(app.return_code or 0)
