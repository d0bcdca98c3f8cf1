"""What the settings say of the chat: themes, motion and keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chatting import HELLO, SUM, Chat, conversation, play
from textual.widgets import Collapsible, Input, Static

from umi_local.errors import ConfigError
from umi_local.settings import Chat as ChatSettings
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.tui import ChatApp
from umi_local.tui.appearance import THEMES
from umi_local.tui.screens import SessionsScreen


@pytest.mark.parametrize("theme", ["dark", "light", "high-contrast", "16-colours"])
def test_every_theme_can_be_worn(theme: str, tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type(f"/theme {theme}")
        await chat.until(lambda: THEMES[theme] == chat.app.theme)
        await chat.ask("Hi!")

    play(conversation(tmp_path, HELLO), scene)


def test_a_theme_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        before = chat.app.theme
        await chat.type("/theme pink")
        await chat.pilot.pause()
        assert chat.app.theme == before

    play(conversation(tmp_path, HELLO), scene)


def test_keys_are_those_of_the_settings(tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    chosen = talk.wanted.settings.model_copy(update={"chat": ChatSettings(theme="light", keys={"fold": "f3"})})
    talk.wanted = setup(chosen)

    async def scene(chat: Chat) -> None:
        assert chat.app.theme == "textual-light"
        await chat.ask("What is 2 + 3?")
        (fold,) = chat.app.query(Collapsible)
        await chat.pilot.press("f3")
        assert not fold.collapsed
        await chat.pilot.press("f1")
        help_text = "".join(str(part.content) for part in chat.app.screen.query(Static))
        assert "f3" in help_text

    play(talk, scene)


def test_with_reduced_motion_nothing_slides_or_blinks(tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    talk.wanted = setup(Settings(chat=ChatSettings(reduced_motion=True)))

    async def scene(chat: Chat) -> None:
        assert chat.app.animation_level == "none"
        assert not chat.app.question.cursor_blink
        await chat.type("/sessions")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        assert not chat.app.screen.query_one(Input).cursor_blink

    play(talk, scene)


def test_no_color_leaves_greys_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        colours = set(re.findall(r"-r\d+ \{ ?fill: #([0-9a-f]{6})", chat.app.export_screenshot()))
        colours.discard("c5c8c6")  # the picture's own, for text without one
        assert len(colours) > 2
        assert [c for c in colours if len(set(bytes.fromhex(c))) > 1] == []

    play(conversation(tmp_path, SUM), scene)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"allow_once": "d"}, "'d' of the chat stands for allow_once and deny"),
        ({"allow_always": "escape"}, "'escape' of the chat stands for allow_always and decide"),
        ({"fold": "f9,f5"}, "'f5' of the chat stands for again and fold"),
        ({"fold": "f9", "copy": "f9"}, "'f9' of the chat stands for fold and copy"),
    ],
)
def test_one_key_for_two_actions_is_refused(keys: dict[str, str], words: str, tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    talk.wanted = setup(Settings(chat=ChatSettings(keys=keys)))
    with pytest.raises(ConfigError, match=words):
        ChatApp(talk)


def test_two_actions_may_swap_their_keys(tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    talk.wanted = setup(Settings(chat=ChatSettings(keys={"fold": "ctrl+y", "copy": "ctrl+o"})))

    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        (fold,) = chat.app.query(Collapsible)
        await chat.pilot.press("ctrl+y")
        assert not fold.collapsed

    play(talk, scene)


def test_a_key_for_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    talk.wanted = setup(Settings(chat=ChatSettings(keys={"fly": "f5"})))
    with pytest.raises(ConfigError, match=r"no action 'fly'.*fold"):
        ChatApp(talk)
