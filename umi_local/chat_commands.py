"""What may be typed instead of a question, and what both chats, the screen's and the line-by-line one, do for it."""

from __future__ import annotations

import re
from pathlib import Path

from umi_local.errors import StorageError, UsageError
from umi_local.plain import printable
from umi_local.prompts import signature
from umi_local.sessions import Session, SessionStore
from umi_local.toolbox import Effect, Tool

COMMANDS = {
    "/new": "start a new session",
    "/sessions [TEXT]": "earlier sessions, all or those that say TEXT",
    "/resume ID": "go on with an earlier session",
    "/rename TITLE": "call this session something",
    "/remove [ID]": "remove an earlier session for good",
    "/again": "ask the last question again",
    "/edit [N]": "take the last question, or the last N, back to ask anew",
    "/tools [a,b]": "choose the tools",
    "/pack [NAME]": "let another pack answer",
    "/export FILE": "write this session as Markdown, or as JSON if FILE ends in .json",
    "/copy [code]": "copy the last answer, or the last code in it",
    "/find TEXT": "go to what says TEXT",
    "/theme NAME": "dark, light, high-contrast or 16-colours",
    "/help": "keys and commands",
    "/quit": "leave",
}
LEAVE = ("/quit", "/bye", "/exit")
_CHARACTERS_PER_TOKEN = 3.5  # of tool documents, with the packs' vocabularies
_CODE = re.compile(r"^[ \t]*(`{3,})[^\n]*\n(.*?)^[ \t]*\1", re.DOTALL | re.MULTILINE)


def is_command(text: str) -> bool:
    """Whether a line is meant as one: a path begins with a slash as well, and a question may begin with a path."""
    return re.fullmatch(r"/[a-z]*", text.split(maxsplit=1)[0] if text else "") is not None


def export(store: SessionStore, session: str, path: Path) -> None:
    """Write a session into a new file, as JSON if it is called so, else as Markdown.

    Raises:
        StorageError: the file is there already or cannot be written.
        UsageError: its name begins with the home of somebody who is not known.
    """
    try:
        path = path.expanduser()
    except RuntimeError:
        raise UsageError(f"There is no home folder for {path}.", "Name another file.") from None
    text = store.export(session, "json" if path.suffix.lower() == ".json" else "markdown")
    try:
        with path.open("x", encoding="utf-8", errors="replace") as target:
            target.write(text)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None


def last_code(answer: str) -> str:
    """The last fenced block of code in an answer; empty if there is none."""
    blocks = _CODE.findall(answer)
    return str(blocks[-1][1]) if blocks else ""


def tokens_of(tool: Tool) -> int:
    """About how many tokens of a prompt a tool takes where it is listed."""
    return round((len(signature(tool.spec)) + len(tool.spec.description)) / _CHARACTERS_PER_TOKEN)


def tool_line(tool: Tool) -> str:
    """A tool for a list: what it costs in every prompt, what it does to the world, whether it asks."""
    does = "" if tool.effect is Effect.NONE else tool.effect.value
    what = ", ".join(word for word in (does, "asks first" if tool.asks else "") if word)
    return f"{printable(tool.name):<18} {tokens_of(tool):>4} tokens  {what}".rstrip()


def count_of(argument: str) -> int:
    """The number that a command is given, one if it is given none.

    Raises:
        UsageError: it is given something else.
    """
    if not argument:
        return 1
    if not argument.isdecimal():
        raise UsageError(f"{argument} is no number.", "/edit takes the last question back, /edit 2 the last two.")
    return int(argument)


def session_line(session: Session) -> str:
    """A session for a list: when it was used, how many questions it has, its title, how it ended."""
    when = session.used.astimezone().strftime("%Y-%m-%d %H:%M")
    title = " ".join(printable(session.title).split())[:80]
    return f"{when}  {session.runs:>2}  {title}  ({session.state})"
