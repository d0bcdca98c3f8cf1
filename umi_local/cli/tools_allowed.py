"""`umi-local tools allowed | revoke`: the calls that were answered with "always", and taking that back."""

from __future__ import annotations

from typing import Annotated

import typer

from umi_local.cli import completing


def register(app: typer.Typer) -> None:
    """Put the commands into `umi-local tools`."""
    app.command(short_help="List the calls that were allowed for good.")(allowed)
    app.command(short_help="Let a call that was allowed for good ask again.")(revoke)


def allowed(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """\b
    Examples:
      umi-local tools allowed

    List the calls to which you said "always", one rule a line. Rules of config.toml are not among them.
    """
    from umi_local import plain
    from umi_local.permissions import kept_rules

    rules = [str(rule) for rule in kept_rules()]
    if as_json:
        typer.echo(plain.as_json(rules))
        return
    for rule in rules:
        typer.echo(plain.visible(rule))
    if not rules:
        typer.echo("No call was allowed for good.", err=True)


def revoke(
    rules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RULE...",
            show_default=False,
            autocompletion=completing.kept_rules,
            help="As `tools allowed` has it.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """\b
    Examples:
      umi-local tools revoke 'write_file(path=notes.txt)'
      umi-local tools revoke --all

    Let calls that were allowed for good ask again, from the next question on.
    """
    from umi_local.errors import UsageError
    from umi_local.permissions import kept_rules, take_back

    if bool(rules) == everything:
        raise UsageError("Say which call is to ask again.", "Name rules of umi-local tools allowed, or give --all.")
    for rule in rules or dict.fromkeys(str(kept) for kept in kept_rules()):
        take_back(rule)
        typer.echo(f"Asks again: {rule}", err=True)
