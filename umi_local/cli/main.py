"""The entry point: registers the commands and turns what goes wrong into a sentence and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from umi_local.cli import config, convert, models, sessions, tools, train
from umi_local.cli import eval as eval_command
from umi_local.cli.approve import is_terminal
from umi_local.cli.ask import ask
from umi_local.cli.bench import bench
from umi_local.cli.chat import chat
from umi_local.cli.doctor import doctor
from umi_local.cli.serve import serve
from umi_local.errors import UmiError
from umi_local.plain import printable

INTERRUPTED = 130  # typer's code for Ctrl-C

# rich would cost more time than all the rest of --help, and adds nothing to plain text.
app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help="Answer one question.")(ask)
app.command(short_help="Open the chat.")(chat)
app.command(short_help="Offer the agent to other programs.")(serve)
app.add_typer(models.app, name="models", short_help="Fetch, list and remove models.")
app.add_typer(tools.app, name="tools", short_help="List the tools, show one, run one.")
app.add_typer(sessions.app, name="sessions", short_help="List, show, export and remove saved conversations.")
app.add_typer(convert.app, name="convert", short_help="Turn Hugging Face checkpoints and adapters into GGUF.")
app.add_typer(train.app, name="train", short_help="Train the roles' adapters.")
app.add_typer(eval_command.app, name="eval", short_help="Score a pack on tasks.")
app.command(short_help="Measure the agent against this machine's limits.")(bench)
app.add_typer(config.app, name="config", short_help="Show, check or begin the settings.")
app.command(short_help="Show what there is to know when something does not work.")(doctor)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from umi_local import __version__

    try:
        backend = version("llama-cpp-python")
    except PackageNotFoundError:
        backend = "not installed"
    typer.echo(f"umi-local {__version__}\nllama-cpp-python {backend}")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """\b
    Examples:
      umi-local models pull
      umi-local ask "How many days are there until 1 May?"
      umi-local tools list

    An agent that runs on this machine alone: a planner, a caller and a summarizer on one small model.
    """
    if context.invoked_subcommand is not None:
        return
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        context.invoke(chat)
    else:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that its result has (see `umi_local.errors`)."""
    given, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    _any_text()
    try:
        code = _code_of(given, debug)
        if code == INTERRUPTED:
            print("\nInterrupted; what was done so far is kept.", file=sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        code = 1
    sys.exit(code)


def _code_of(arguments: Sequence[str], debug: bool) -> int:
    try:
        app(list(arguments), prog_name="umi-local")
    except UmiError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Whoever wants the traceback of the last command appends --debug to it, after whatever subcommand it was."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    kept = [argument for argument in own if argument != "--debug"]
    return [*kept, *arguments[len(own) :]], len(kept) < len(own)


def _any_text() -> None:
    """A character that a console does not have is shown as an escape, and a byte that is no text is read as a mark."""
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _discard_output() -> None:
    """The reader is gone; without this the interpreter would try, and complain, once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
