"""What may be typed instead of a question, and the screens that it opens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from chatting import (
    HELLO,
    SIZES,
    SUM,
    SUMMARIZER,
    Chat,
    Slow,
    conversation,
    inside,
    play,
)
from textual.widgets import OptionList, SelectionList, Static

from umi_local.backends.scripted import Line
from umi_local.errors import UsageError
from umi_local.manifest import PackFile
from umi_local.pull import OnProgress, Progress, Stage
from umi_local.tui.cards import QuestionCard
from umi_local.tui.editor import written_in_editor
from umi_local.tui.packs import PacksScreen
from umi_local.tui.screens import HelpScreen
from umi_local.tui.tools import ToolsScreen


def test_commands_have_help_and_an_unknown_one_says_so(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("/hepl")
        await chat.pilot.pause()
        assert any("no command /hepl" in note.message for note in chat.app._notifications)
        await chat.type("/help")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        await chat.pilot.press("escape")

    play(conversation(tmp_path, []), scene)


def test_tools_are_chosen_with_what_each_costs(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [])

    async def scene(chat: Chat) -> None:
        await chat.type("/tools")
        await chat.until(lambda: isinstance(chat.app.screen, ToolsScreen))
        shown = chat.app.screen.query_one(SelectionList)
        assert "calculator" in str(shown.get_option_at_index(0).prompt)
        assert "tokens" in str(shown.get_option_at_index(0).prompt)
        await chat.pilot.press("space", "enter")
        await chat.until(lambda: "calculator" not in {tool.name for tool in talk.tools})
        await chat.type("/tools calculator, read_file")
        assert [tool.name for tool in talk.tools] == ["calculator", "read_file"]
        await chat.type("/tools nothing_such")
        assert any("no tool" in note.message for note in chat.app._notifications)
        assert [tool.name for tool in talk.tools] == ["calculator", "read_file"]

    play(talk, scene)


def test_on_a_first_start_the_packs_are_offered(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [])
    talk._backend = None

    async def scene(chat: Chat) -> None:
        await chat.until(lambda: isinstance(chat.app.screen, PacksScreen))
        texts = " ".join(str(each.render()) for each in chat.app.screen.query(Static))
        assert "Welcome" in texts
        await chat.pilot.press("escape")
        await chat.pilot.pause()
        assert any("/pack fetches one" in note.message for note in chat.app._notifications)

    play(talk, scene)


def test_the_last_code_of_an_answer_is_copied(tmp_path: Path) -> None:
    script = [HELLO[0], Line(SUMMARIZER, "So:\n\n```python\nprint(1)\n```\n\nThat is all.")]

    async def scene(chat: Chat) -> None:
        await chat.ask("Hi")
        await chat.type("/copy code")
        assert chat.app.clipboard == "print(1)\n"
        await chat.type("/copy")
        assert chat.app.clipboard.endswith("That is all.")

    play(conversation(tmp_path, script), scene)


def test_the_palette_has_the_commands_and_starts_no_second_run(tmp_path: Path) -> None:
    slow = Slow()

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        found = {each.title: each.callback for each in chat.app.get_system_commands(chat.app.screen)}
        await found["/again"]()
        assert len(chat.cards(QuestionCard)) == 1
        found["/rename"]()
        await chat.pilot.press("x")
        assert chat.app.question.value == "/rename x"
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.app.busy)
        await chat.type("/help")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        chat.app.action_command_palette()
        await chat.pilot.pause()
        assert isinstance(chat.app.screen, HelpScreen)

    play(conversation(tmp_path, [], slow), scene)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("printf 'A long\\nquestion' > \"$1\"", "A long\nquestion"),
        ("true", ""),  # nothing was saved
        ('printf x > "$1"; exit 1', ""),
    ],
)
def test_what_is_saved_in_the_editor_is_asked(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert written_in_editor("draft") == said


def test_an_editor_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/nowhere/editor")
    with pytest.raises(UsageError, match="Set EDITOR"):
        written_in_editor("draft")


def test_find_goes_from_card_to_card(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        transcript = chat.app.transcript
        assert transcript.find("calculator")
        first = transcript._found
        assert transcript.find("CALCULATOR")
        assert transcript._found is not first
        assert not transcript.find("elephant")
        assert not transcript.find("")

    play(conversation(tmp_path, SUM), scene)


def test_another_pack_answers_once_its_files_are_here(tmp_path: Path) -> None:
    from tiny_model import write_tiny_model

    from umi_local.own_packs import OwnModel, add_to_pack

    add_to_pack("mine", OwnModel(write_tiny_model(tmp_path / "mine.gguf"), 512), ())

    async def scene(chat: Chat) -> None:
        await chat.type("/pack")
        await chat.until(lambda: isinstance(chat.app.screen, PacksScreen))
        options = chat.app.screen.query_one(OptionList)
        options.highlighted = [option.id for option in options.options].index("mine")
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.app.conversation.wanted.pack_name == "mine")
        assert "mine" in str(chat.app._status.content)

    play(conversation(tmp_path, HELLO), scene)


def test_leaving_the_packs_stops_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, stopped = threading.Event(), threading.Event()

    def endless(file: PackFile, tell: OnProgress) -> None:
        try:
            while True:
                tell(Progress(file.filename, Stage.FETCHING, 1, file.bytes))
                began.set()
                time.sleep(0.01)
        finally:
            stopped.set()

    monkeypatch.setattr("umi_local.tui.packs.pull", endless)

    async def scene(chat: Chat) -> None:
        await chat.type("/pack smollm2-135m")
        await chat.until(began.is_set)
        await chat.pilot.press("escape")
        await chat.until(stopped.is_set)
        assert chat.app.conversation.wanted.pack_name != "smollm2-135m"

    play(conversation(tmp_path, HELLO), scene)


@pytest.mark.parametrize("size", SIZES)
def test_the_cursor_of_a_long_list_stays_in_sight(size: tuple[int, int], tmp_path: Path) -> None:
    talk = conversation(tmp_path, HELLO * 60)
    for number in range(60):
        talk.new()
        talk.ask(f"Question {number}")

    async def scene(chat: Chat) -> None:
        await chat.pilot.press("ctrl+r")
        await chat.pilot.pause(0.1)
        await chat.pilot.press("down", "end")
        options = chat.app.screen.query_one(OptionList)
        assert inside(chat, options.region)
        assert inside(chat, chat.app.screen.query_one(".hint").region)
        assert options.option_count == 51
        assert "older" in str(options.get_option_at_index(50).prompt)
        assert options.highlighted == 49

    play(talk, scene, size)


def test_progress_that_comes_after_the_screen_was_left_does_no_harm(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("/pack")
        screen = chat.app.screen
        assert isinstance(screen, PacksScreen)
        await screen.remove_children()
        screen.show_progress(1, 2)

    play(conversation(tmp_path, []), scene)
