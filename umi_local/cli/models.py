"""`umi-local models`: the packs there are, and their files on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli.models_known import OptionalPack, PackArgument, all_packs, files_of, megabytes
from umi_local.cli.models_remove import remove
from umi_local.cli.models_vet import vet

if TYPE_CHECKING:
    from umi_local.manifest import PackFile, RolePack, Source

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local models list
      umi-local models pull smollm2-135m
      umi-local models verify
      umi-local models vet downloaded.gguf

    A pack says which model file and adapter plays each role. Its files are fetched once, checked by their
    sha256, and used from this machine alone.
    """,
)


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


app.command(short_help="Check a GGUF from anywhere.")(vet)
app.command("rm", short_help="Remove a pack's files, or a pack of your own.")(remove)


@app.command("list", short_help="List the packs and say which are here.")
def list_packs(as_json: JsonOption = False) -> None:
    """\b
    Examples:
      umi-local models list
      umi-local models list --json

    List the packs: name (* is the default), size, how much of it is here, description.
    """
    from umi_local import plain

    default = _default()
    rows: list[dict[str, Any]] = [
        {
            "name": pack.name,
            "default": pack.name == default,
            "bytes": sum(file.bytes for file in _fetched(pack)),
            "state": _state(_fetched(pack)),
            "description": pack.description,
        }
        for pack in all_packs()
    ]
    if as_json:
        typer.echo(plain.as_json(rows))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        mark = "*" if row["default"] else " "
        line = f"{row['name']:<{width}} {mark} {megabytes(row['bytes']):>8}  {row['state']:<12}  {row['description']}"
        typer.echo(plain.printable(line))


@app.command(short_help="Fetch a pack's files.")
def pull(name: OptionalPack = "") -> None:
    """\b
    Examples:
      umi-local models pull
      umi-local models pull smollm2-135m

    Fetch the files of a pack (none named: the default one) and print where they lie. A pull that breaks off goes
    on from there when it is run again.
    """
    from umi_local.cli.progress import download_progress
    from umi_local.packs import load_pack
    from umi_local.pull import pull as pull_file

    for file in files_of(load_pack(name or _default())):
        with download_progress() as on_progress:
            path = pull_file(file, on_progress)
        typer.echo(path)


@app.command(short_help="Check a pack's files against their sha256.")
def verify(name: OptionalPack = "") -> None:
    """\b
    Examples:
      umi-local models verify
      umi-local models verify smollm2-135m

    Read the files of a pack (none named: all that were fetched) and check that they are what the manifest promises.
    """
    from umi_local.cli.progress import download_progress
    from umi_local.packs import load_pack
    from umi_local.pull import FileState, missing, path_of
    from umi_local.pull import verify as verify_file

    files = (
        files_of(load_pack(name))
        if name
        else tuple(f for f in files_of(*all_packs()) if not missing(f) and not f.shipped)
    )
    bad: list[PackFile] = []
    for file in files:
        with download_progress() as on_progress:
            state = verify_file(file, on_progress)
        typer.echo(f"{state:<8}  {path_of(file)}")
        if state is not FileState.VERIFIED:
            bad.append(file)
    if not files:
        typer.echo("No model is here yet. Fetch one: umi-local models pull", err=True)
    if bad:
        raise _bad_files(bad)


@app.command(short_help="Print what a pack is made of.")
def show(name: PackArgument, as_json: JsonOption = False) -> None:
    """\b
    Examples:
      umi-local models show qwen2.5-coder-0.5b
      umi-local models show qwen2.5-coder-0.5b --json

    Print a pack: its roles, and of each file the size, licence, sha256, sources and place.
    """
    from umi_local import plain
    from umi_local.packs import load_pack

    pack = load_pack(name)
    if as_json:
        typer.echo(plain.as_json(_as_data(pack)))
    else:
        typer.echo(plain.printable("\n".join(_described(pack))))


def _default() -> str:
    from umi_local.setups import default_pack, user_settings

    return default_pack(user_settings())


def _fetched(pack: RolePack) -> list[PackFile]:
    """The files that do not come with umi-local itself."""
    return [file for file in pack.files.values() if not file.shipped]


def _bad_files(bad: list[PackFile]) -> Exception:
    from umi_local.errors import ModelCorrupt, ModelMissing
    from umi_local.pull import missing, restored

    names = ", ".join(file.filename for file in bad)
    again = " ".join(dict.fromkeys(restored(file) or f"Run: umi-local models pull {file.pack}" for file in bad))
    if all(map(missing, bad)):
        return ModelMissing(f"Not here: {names}.", again)
    return ModelCorrupt(f"Not what the manifest promises: {names}.", again)


def _state(files: Iterable[PackFile]) -> str:
    from umi_local.pull import bytes_to_fetch, missing, path_of

    files = tuple(files)
    if not any(map(missing, files)):
        wrong = [file for file in files if path_of(file).stat().st_size != file.bytes and not file.shipped]
        return "damaged" if wrong else "here"
    percent = 100 - 100 * sum(map(bytes_to_fetch, files)) // sum(file.bytes for file in files)
    return f"{percent} % here" if percent else "not here"


def _as_data(pack: RolePack) -> dict[str, Any]:
    from umi_local.pull import path_of

    data = pack.model_dump(mode="json", exclude_none=True)
    for name, file in pack.files.items():
        data["files"][name] |= {"path": str(path_of(file)), "state": _state([file])}
    return data


def _described(pack: RolePack) -> list[str]:
    from umi_local.pull import path_of

    lines = [f"{pack.name}: {pack.description}", f"licence  {pack.licence}"]
    lines.append(f"prompts  style {pack.style}, markup {pack.markup}, context {pack.context:,} tokens")
    for role, entry in pack.roles:
        if entry is not None:
            lines.append(f"{role:<10} {entry.model}" + (f" with adapter {entry.adapter}" if entry.adapter else ""))
    for name, file in pack.files.items():
        lines += ["", f"{name}  {file.filename} ({file.kind}, {file.bytes:,} bytes, {file.licence}, {_state([file])})"]
        lines += [f"  sha256  {file.sha256}", f"  place   {path_of(file)}"]
        lines += [f"  source  {_source(source)}" for source in file.sources]
    return lines


def _source(source: Source) -> str:
    match source.type:
        case "huggingface":
            return f"Hugging Face {source.repo} at {source.revision}, {source.path}"
        case "pypi":
            return "PyPI " + ", ".join(f"{wheel.name}=={wheel.version}" for wheel in source.wheels)
        case "local":
            return f"this machine, {source.path}"
        case _:
            return f"beside the manifest, {source.path}"
