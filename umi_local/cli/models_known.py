"""The packs of this machine and their files, as the commands of `umi-local models` see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli import completing

if TYPE_CHECKING:
    from umi_local.manifest import PackFile, RolePack


_PACK = typer.Argument(
    metavar="NAME|FILE",
    show_default=False,
    autocompletion=completing.packs,
    help="A pack's name, or a manifest of your own.",
)
PackArgument = Annotated[str, _PACK]
OptionalPack = Annotated[str, _PACK]


def all_packs() -> list[RolePack]:
    """Every pack that can be read; of the others the reason goes to stderr, for one must not hide the rest."""
    from umi_local.errors import ConfigError
    from umi_local.packs import load_pack, pack_names
    from umi_local.plain import printable

    packs = []
    for name in pack_names():
        try:
            packs.append(load_pack(name))
        except ConfigError as error:
            typer.echo(f"warning: {printable(str(error))}", err=True)
    return packs


def files_of(*packs: RolePack) -> tuple[PackFile, ...]:
    return tuple({file.sha256: file for pack in packs for file in pack.files.values()}.values())


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
