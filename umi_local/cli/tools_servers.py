"""`umi-local tools add | trust | rm | new`: tools beyond those that come along."""

from __future__ import annotations

import json
import keyword
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import completing

if TYPE_CHECKING:
    from umi_local.mcp import Offer

ServerArgument = Annotated[
    str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completing.servers, help="The server.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Trust the tools without asking.")]


def register(app: typer.Typer) -> None:
    """Put the commands into `umi-local tools`."""
    app.command(short_help="Add an MCP server.", context_settings={"ignore_unknown_options": True})(add)
    app.command(short_help="Look at a server's tools again and trust them.")(trust)
    app.command("rm", short_help="Remove an MCP server.")(remove)
    app.command(short_help="Write a template for a tool of your own.")(new)


def add(
    name: ServerArgument,
    target: Annotated[
        list[str], typer.Argument(metavar="URL | -- COMMAND...", show_default=False, help="Where or what it is.")
    ],
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="A variable that the server gets; alone: ours. Repeatable."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header for a URL. Repeatable.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """\b
    Examples:
      umi-local tools add time -- python -m mcp_server_time
      umi-local tools add hub https://example.org/mcp --header 'Authorization=${keyring:hub/me}'
      umi-local tools add issues --env GITHUB_TOKEN -- npx some-server

    Add an MCP server, show its tools and, if you agree, trust them as they are now. A tool that is described
    differently later is not called until you have looked again. Every call asks, unless a rule allows it.
    """
    from umi_local.errors import UsageError
    from umi_local.mcp import ServerFile
    from umi_local.paths import servers_file

    is_address = len(target) == 1 and "://" in target[0]
    if not is_address and "://" in target[0]:
        raise UsageError("An address stands alone.", "Give --env and --header before it.")
    told: dict[str, Any] = {"url": target[0]} if is_address else {"command": target[0], "args": target[1:]}
    told["env"] = dict(_pair(text) for text in env or ())
    told["headers"] = dict(_pair(text) for text in header or ())
    file = ServerFile(servers_file())
    file.add(name, {key: value for key, value in told.items() if value})
    try:
        _trust(name, yes)
    except BaseException:  # also Ctrl-C: a server that nobody has trusted is not kept
        file.remove(name)
        raise


def trust(name: ServerArgument, yes: YesOption = False) -> None:
    """\b
    Examples:
      umi-local tools trust time

    Ask a server what it offers now, show it and, if you agree, trust it from here on.
    """
    from umi_local.errors import UsageError
    from umi_local.mcp import ServerFile
    from umi_local.paths import servers_file

    if name not in ServerFile(servers_file()).read():
        raise UsageError(f"There is no MCP server {name!r}.", "Add it: umi-local tools add NAME -- COMMAND...")
    _trust(name, yes)


def remove(name: ServerArgument) -> None:
    """\b
    Examples:
      umi-local tools rm time

    Remove an MCP server, what was trusted of it and what was allowed of it for good.
    """
    from umi_local.mcp import ServerFile
    from umi_local.mcp import trust as remember
    from umi_local.paths import servers_file, trusted_file
    from umi_local.permissions import take_back_of

    ServerFile(servers_file()).remove(name)
    remember(trusted_file(), name, [])
    take_back_of(name)
    typer.echo(f"Removed {name}.", err=True)


def new(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The tool's name.")]) -> None:
    """\b
    Examples:
      umi-local tools new count_words

    Write a tool of your own and a test for it, to be changed.
    """
    from umi_local.assemble import known_tools
    from umi_local.errors import UsageError
    from umi_local.extensions import TEMPLATE, TEST_TEMPLATE, own_folder
    from umi_local.paths import cannot_write, private_dir

    hidden = name.startswith(("_", "test_"))  # such files are no tools
    if not name.isidentifier() or not name.islower() or keyword.iskeyword(name) or hidden:
        raise UsageError(
            f"{name!r} is no name for a tool.", "Use lower-case letters, digits and _, such as word_count."
        )
    if name in {tool.name for tool in known_tools()}:
        raise UsageError(f"There is a tool {name} already.", "Choose another name.")
    folder = private_dir(own_folder())
    path, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for there in (path, test):
        if there.exists():
            raise UsageError(f"{there} is there already.", "Change it, or choose another name.")
    try:
        path.write_text(TEMPLATE.format(name=name), encoding="utf-8")
        test.write_text(TEST_TEMPLATE.format(name=name, test=test), encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error) from error
    typer.echo(f"{path}\n{test}")


def _trust(name: str, yes: bool) -> None:
    from umi_local.cli.approve import confirmed, interactive
    from umi_local.errors import UsageError
    from umi_local.extensions import manager
    from umi_local.mcp import trust as remember
    from umi_local.paths import trusted_file
    from umi_local.toolbox import ToolError

    try:
        offers = manager().offers(name)
    except ToolError as error:
        raise UsageError(str(error), "Try the command by itself, or look at the address.") from None
    for offer in offers:
        typer.echo(_line(offer), err=True)
    usable = [offer for offer in offers if not offer.problem]
    if not usable:
        raise UsageError(f"The server {name} offers no tool that can be used.")
    if not yes:
        if not interactive():
            raise UsageError("Nobody can be asked here whether to trust these tools.", "Run again with --yes.")
        if not confirmed(f"Trust {'this tool' if len(usable) == 1 else f'these {len(usable)} tools'} as described?"):
            raise typer.Exit(1)
    remember(trusted_file(), name, usable)
    typer.echo(f"{name}: {len(usable)} of {len(offers)} tools can be called.", err=True)


def _line(offer: Offer) -> str:
    from umi_local.mcp.tools import plain_text
    from umi_local.plain import printable

    if offer.problem:
        return printable(f"  {offer.name}  left out: {offer.problem}")
    # All that the model will read of it, since all of that may try to talk it into something.
    lines = [f"  {offer.name}  {plain_text(offer.described['description'])}"]
    for name, told in offer.spec().parameters.get("properties", {}).items():
        lines.append(f"      {name}: {json.dumps(told, ensure_ascii=False)}")
    return printable("\n".join(lines))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return name, value if equals else f"${{env:{name}}}"
