"""`umi-local config`: where the settings are, what they are, whether they are right, and a file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local config init
      umi-local config show
      umi-local config validate

    The settings, a TOML file. Flags go before it.
    """,
)


@app.command(short_help="Print where the settings are.")
def path() -> None:
    """\b
    Examples:
      umi-local config path

    Print the path of the settings' file, whether it is there or not.
    """
    typer.echo(_path())


@app.command(short_help="Print the settings.")
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """\b
    Examples:
      umi-local config show

    Print every setting with its value and whether it is the user's own or the default.
    """
    from umi_local import plain
    from umi_local.settings import load_settings

    chosen = load_settings(_path())
    own = chosen.model_fields_set
    values = chosen.model_dump(mode="json")
    if as_json:
        told = {name: {"value": value, "from": _origin(name in own)} for name, value in values.items()}
        typer.echo(plain.as_json(told))
        return
    for name, value in values.items():
        typer.echo(plain.printable(f"{name:<20} {_said(value):<24} {_origin(name in own)}"))


@app.command(short_help="Check the settings.")
def validate() -> None:
    """\b
    Examples:
      umi-local config validate

    Read the settings, the rules and the list of MCP servers, and say what is wrong with them (exit code 2).
    """
    from importlib import import_module

    from umi_local.assemble import check_tool_names
    from umi_local.mcp import ServerFile
    from umi_local.packs import load_pack
    from umi_local.paths import servers_file
    from umi_local.permissions import approval_for, tools_named
    from umi_local.settings import load_settings

    chosen = load_settings(_path())
    approval_for(chosen, Path())
    rules = chosen.permissions
    check_tool_names(tools_named([*rules.allow, *rules.ask, *rules.deny]))
    if chosen.pack:
        load_pack(chosen.pack)
    import_module("umi_local.tui").check_chat(chosen.chat)  # by name: neither front end imports the other
    servers = ServerFile(servers_file()).read()
    told = f"{_path()} is right" if _path().is_file() else f"There is no {_path()}, so the defaults hold"
    typer.echo(f"{told}; {len(servers)} MCP servers.")


@app.command(short_help="Write a file with every setting.")
def init() -> None:
    """\b
    Examples:
      umi-local config init

    Write a file with every setting and its default, each line switched off by a #. An existing file is left alone.
    """
    from umi_local.errors import UsageError
    from umi_local.paths import cannot_write
    from umi_local.settings import Settings

    file = _path()
    lines = ["# Settings of umi-local. Take a # away to change one."]
    for name, value in Settings().model_dump(mode="json").items():
        if not isinstance(value, dict):
            lines.append(f"# {name} = {_toml(value)}")
    lines += ["", "# [permissions]", '# allow = ["write_file(path=notes/*)"]', '# deny = ["run_python"]']
    lines += ["", "# [chat]", '# theme = "dark"', "# reduced_motion = true", "# [chat.keys]", '# fold = "f3"', ""]
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write("\n".join(lines))
    except FileExistsError:
        raise UsageError(f"{file} is there already.", "Change it, or see: umi-local config show") from None
    except OSError as error:
        raise cannot_write(file, error) from error
    typer.echo(file)


def _path() -> Path:
    from umi_local.paths import config_dir

    return config_dir() / "config.toml"


def _origin(own: bool) -> str:
    return "config.toml" if own else "default"


def _toml(value: object) -> str:
    import json

    return json.dumps(value)  # of texts, numbers and truths TOML has the same form


def _said(value: object) -> str:
    if isinstance(value, dict):
        counted = {name: len(held) if isinstance(held, list | dict) else held for name, held in value.items()}
        return ", ".join(
            f"{held} {name}" if isinstance(held, int) else f"{name} {held}" for name, held in counted.items()
        )
    return str(value) if value != "" else '""'
