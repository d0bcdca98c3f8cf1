"""What is typed is not lost, what opens shows all of its parts, and keys answer while a run is at work."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from chatting import CALLER, HELLO, PLANNER, SUM, SUMMARIZER, WRITE, Chat, Slow, conversation, play
from textual.events import Paste
from textual.geometry import Region
from textual.widgets import Button, OptionList, Static

from umi_local.backends.scripted import Line
from umi_local.cli.chat_plain import line_by_line
from umi_local.conversation import Verdict
from umi_local.errors import StorageError
from umi_local.toolbox import ApprovalRequest
from umi_local.tui.cards import AnswerCard, QuestionCard, State, TurnCard
from umi_local.tui.dialog import Dialog
from umi_local.tui.packs import PacksScreen
from umi_local.tui.question import LINE_BREAK
from umi_local.tui.screens import ApprovalScreen, HelpScreen, SessionsScreen

SIZES = [(160, 50), (100, 32), (80, 24), (40, 15)]
LONG = "\n".join(f"line {number}" for number in range(60))
LONG_WRITE = ApprovalRequest(
    "write_file", "writes", {"path": "a.txt", "content": LONG}, "\n".join(f"+{line}" for line in LONG.split("\n"))
)


def inside(chat: Chat, region: Region) -> bool:
    """Whether all of it is on the screen and in the box."""
    dialog = chat.app.screen.query_one(Dialog).region
    return region.height > 0 and chat.app.screen.region.contains_region(region) and dialog.contains_region(region)


@pytest.mark.parametrize("size", SIZES)
def test_a_long_approval_shows_its_buttons_and_all_of_what_is_asked(size: tuple[int, int], tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        chat.app.push_screen(ApprovalScreen(LONG_WRITE))
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.pause(0.1)
        assert all(inside(chat, button.region) for button in chat.app.screen.query(Button))
        shown = chat.app.screen.query_one(".shown")
        assert "what changes" in str(shown.children[0].render())
        await chat.pilot.press("down")
        assert shown.scroll_y == 1
        await chat.pilot.press("end")
        last = shown.children[-1].region
        assert shown.scroll_y == shown.max_scroll_y > 0
        assert shown.region.contains(last.x, last.bottom - 1)
        assert inside(chat, shown.region)
        assert inside(chat, chat.app.screen.query_one(".more").region)
        assert "there is more" in str(chat.app.screen.query_one(".more", Static).render())

    play(conversation(tmp_path, []), scene, size)


def test_what_no_terminal_shows_is_written_out_in_an_approval(tmp_path: Path) -> None:
    code = "print(1)\u200b\U000e0041\u2028import os"

    async def scene(chat: Chat) -> None:
        chat.app.push_screen(ApprovalScreen(ApprovalRequest("run_python", "executes", {"code": code}, "")))
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        shown = "".join(str(part.render()) for part in chat.app.screen.query(".value"))
        assert shown == "print(1)\\u200b\\U000e0041\\u2028import os"

    play(conversation(tmp_path, []), scene)


def test_line_by_line_nothing_that_was_written_changes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "\u0394 " + "a long way to say it " * 20
    script = [Line(PLANNER, f"{said}. Next: conclusion."), HELLO[1]]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello?\n"))
    line_by_line(conversation(tmp_path, script))
    captured = capsys.readouterr()
    assert captured.out == "Hello!\n"
    assert said.strip() in captured.err
    assert "working  ...\n" in captured.err
    assert not {"\r", "\x1b"} & set(captured.err)


@pytest.mark.parametrize("preview", ["", "a = 1\nprint(a)", "in a sandbox:\na = 1\nprint(a)"])
def test_a_program_is_shown_whole_and_once(preview: str, tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        request = ApprovalRequest("run_python", "executes", {"code": "a = 1\nprint(a)"}, preview)
        await chat.app.push_screen(ApprovalScreen(request))
        shown = "\n".join(str(part.render()) for part in chat.app.screen.query(".value"))
        assert shown.count("a = 1\nprint(a)") == 1

    play(conversation(tmp_path, []), scene)


def test_what_fits_needs_no_scrolling(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        chat.app.push_screen(ApprovalScreen(ApprovalRequest("read_file", "reads", {"path": "a.txt"}, "")))
        await chat.pilot.pause(0.1)
        assert str(chat.app.screen.query_one(".more", Static).render()) == ""

    play(conversation(tmp_path, []), scene)


@pytest.mark.parametrize("key", ["enter", "o", "d"])
def test_a_key_that_was_meant_for_the_question_decides_nothing(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umi_local.tui.screens.SETTLE", 30)

    async def scene(chat: Chat) -> None:
        chat.app.push_screen(ApprovalScreen(LONG_WRITE))
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press(key)
        assert isinstance(chat.app.screen, ApprovalScreen)

    play(conversation(tmp_path, []), scene)


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


def test_what_is_being_written_comes_back_behind_the_earlier_questions(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("First")
        await chat.pilot.press(*"new")
        await chat.pilot.press("down")
        assert chat.app.question.value == "new"
        await chat.pilot.press("up")
        assert chat.app.question.value == "First"
        await chat.pilot.press("down")
        assert chat.app.question.value == "new"
        chat.app.question.begin("/rename ")
        await chat.pilot.press("up")
        assert chat.app.question.value == "new"

    play(conversation(tmp_path, HELLO), scene)


def test_a_draft_and_a_command_are_no_questions(tmp_path: Path) -> None:
    """Nor are they asked again."""
    talk = conversation(tmp_path, [*HELLO, *HELLO])

    async def scene(chat: Chat) -> None:
        await chat.ask("First")
        await chat.pilot.press(*"draft")
        chat.app.question.begin("/find ")
        await chat.type("/again")
        await chat.until(lambda: not chat.app.busy and len(chat.cards(AnswerCard)) == 2)
        await chat.type("/edit")
        await chat.pilot.pause()
        assert chat.app.question.value == "First"
        assert chat.app.question.asked == ["First"]

    play(talk, scene)


def test_the_seconds_that_pass_need_nothing_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    talk = conversation(tmp_path, [], slow)

    def fails(*_: Any) -> Any:
        raise AssertionError("asked")

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        monkeypatch.setattr(type(talk.store), "get", fails)
        chat.app._tick()
        await chat.pilot.pause()
        assert str(chat.app._status.render()).startswith("working, ")
        monkeypatch.undo()
        slow.cancel()
        await chat.until(lambda: not chat.app.busy)

    play(talk, scene)


def test_several_lines_are_pasted_asked_and_brought_back_as_such(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [*HELLO, *HELLO])

    async def scene(chat: Chat) -> None:
        chat.app.question.post_message(Paste("Sum these:\r\n3\n4\n"))
        await chat.pilot.pause()
        await chat.pilot.press("ctrl+j", "5", "enter")
        await chat.until(lambda: not chat.app.busy and bool(chat.cards(AnswerCard)))
        await chat.pilot.press("up")
        assert chat.app.question.value == LINE_BREAK.join(["Sum these:", "3", "4", "5"])
        await chat.pilot.press("enter")
        await chat.until(lambda: not chat.app.busy and len(chat.cards(AnswerCard)) == 2)

    play(talk, scene)
    assert [run.query for run in talk.runs()] == ["Sum these:\n3\n4\n5"] * 2


def test_a_path_begins_a_question_and_a_mistyped_command_stays(tmp_path: Path) -> None:
    talk = conversation(tmp_path, HELLO)

    async def scene(chat: Chat) -> None:
        await chat.type("/exprot x.md")
        assert chat.app.question.value == "/exprot x.md"
        await chat.ask("/etc/hosts: what is in it?")

    play(talk, scene)
    assert [run.query for run in talk.runs()] == ["/etc/hosts: what is in it?"]


def test_a_new_question_is_seen_by_who_has_scrolled_up(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        for _ in range(4):
            await chat.ask("Hello?")
        transcript = chat.app.transcript
        await chat.pilot.press("pageup")
        await chat.pilot.pause()
        assert transcript.scroll_y < transcript.max_scroll_y
        await chat.ask("Hello?")
        await chat.pilot.pause()
        assert transcript.scroll_y == transcript.max_scroll_y > 0

    play(conversation(tmp_path, HELLO * 5), scene, (80, 24))


def test_a_store_that_cannot_be_read_is_told_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = conversation(tmp_path, HELLO)

    def fails(*_: Any) -> Any:
        raise StorageError("The sessions cannot be read.")

    async def scene(chat: Chat) -> None:
        await chat.ask("Hello?")
        monkeypatch.setattr(type(talk.store), "list", fails)
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        assert "cannot be read" in str(chat.app.screen.query_one(OptionList).get_option_at_index(0).prompt)
        await chat.pilot.press("escape")
        await chat.pilot.pause()
        assert any("cannot be read" in notice.message for notice in chat.app._notifications)

    play(talk, scene)


def test_the_panel_shows_the_newest_lines_of_the_open_session_and_what_it_cost(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        for _ in range(12):
            await chat.ask("Hello?")
        await chat.ask("What is 2 + 3?")
        await chat.pilot.pause()
        shown = str(chat.app._side.render())
        assert len(shown.split("\n")) <= chat.app._side.size.height
        assert "What is 2 + 3?" in shown
        assert "  planner         2      16      0.0" in shown.split("\n")
        assert max(map(len, shown.split("\n"))) <= chat.app._side.size.width
        await chat.pilot.press("ctrl+n")
        await chat.pilot.pause()
        assert str(chat.app._side.render()).strip() == ""

    play(conversation(tmp_path, [*HELLO * 12, *SUM]), scene, (160, 30))


def test_a_stopped_turn_says_so_and_control_c_twice_leaves(tmp_path: Path) -> None:
    slow = Slow()

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        await chat.type("/help")
        assert isinstance(chat.app.screen, HelpScreen)
        await chat.pilot.press("escape")
        await chat.pilot.press("ctrl+c")
        await chat.until(lambda: not chat.app.busy)
        assert chat.cards(TurnCard)[0].state is State.STOPPED
        assert len(chat.cards(QuestionCard)) == 1
        await chat.pilot.press("ctrl+c")
        assert not chat.app.is_running or chat.app._exit

    play(conversation(tmp_path, [], slow), scene)


def test_progress_that_comes_after_the_screen_was_left_does_no_harm(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("/pack")
        screen = chat.app.screen
        assert isinstance(screen, PacksScreen)
        await screen.remove_children()
        screen.show_progress(1, 2)

    play(conversation(tmp_path, []), scene)


def test_what_is_always_allowed_is_not_asked_again_in_the_same_run(tmp_path: Path) -> None:
    script = [
        *WRITE[:2],
        *WRITE[:2],
        Line(PLANNER, "The result is there. Next: conclusion."),
        Line(SUMMARIZER, "Done."),
    ]
    other = '{"name": "write_file", "arguments": {"path": "b.txt", "content": "hello"}}'
    script[2:2] = [WRITE[0], Line(CALLER, other)]
    talk, asked = conversation(tmp_path, script), []

    def always(request: ApprovalRequest) -> Verdict:
        asked.append(request.arguments["path"])
        return Verdict.ALWAYS

    talk.approve = always
    talk.ask("Write hello to a.txt, to b.txt and to a.txt")
    assert asked == ["a.txt", "b.txt"]
