"""`umi-local tools`: what the agent can do, and doing it by hand under the same rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import completing, tools_allowed, tools_servers

if TYPE_CHECKING:
    from umi_local.toolbox import LocalToolbox, Tool

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local tools list
      umi-local tools show calculator
      umi-local tools run calculator '{"expression": "2 * 21"}'
      umi-local tools add time -- python -m mcp_server_time
      umi-local tools new count_words
      umi-local tools allowed

    The tools that the agent can call, and adding more: MCP servers and Python files of your own.
    """,
)

tools_servers.register(app)
tools_allowed.register(app)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completing.tools, help="The tool.")
]


@app.command("list", short_help="List the tools.")
def list_tools(as_json: JsonOption = False) -> None:
    """\b
    Examples:
      umi-local tools list
      umi-local tools list --json

    List the tools: name, what it does to the world outside the conversation (its effect), whether it asks
    before each call, whether it is off unless --tools names it, and its purpose.
    """
    from umi_local import plain
    from umi_local.assemble import extensions, known_tools

    tools = known_tools()
    for problem in extensions().problems:
        typer.echo(plain.printable(problem), err=True)
    if as_json:
        typer.echo(plain.as_json([_told(tool) for tool in tools]))
        return
    width = max(len(tool.name) for tool in tools)
    for tool in tools:
        asks, off = "asks" if tool.asks else "", "" if tool.enabled else "off"
        typer.echo(f"{tool.name:<{width}}  {tool.effect.value:<8}  {asks:<4}  {off:<3}  {_purpose(tool)}")


@app.command(short_help="Show what the model is told of a tool.")
def show(name: NameArgument) -> None:
    """\b
    Examples:
      umi-local tools show calculator

    Show what the model is told of a tool: its description and the JSON Schema of its arguments.
    """
    from umi_local import plain
    from umi_local.assemble import chosen_tools

    (tool,) = chosen_tools([name])
    typer.echo(f"{tool.name}\n\n{tool.spec.description}\n\n{plain.as_json(dict(tool.spec.parameters))}")


@app.command(short_help="Run a tool.")
def run(
    name: NameArgument,
    arguments: Annotated[str, typer.Argument(metavar="JSON", show_default=False, help="Its arguments, as an object.")],
    workspace: Annotated[Path, typer.Option(metavar="DIR", help="The only folder that file tools may touch.")] = Path(),
    allow: Annotated[
        list[str] | None, typer.Option(metavar="TOOL", help="Run this tool without asking; may be repeated.")
    ] = None,
) -> None:
    """\b
    Examples:
      umi-local tools run calculator '{"expression": "2 * 21"}'
      umi-local tools run write_file '{"path": "a.txt", "content": "a"}' --allow write_file

    Run a tool as the agent would. Its result goes to standard output, its error to standard error (exit code 1;
    5 if the call was not allowed).
    """
    from umi_local.messages import ToolCall
    from umi_local.plain import printable

    toolbox = _toolbox(name, workspace, allow or [])
    observation = toolbox.run(ToolCall(name, _object(arguments)))
    typer.echo(printable(observation.content), err=observation.is_error)
    if observation.is_error:
        raise typer.Exit(5 if observation.denied else 1)


def _toolbox(name: str, workspace: Path, allowed: list[str]) -> LocalToolbox:
    """One tool under the rules of the agent.

    Raises:
        UsageError: there is no such tool, or `workspace` is no folder.
    """
    from umi_local.assemble import check_tool_names, chosen_tools, toolbox_for
    from umi_local.cli.approve import ask_on_terminal, interactive
    from umi_local.paths import config_dir
    from umi_local.permissions import approval_for, tools_named
    from umi_local.settings import load_settings

    check_tool_names(tools_named(allowed))
    settings = load_settings(config_dir() / "config.toml")
    asking = ask_on_terminal if interactive() else None
    return toolbox_for(chosen_tools([name]), workspace, approval_for(settings, workspace, allowed, ask=asking))


def _object(text: str) -> dict[str, Any]:
    """The arguments of a call.

    Raises:
        UsageError: `text` is not a JSON object.
    """
    from umi_local.errors import UsageError

    example = """Give one such as '{"expression": "2 * 21"}'."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The arguments are not JSON: {error}.", example) from None
    if not isinstance(value, dict):
        raise UsageError("The arguments are not a JSON object.", example)
    return value


def _told(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "effect": tool.effect.value,
        "asks": tool.asks,
        "enabled": tool.enabled,
        "description": tool.spec.description,
        "parameters": dict(tool.spec.parameters),
    }


def _purpose(tool: Tool) -> str:
    return tool.spec.description.partition("\n")[0]
