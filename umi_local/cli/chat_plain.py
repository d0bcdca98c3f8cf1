"""The chat line by line, for screen readers and pipes: no boxes, no redraws, roles in words, numbered choices."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from umi_local.assemble import known_tools
from umi_local.chat_commands import COMMANDS, LEAVE, count_of, export, is_command, last_code, session_line, tool_line
from umi_local.cli.approve import choice, confirmed, interactive
from umi_local.cli.choices import pull_missing
from umi_local.cli.console import StepPrinter
from umi_local.conversation import Conversation, Verdict, offered
from umi_local.errors import UmiError, UsageError
from umi_local.packs import pack_names
from umi_local.permissions import forget
from umi_local.plain import printable
from umi_local.setups import setup
from umi_local.toolbox import ApprovalRequest


def line_by_line(conversation: Conversation) -> None:
    """Questions from standard input, a line each; answers on standard output, all else on standard error."""
    if interactive():
        conversation.approve = _asked
        _tell("Plain chat. A question a line; /help lists the commands, /quit or the end of input leaves.")
    try:
        while line := _read_line():
            said = line.strip()
            if said.split(" ")[0] in LEAVE:
                break
            try:
                if is_command(said):
                    _command(conversation, said)
                elif said:
                    _ask(conversation, said)
            except KeyboardInterrupt:
                _tell("Stopped. What was said so far is kept; /quit leaves.")
            except UmiError as error:
                _tell(str(error))
    finally:
        conversation.close()


def _ask(conversation: Conversation, question: str) -> None:
    run, _ = conversation.ask(question, StepPrinter(redraws=False))
    typer.echo(printable(run.answer) if run.answer else f"No answer: {run.stop}.")


def _command(conversation: Conversation, line: str) -> None:
    name, _, argument = line.partition(" ")
    argument = argument.strip()
    match name:
        case "/new":
            conversation.new()
            _tell("A new session.")
        case "/sessions":
            found = [f"{session.id}  {session_line(session)}" for session in conversation.store.list(50, argument)]
            _tell("\n".join(found) or "No session matches.")
        case "/resume":
            conversation.resume(argument)
            _tell(f"Session {conversation.session}, {len(conversation.runs())} questions so far.")
        case "/remove":
            _remove(conversation, argument)
        case "/again" if runs := conversation.runs():
            _ask(conversation, runs[-1].query)
        case "/edit":
            question = conversation.take_back(count_of(argument))
            _tell(f"Taken back; the session as it was is kept. Ask this in other words: {question}")
        case "/tools":
            _tools(conversation, argument)
        case "/pack":
            _pack(conversation, argument)
        case "/help":
            _tell("\n".join(f"{command:<18} {what}" for command, what in COMMANDS.items()))
        case "/theme":
            _tell("There are no colours here; /theme is for the screen's chat.")
        case "/rename" | "/export" | "/copy" | "/find" | "/again":
            _of_session(conversation, name, argument)
        case _:
            _tell(f"There is no command {name}. /help lists them.")


def _remove(conversation: Conversation, prefix: str) -> None:
    """Remove the session whose id begins so, once a person has confirmed it."""
    if not prefix:
        raise UsageError("/remove wants a session's id.", "/sessions lists them.")
    session = conversation.store.get(prefix)
    if not interactive():
        raise UsageError(
            "Nobody can be asked here whether to remove this.", f"umi-local sessions rm --yes {session.id} does it."
        )
    if confirmed(f"Remove {session.id}, {session_line(session)}, for good?"):
        conversation.store.remove(session.id)
        forget(session.id)
        if conversation.session == session.id:
            conversation.new()
        _tell("Removed.")


def _of_session(conversation: Conversation, name: str, argument: str) -> None:
    """What is done with the session that is open."""
    runs = conversation.runs()
    if not runs:
        _tell("Nothing was asked yet.")
    elif name == "/copy":
        # There is no clipboard to trust here: it is printed again, alone.
        answer = next((run.answer for run in reversed(runs) if run.answer), "")
        text = last_code(answer) if argument == "code" else answer
        typer.echo(printable(text)) if text else _tell("There is nothing to copy in the last answer.")
    elif not argument:
        _tell(f"{name} wants a word more; see /help.")
    elif name == "/rename":
        conversation.store.rename(conversation.session, argument)
        _tell(f"This session is called {argument}.")
    elif name == "/export":
        export(conversation.store, conversation.session, Path(argument))
        _tell(f"Written to {argument}.")
    else:
        found = [
            f"question {number}: {run.query}\nanswer: {run.answer}"
            for number, run in enumerate(runs, 1)
            if argument.casefold() in f"{run.query}\n{run.answer}".casefold()
        ]
        _tell("\n".join(found) or "Nothing in this session says that.")


def _tools(conversation: Conversation, names: str) -> None:
    if names:
        conversation.choose_tools([name.strip() for name in names.split(",") if name.strip()])
    listed = {tool.name for tool in conversation.tools}
    for tool in known_tools():
        _tell(f"{'listed' if tool.name in listed else 'off':<7} {tool_line(tool)}")


def _pack(conversation: Conversation, name: str) -> None:
    if name and name != conversation.wanted.pack_name:
        pull_missing(setup(conversation.wanted.settings, name), redraws=False)
        conversation.play_with(name)
    _tell(f"{conversation.wanted.pack_name} answers. There are: {', '.join(pack_names())}.")


def _tell(text: str) -> None:
    typer.echo(printable(text), err=True)


def _read_line() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("you: ")
        sys.stderr.flush()
    return sys.stdin.readline()


def _asked(request: ApprovalRequest) -> Verdict:
    """The approval as numbered choices; Enter alone denies."""
    told = {
        Verdict.ONCE: "allow once",
        Verdict.SESSION: f"allow every call of {request.tool} for this session",
        Verdict.DENY: "deny",
        Verdict.ALWAYS: f"always allow {request.always}",
    }
    # Each answer keeps its number, whatever else is offered.
    named = {str(number): verdict for number, verdict in enumerate(told, 1) if verdict in offered(request)}
    return named[choice(request, {key: told[verdict] for key, verdict in named.items()}, default="3")]
