"""`umi-local doctor`: what there is to know when something does not work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """\b
    Examples:
      umi-local doctor
      umi-local doctor --json

    Show versions, this machine, what the installed llama.cpp can compute on, the folders, the settings with where each
    comes from, which models are here, and whether MCP servers answer, which are started for it. Nothing in it is
    secret: it is fit for a bug report.
    """
    from umi_local.doctor import examination
    from umi_local.plain import as_json, printable

    found = examination()
    typer.echo(as_json(found) if json_output else printable("\n".join(_lines(found))))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for subject, facts in found.items():
        if isinstance(facts, Mapping):
            yield f"{subject.replace('_', ' ')}"
            yield from (f"  {name:<24} {_said(name, value)}" for name, value in _flat(facts))
        elif isinstance(facts, list) and facts:
            yield subject.replace("_", " ")
            yield from (f"  {fact}" for fact in facts)


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and set(value) == {"value", "from"}:
            yield f"{before}{name}", f"{value['value']}  ({value['from']})"
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for entry in value:
                yield from _flat({k: v for k, v in entry.items() if k != "name"}, f"{entry['name']} ")
        else:
            yield f"{before}{name}".removeprefix("values ").removeprefix("files "), value


def _said(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith(("bytes", "free", "total")) and isinstance(value, int):
        return f"{value / 1e9:,.1f} GB"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
