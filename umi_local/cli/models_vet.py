"""`umi-local models vet`: look at a GGUF before anything native does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_ORIGIN = "umi_local.convert."


def vet(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="GGUF files from anywhere.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """\b
    Examples:
      umi-local models vet downloaded.gguf
      umi-local models vet *.gguf --json

    Check a GGUF's header and the place of each tensor, in Python, and say what it is. Every load does the same for a
    file that no sha256 pins. The first file that is not sound ends the command with a sentence and code 3.
    """
    from umi_local import plain
    from umi_local.convert.vet import vet_gguf

    rows = [_row(path, vet_gguf(path)) for path in files]
    if as_json:
        typer.echo(plain.as_json(rows))
        return
    for row in rows:
        line = f"sound  {row['file']}  {row['architecture']}  {row['tensor_bytes'] / 1e6:,.0f} MB of tensors"
        line += f"  context {row['context_length']:,}" if row["context_length"] else ""
        line += f"  from {row['source']}" if row["source"] else ""
        typer.echo(plain.printable(line))


def _row(path: Path, header: Any) -> dict[str, Any]:
    return {
        "file": str(path),
        "architecture": header.architecture or str(header.metadata.get("general.type", "")),
        "name": header.name,
        "context_length": header.context_length,
        "tensor_bytes": header.tensor_bytes,
        "source": str(header.metadata.get(f"{_ORIGIN}source", "")),
        "revision": str(header.metadata.get(f"{_ORIGIN}revision", "")),
    }
