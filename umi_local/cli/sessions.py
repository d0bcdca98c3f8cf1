"""`umi-local sessions`: what was asked and answered before."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli import completing

if TYPE_CHECKING:
    from umi_local.sessions import Session

_PIPED_WIDTH = 400

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local sessions list --search invoice
      umi-local sessions show 20261123-18
      umi-local sessions export 20261123-18 --out talk.md
      umi-local sessions undo

    Conversations are saved on this machine alone. An ID may be cut short as long as it is the only one that
    begins so.
    """,
)


class Form(StrEnum):
    MARKDOWN = "markdown"
    JSON = "json"


Limit = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many at most.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", show_default=False, autocompletion=completing.sessions, help="A session's id or its beginning."
    ),
]


@app.command("list", short_help="List sessions, last used first.")
def list_sessions(
    search: Annotated[str, typer.Option(metavar="TEXT", help="Only where title, question or answer has it.")] = "",
    limit: Limit = 20,
    as_json: JsonOption = False,
) -> None:
    """\b
    Examples:
      umi-local sessions list
      umi-local sessions list --search invoice --json

    List sessions, last used first: id, when it was used (local time), number of questions, how the last one
    ended, title (the first question until it is renamed).
    """
    from umi_local import plain
    from umi_local.sessions import open_store

    found = open_store().list(limit=limit, search=search)
    if as_json:
        typer.echo(plain.as_json([session.to_json() for session in found]))
        return
    if not found:
        typer.echo("No session matches." if search else "There is no session yet.", err=True)
    for session in found:
        typer.echo(_line(session))


@app.command(short_help="Print a session.")
def show(session_id: IdArgument, as_json: JsonOption = False) -> None:
    """\b
    Examples:
      umi-local sessions show 20261123-18

    Print a session: each question, the steps taken for it, the answer.
    """
    typer.echo(_exported(session_id, Form.JSON if as_json else Form.MARKDOWN), nl=False)


@app.command(short_help="Write a session to a file.")
def export(
    session_id: IdArgument,
    form: Annotated[Form, typer.Option("--format", help="For a reader or for a program.")] = Form.MARKDOWN,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; default: standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """\b
    Examples:
      umi-local sessions export 20261123-18 --out talk.md
      umi-local sessions export 20261123-18 --format json > talk.json

    Write a session, with every step, as Markdown or JSON.
    """
    text = _exported(session_id, form)
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text, force)


@app.command(short_help="Take back the last change of a file.")
def undo(
    session_id: Annotated[
        str, typer.Argument(metavar="[ID]", show_default=False, help="Of all sessions if left out.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also where the file was changed since.")] = False,
) -> None:
    """\b
    Examples:
      umi-local sessions undo
      umi-local sessions undo 20261123-18

    Put a file back to what it was before the agent's last change, in a session or at all; again for the change
    before that.
    """
    from umi_local.errors import UsageError
    from umi_local.permissions import journal_of, last_changed
    from umi_local.plain import visible
    from umi_local.sessions import open_store

    session = open_store().get(session_id).id if session_id else last_changed()
    journal = journal_of(session)
    undone = journal.undo(force) if journal else None
    if undone is None:
        which = f"Session {session}" if session else "No session"
        raise UsageError(f"{which} has changed no file that could be put back.", "See umi-local sessions list.")
    if undone.problem:
        raise UsageError(f"{undone.path} was left as it is: {undone.problem}.")
    typer.echo(f"{visible(str(undone.path))} is as it was before.")


@app.command(short_help="Print what was allowed and what was not.")
def audit(
    limit: Limit = 20,
    as_json: JsonOption = False,
) -> None:
    """\b
    Examples:
      umi-local sessions audit
      umi-local sessions audit --json

    Print the last decisions on tool calls, oldest first: when, tool, allowed or refused, by whom or which rule.
    """
    from umi_local import plain
    from umi_local.paths import audit_file
    from umi_local.toolbox import AuditLog

    lines = list(AuditLog(audit_file()).lines())[-limit:]
    if as_json:
        typer.echo(plain.as_json(lines))
        return
    for line in lines:
        by = f"rule {line['rule']}" if line["by"] == "rule" else line["by"]
        after = ", after outside text" if line["tainted"] else ""
        typer.echo(plain.printable(f"{line['time']}  {line['decision']:<8} {line['tool']}  by {by}{after}"))


@app.command(short_help="Call a session something.")
def rename(
    session_id: IdArgument,
    title: Annotated[str, typer.Argument(show_default=False, help="What lists call it; empty: its first question.")],
) -> None:
    """\b
    Examples:
      umi-local sessions rename 20261123-18 "Tax papers"
      umi-local sessions rename 20261123-18 ""

    Call a session something. Lists and searches know it by that.
    """
    from umi_local.sessions import open_store

    open_store().rename(session_id, title)


@app.command("rm", short_help="Remove sessions for good.")
def remove(
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", show_default=False, help="Which sessions.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """\b
    Examples:
      umi-local sessions rm 20261123-18
      umi-local sessions rm --yes 20261123-18 20261124-09

    Remove sessions for good, after asking.
    """
    from umi_local.cli.approve import confirmed, interactive
    from umi_local.errors import UsageError
    from umi_local.permissions import forget
    from umi_local.sessions import open_store

    store = open_store()
    doomed = {session.id: session for session in map(store.get, session_ids)}
    if not yes:
        if not interactive():
            raise UsageError("Nobody can be asked here whether to remove this.", "Run again with --yes.")
        typer.echo("\n".join(map(_line, doomed.values())), err=True)
        if not confirmed(f"Remove {'this session' if len(doomed) == 1 else f'these {len(doomed)} sessions'}?"):
            raise typer.Exit(1)
    for session_id in doomed:
        store.remove(session_id)
        forget(session_id)
        typer.echo(f"Removed {session_id}.", err=True)


def _exported(session_id: str, form: Form) -> str:
    from umi_local.sessions import open_store

    return open_store().export(session_id, form.value)


def _line(session: Session) -> str:
    from umi_local.plain import printable

    title = " ".join(printable(session.title).split())
    used = session.used.astimezone().strftime("%Y-%m-%d %H:%M")
    line = f"{session.id}  {used}  {session.runs:>3}  {session.state:<12}  {title}"
    return line[: shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_WIDTH]


def _write(out: Path, text: str, force: bool) -> None:
    """Write the file whole or not at all.

    Raises:
        UsageError: it is there already, and `force` is not given.
        StorageError: it cannot be written.
    """
    from umi_local import atomic
    from umi_local.errors import StorageError, UsageError

    if out.exists() and not force:
        raise UsageError(f"{out} is there already.", "Overwrite it with --force, or give another --out.")
    try:
        atomic.write(out, text.encode())
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror}.", "Give another --out.") from error
