"""A chat that is driven by keys, over an agent whose roles say what they are told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input

from umi_local.assemble import chosen_tools
from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.conversation import Conversation
from umi_local.errors import ModelFailed
from umi_local.messages import Completion, Role
from umi_local.sessions import open_store
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.tui import ChatApp
from umi_local.tui.cards import Card
from umi_local.tui.dialog import Dialog

SIZES = [(160, 50), (100, 32), (80, 24), (40, 15)]
PLANNER, CALLER, SUMMARIZER = Role.PLANNER, Role.CALLER, Role.SUMMARIZER
SUM = [
    Line(PLANNER, "Use calculator to work out 2 + 3. Next: caller."),
    Line(CALLER, '{"name": "calculator", "arguments": {"expression": "2 + 3"}}'),
    Line(PLANNER, "The result is there. Next: conclusion."),
    Line(SUMMARIZER, "It is **5**."),
]
WRITE = [
    Line(PLANNER, "Use write_file to write a.txt. Next: caller."),
    Line(CALLER, '{"name": "write_file", "arguments": {"path": "a.txt", "content": "hello"}}'),
    Line(PLANNER, "The result is there. Next: conclusion."),
    Line(SUMMARIZER, "Done."),
]
HELLO = [Line(PLANNER, "No tool is needed for this. Next: conclusion."), Line(SUMMARIZER, "Hello!")]

Play = Callable[["Chat"], Awaitable[None]]


class Chat:
    """An app under test, with its pilot."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def type(self, text: str) -> None:
        self.app.query_one("#question", Input).value = text
        await self.pilot.press("enter")

    async def until(self, true: Callable[[], bool]) -> None:
        for _ in range(400):
            await self.pilot.pause(0.01)
            if true():
                return
        raise AssertionError([f"{card.title}: {card.state}" for card in self.app.query(Card)])

    async def ask(self, text: str) -> None:
        await self.type(text)
        await self.until(lambda: not self.app.busy)

    def cards(self, kind: type[Card] = Card) -> list[Any]:
        return list(self.app.query(kind))


def conversation(tmp_path: Path, script: Sequence[Line], backend: Any = None, session: str = "") -> Conversation:
    (tmp_path / "files").mkdir(exist_ok=True)
    tools = chosen_tools(None)
    made = Conversation(setup(Settings()), tools, tmp_path / "files", open_store(), session=session)
    made._backend = backend or ScriptedBackend(script, context_tokens=50_000)
    return made


def play(talk: Conversation, scene: Play, size: tuple[int, int] = (100, 40)) -> None:
    async def act() -> None:
        app = ChatApp(talk)
        async with app.run_test(size=size) as pilot:
            await scene(Chat(app, pilot))

    asyncio.run(act())


class Slow(ScriptedBackend):
    """Says its script, then writes `text` until it is cancelled."""

    def __init__(self, script: Sequence[Line] = (), text: str = "Thinking") -> None:
        super().__init__(script, context_tokens=50_000)
        self._left, self._text = len(script), text
        self.began, self.stop = threading.Event(), threading.Event()

    def complete(self, role: Role, prompt: Any, constraint: Any, sampling: Any, on_token: Any = print) -> Completion:
        if self._left:
            self._left -= 1
            return super().complete(role, prompt, constraint, sampling, on_token)
        on_token(self._text)
        self.began.set()
        assert self.stop.wait(20)
        return Completion(self._text, finished=False)

    def cancel(self) -> None:
        self.stop.set()


class Broken(ScriptedBackend):
    def complete(self, *_: Any, **__: Any) -> Completion:
        raise ModelFailed("The model's process ended.", "Ask again to start a new one.")


def inside(chat: Chat, region: Region) -> bool:
    """Whether all of it is on the screen and in the box."""
    dialog = chat.app.screen.query_one(Dialog).region
    return region.height > 0 and chat.app.screen.region.contains_region(region) and dialog.contains_region(region)
