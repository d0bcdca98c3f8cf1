"""The commands of the screen's chat: what each does with the app."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from umi_local.chat_commands import COMMANDS, LEAVE, count_of, export, last_code
from umi_local.errors import UmiError
from umi_local.plain import printable
from umi_local.tui.appearance import theme_named
from umi_local.tui.cards import AnswerCard
from umi_local.tui.editor import from_editor
from umi_local.tui.packs import PacksScreen
from umi_local.tui.screens import SessionsScreen
from umi_local.tui.tools import ToolsScreen

if TYPE_CHECKING:
    from umi_local.tui.app import ChatApp


BUSY = "An answer is being written; Esc stops it."
# They change nothing of the conversation.
_BESIDE = ("/help", "/find", "/copy", "/theme", *LEAVE)


def works_beside_a_run(text: str) -> bool:
    return text.split(maxsplit=1)[0] in _BESIDE


async def run_command(app: ChatApp, text: str) -> bool:
    """Do what a line that begins with a slash says; False, and told in the corner, where that cannot be done."""
    name, _, argument = text.partition(" ")
    argument = argument.strip()
    try:
        return await _run(app, name, argument)
    except UmiError as error:
        app.tell(error)
        return False


async def _run(app: ChatApp, name: str, argument: str) -> bool:
    match name:
        case "/new":
            await app.action_new()
        case "/sessions":
            open_sessions(app, argument)
        case "/resume":
            if argument:
                await _resume(app, argument)
            else:
                open_sessions(app)
        case "/remove":
            open_sessions(app, only=app.conversation.store.get(argument).id if argument else "")
        case "/rename":
            _rename(app, argument)
        case "/again":
            if app.question.asked:
                await app.ask(app.question.asked[-1])
            else:
                app.notify("Nothing was asked yet.", severity="warning")
        case "/edit":
            await _edit(app, argument)
        case "/tools":
            _choose_tools(app, argument)
        case "/pack":
            choose_pack(app, argument)
        case "/export":
            _export(app, argument)
        case "/copy":
            copy_answer(app, code=argument == "code")
        case "/find":
            if not app.transcript.find(argument):
                app.notify(
                    "Nothing on the screen says that. /sessions TEXT looks in all that is stored.", severity="warning"
                )
        case "/theme":
            app.theme = theme_named(argument)
        case "/help":
            app.action_help()
        case _ if name in LEAVE:
            app.exit()
        case _:
            known = ", ".join(line.split()[0] for line in COMMANDS)
            app.notify(f"There is no command {printable(name)}. There are: {known}.", severity="warning", markup=False)
            return False
    return True


def palette(app: ChatApp) -> Iterator[SystemCommand]:
    """The commands as the palette lists them; one that wants a word more is begun in the question's line."""
    for line, about in COMMANDS.items():
        name, _, more = line.partition(" ")
        wants = bool(more) and not more.startswith("[")
        yield SystemCommand(name, about, partial(_begun if wants else _run_at_once, app, name))


def _begun(app: ChatApp, name: str) -> None:
    app.question.begin(f"{name} ")


async def _run_at_once(app: ChatApp, name: str) -> None:
    await run_command(app, name)


async def write_elsewhere(app: ChatApp) -> None:
    """Write the question in the person's own editor; what is saved there is asked."""
    if app.busy:
        app.notify(BUSY)
        return
    try:
        if text := from_editor(app, app.question.text):
            app.question.clear()
            await app.ask(text)
    except UmiError as error:
        app.tell(error)


def help_lines(keys: Sequence[str]) -> list[str]:
    """What the help says: the keys, then the commands."""
    lines = ["Keys", *keys, "ctrl+j     another line", "up, down   earlier questions", "", "Commands"]
    return [*lines, *(f"{name:<18} {what}" for name, what in COMMANDS.items())]


def open_sessions(app: ChatApp, search: str = "", only: str = "") -> None:
    """The list of sessions, or one of them, to go on with or to remove."""
    if app.busy:
        app.notify(BUSY)
    else:
        app.push_screen(SessionsScreen(app.conversation.store, search, app.keys, only), partial(_resume, app))


async def _resume(app: ChatApp, session: str | None) -> None:
    """Go on in the session whose id begins so; without one, in a new one if the open one was removed."""
    talk = app.conversation
    try:
        if talk.session and not session and talk.session not in {held.id for held in talk.store.list(10_000)}:
            await app.action_new()
        if session and not app.busy:
            talk.resume(session)
            await app.show_session()
    except UmiError as error:
        app.tell(error)


def choose_pack(app: ChatApp, name: str = "", first: bool = False) -> None:
    """Let another pack answer, once its files are here; on a `first` start there is none that could."""

    def chosen(name: str | None) -> None:
        if not name:
            if first:
                app.notify("This pack's model is not here, so it cannot answer. /pack fetches one.", severity="warning")
            return
        if name != app.conversation.wanted.pack_name:
            app.conversation.play_with(name)
            app.notify(printable(f"From now on {name} answers."), markup=False)
        app.show_status({})

    if not app.busy:
        app.push_screen(PacksScreen(app.conversation.wanted.pack_name, name, first), chosen)


def _choose_tools(app: ChatApp, names: str) -> None:
    def chosen(names: list[str] | None) -> None:
        if names is not None:
            app.conversation.choose_tools(names)
            app.notify(f"{len(names)} tools are listed from the next question on.")

    if app.busy:
        return
    if names:
        chosen([name.strip() for name in names.split(",") if name.strip()])
    else:
        app.push_screen(ToolsScreen([tool.name for tool in app.conversation.tools]), chosen)


async def _edit(app: ChatApp, argument: str) -> None:
    """Take questions back; the earliest of them stands in the line, to be changed."""
    if app.busy:
        return
    question = app.conversation.take_back(count_of(argument))
    await app.show_session()
    app.question.begin(question)
    app.clear_notifications()  # /edit twice in a row says it once
    app.notify("Change the question and press Enter. The session as it was is kept: /sessions.")


def copy_answer(app: ChatApp, code: bool = False) -> None:
    """Copy the last answer, or the last block of code in it."""
    answers = [card.text for card in app.transcript.query(AnswerCard) if card.text]
    found = last_code(answers[-1]) if code and answers else "".join(answers[-1:])
    if found:
        app.copy_to_clipboard(found)
    what = "code" if code else "answer"
    app.notify(f"The last {what} is copied." if found else f"There is no {what} to copy in the last answer.")


def _rename(app: ChatApp, title: str) -> None:
    session = app.conversation.session
    if not session or not title:
        app.notify("Give a title: /rename Tax papers" if session else "Nothing was asked yet.", severity="warning")
        return
    app.conversation.store.rename(session, title)
    app.show_status({})
    app.notify(printable(f"This session is called {title}."), markup=False)


def _export(app: ChatApp, file: str) -> None:
    session = app.conversation.session
    if not session or not file:
        app.notify("Name a file: /export talk.md" if session else "Nothing was asked yet.", severity="warning")
        return
    export(app.conversation.store, session, Path(file))
    app.notify(printable(f"Written to {file}."), markup=False)
