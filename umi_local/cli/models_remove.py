"""`umi-local models rm`: a pack's files, or a pack of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli.models_known import PackArgument, all_packs, files_of, megabytes

if TYPE_CHECKING:
    from umi_local.manifest import RolePack


def remove(
    name: PackArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove also what other packs here use.")] = False,
) -> None:
    """\b
    Examples:
      umi-local models rm smollm2-135m
      umi-local models rm --yes smollm2-135m

    Remove the files of a pack, after asking, and what a broken-off pull left of them. Files that another pack
    here needs stay. Of a pack that `umi-local convert` made, the pack itself goes; its models stay where they lie.
    """
    from umi_local.own_packs import made_here, remove_pack
    from umi_local.packs import load_pack
    from umi_local.pull import path_of
    from umi_local.pull import remove as remove_file

    pack = load_pack(name)
    users = {} if force else _other_users(pack)
    doomed = [file for file in files_of(pack) if not file.shipped and path_of(file).parent.exists()]
    for file in doomed:
        if file.sha256 in users:
            typer.echo(f"Kept {file.filename}: {users[file.sha256]} uses it (--force removes it).", err=True)
    doomed = [file for file in doomed if file.sha256 not in users]
    manifest = made_here(pack)
    if not doomed and manifest is None:
        typer.echo("There is nothing to remove.", err=True)
        return
    _confirm(
        [(megabytes(file.bytes), path_of(file)) for file in doomed] + ([("pack", manifest)] if manifest else []), yes
    )
    for file in doomed:
        remove_file(file)
        typer.echo(f"Removed {file.filename}.", err=True)
    if manifest:
        remove_pack(manifest)
        typer.echo(f"Removed the pack {pack.name}. Its models stay where they lie.", err=True)


def _other_users(pack: RolePack) -> dict[str, str]:
    """By sha256, another pack whose files are all here and that uses it."""
    from umi_local.pull import missing

    others = [other for other in all_packs() if other.name != pack.name]
    whole = [other for other in others if not any(map(missing, other.files.values()))]
    return {file.sha256: other.name for other in whole for file in other.files.values()}


def _confirm(doomed: list[tuple[str, Path]], yes: bool) -> None:
    """Show what would go, each with its size or kind, and ask; nothing is asked with `yes`."""
    from umi_local.cli.approve import confirmed, interactive
    from umi_local.errors import UsageError

    if yes:
        return
    if not interactive():
        raise UsageError("Nobody can be asked here whether to remove this.", "Run again with --yes.")
    for size, path in doomed:
        typer.echo(f"{size:>8}  {path}", err=True)
    if not confirmed("Remove this?"):
        raise typer.Exit(1)
