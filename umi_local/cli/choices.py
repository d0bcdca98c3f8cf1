"""The flags that `ask` and `eval` share, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import completing

if TYPE_CHECKING:
    from umi_local.backends.server import Server
    from umi_local.messages import Role
    from umi_local.settings import Settings
    from umi_local.setups import Setup

Pack = Annotated[
    str,
    typer.Option(
        "--pack", metavar="NAME|FILE", autocompletion=completing.packs, help="The role pack. See: umi-local models list"
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[ROLE=]FILE|URL",
        help="A GGUF of your own, or a server's http://HOST:PORT/v1#MODEL, for one role or for all. Repeatable.",
    ),
]
Adapters = Annotated[
    list[str] | None, typer.Option("--adapter", metavar="[ROLE=]FILE", help="A LoRA adapter (GGUF). Repeatable.")
]
ModeName = Annotated[str, typer.Option("--mode", metavar="multi|single", help="A team of roles, or one model for all.")]
Tools = Annotated[str | None, typer.Option("--tools", metavar="A,B", help="Only these. See: umi-local tools list")]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="RULE",
        autocompletion=completing.tools,
        help="Run without asking: TOOL or TOOL(argument=pattern). Repeatable.",
    ),
]
Deny = Annotated[
    list[str] | None,
    typer.Option("--deny", metavar="RULE", autocompletion=completing.tools, help="Never run. Repeatable."),
]
MaxSteps = Annotated[int | None, typer.Option("--max-steps", metavar="N", help="Calls before it must answer.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of the sampling.")]
GpuLayers = Annotated[
    str, typer.Option("--gpu-layers", metavar="N|auto", help="Layers on the GPU; auto: as many as fit, 0: none.")
]
Workspace = Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The only folder for file tools.")]


def resolve(
    pack: str = "",
    models: Sequence[str] | None = None,
    adapters: Sequence[str] | None = None,
    **flags: Any,
) -> Setup:
    """The setup that flags and settings ask for; a flag that is None or empty leaves the setting.

    Raises:
        UsageError, ConfigError: a flag or setting does not fit.
    """
    from umi_local.backends.server import server_of
    from umi_local.errors import UsageError
    from umi_local.setups import roles_of, setup, user_settings

    settings = changed(user_settings(), {name: value for name, value in flags.items() if value not in (None, "")})
    files: dict[Role, Path] = {}
    servers: dict[Role, Server] = {}
    for roles, value in by_role("--model", models):
        if "://" in value:
            servers |= dict.fromkeys(roles, server_of(value))
            files = {role: file for role, file in files.items() if role not in roles}
        else:
            files |= dict.fromkeys(roles, existing("--model", value))
            servers = {role: server for role, server in servers.items() if role not in roles}
    own: dict[Role, Path] = {}
    for roles, value in by_role("--adapter", adapters):
        if not any(role in roles_of(settings.mode) and role not in servers for role in roles):
            raise UsageError(
                f"--adapter {value} has no model to go with: a server plays that role.",
                "Load it on the server, or name a model file with --model.",
            )
        own |= dict.fromkeys(roles, existing("--adapter", value))
    return setup(settings, pack, files, own, servers)


def changed(settings: Settings, flags: Mapping[str, Any]) -> Settings:
    from pydantic import ValidationError

    from umi_local.errors import UsageError

    try:
        return type(settings).model_validate({**settings.model_dump(), **flags})
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        told = [
            each["msg"].lower() for each in error.errors() if each["loc"][0] == name
        ]  # one for each form it may have
        flag = f"--{name}".replace("_", "-")
        raise UsageError(f"{flag}: {', or '.join(told)}.") from None


def by_role(flag: str, pairs: Sequence[str] | None) -> Iterator[tuple[Sequence[Role], str]]:
    """`ROLE=VALUE` words as roles and value; a word without a role names every role.

    Raises:
        UsageError: an unknown role.
    """
    from umi_local.errors import UsageError
    from umi_local.messages import Role

    known = {role.value: role for role in Role}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or "/" in name:
            name, value = "", pair
        if name and name not in known:
            raise UsageError(f"{flag} {pair}: there is no role {name!r}.", f"The roles are: {', '.join(known)}.")
        yield ([known[name]] if name else list(Role)), value


def folder(workspace: Path) -> Path:
    """The workspace that a flag names, by its whole path: the folder in which a command began may go away.

    Raises:
        UsageError: it is no folder.
    """
    from umi_local.errors import UsageError

    try:
        found = workspace.expanduser().absolute()
        there = found.is_dir()
    # Where we are is gone already, a folder on the way is closed to us, or nobody's home is known.
    except (OSError, RuntimeError):
        there = False
    if not there:
        raise UsageError(f"The workspace {workspace} is not a folder.", "Name one with --workspace DIR.")
    return found


def existing(flag: str, file: str) -> Path:
    """The file that a flag names. Raises UsageError if it is not there."""
    from umi_local.errors import UsageError
    from umi_local.paths import is_file

    try:
        path = Path(file).expanduser()
    except RuntimeError:  # ~nobody
        path = Path(file)
    if not is_file(path):
        raise UsageError(f"{flag} {file}: there is no file {file}.", "Check the path.")
    return path.absolute()


def tool_names(text: str | None) -> list[str] | None:
    """`a,b` as a list; None stays None. An empty text means no tools at all."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def say_where_text_goes(wanted: Setup) -> None:
    """On stderr, for commands that show no events."""
    from umi_local.assemble import tell_of_servers
    from umi_local.events import Warned
    from umi_local.plain import printable

    def say(event: object) -> None:
        if isinstance(event, Warned):
            typer.echo(printable(event.text), err=True)

    tell_of_servers(wanted, say)


def pull_missing(wanted: Setup, redraws: bool = True) -> None:
    """Fetch the files that a run needs, saying first what and how large."""
    from umi_local.cli.progress import download_progress
    from umi_local.pull import pull

    files = wanted.missing()
    if not files:
        return
    size = sum(file.bytes for file in files) / 1e6
    typer.echo(f"The pack {wanted.pack_name} is not here yet: fetching {size:,.0f} MB, once.", err=True)
    for file in files:
        with download_progress(redraws) as on_progress:
            pull(file, on_progress)
