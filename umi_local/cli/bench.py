"""`umi-local bench`: how close the agent comes to what this machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli import choices

if TYPE_CHECKING:
    from umi_local.bench import Bench

_COLUMNS = {"evaluated": 11, "reused": 9, "sampled": 9, "forced": 8, "drafted": 9, "accepted": 9}


def bench(
    naive: Annotated[
        bool, typer.Option("--naive", help="Also the paper's way: every role reads its whole prompt.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout instead of the table.")
    ] = False,
    pack: choices.Pack = "",
    model: choices.Models = None,
    adapter: choices.Adapters = None,
    gpu_layers: choices.GpuLayers = "",
) -> None:
    """\b
    Examples:
      umi-local bench
      umi-local bench --naive --json

    Measure this machine's reading and writing, then the agent on recorded runs with each feature on and off. What the
    roles write is as recorded, so every setting, machine and version does the same work. Ratios hold better than
    seconds on a machine that does other things as well. A few minutes on a laptop; longer with --naive.
    """
    from umi_local.bench import bench as measure
    from umi_local.errors import UsageError
    from umi_local.plain import as_json

    wanted = choices.resolve(pack, model, adapter, mode="multi", gpu_layers=gpu_layers)
    if wanted.served_roles:
        raise UsageError("bench measures models on this machine.", "Leave out --model with a server's address.")
    if len(set(wanted.models.values())) > 1 or (wanted.models and wanted.pack):
        raise UsageError("bench measures one model at a time.", "Name one --model for all roles, or a pack.")
    choices.pull_missing(wanted)
    found = measure(wanted, naive, lambda what: typer.echo(f"measuring: {what}", err=True))
    typer.echo(as_json(found.to_json()) if json_output else table(found))


def table(found: Bench) -> str:
    """The figures for a reader."""
    told = found.to_json()
    limits, memory = told["limits"], told["memory_bytes"]
    lines = [
        f"reading {limits['read_tokens_per_s']:.0f} tokens/s, writing {limits['write_tokens_per_s']:.0f} tokens/s"
        f" with no agent around; the runs have {told['distinct_tokens']:,} tokens to read",
        "",
        f"{'':<26}{'seconds':>9}{''.join(f'{key:>{width}}' for key, width in _COLUMNS.items())}",
    ]
    for name, row in told["settings"].items():
        counts = "".join(f"{row[f'{key}_tokens']:>{width},}" for key, width in _COLUMNS.items())
        lines.append(f"{name:<26}{row['seconds']:>9.1f}{counts}")
    first = told["first_word_s"]
    lines += [
        "",
        f"first word after {first['first']:.1f} s, in the next process after {first['second']:.1f} s;"
        f" memory beyond model file and cache {_megabytes(memory['beyond_model_and_cache'])}",
        "",
        *(f"{name:<24}{'-' if value is None else f'{value:.3f}':>8}" for name, value in told["ratios"].items()),
    ]
    return "\n".join(lines)


def _megabytes(count: int | None) -> str:
    return "not known on this system" if count is None else f"{count / 1e6:.0f} MB"
