"""What is typed is not lost, and keys answer while a run is at work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chatting import HELLO, Chat, Slow, conversation, play
from textual.events import Paste
from textual.widgets import Input

from umi_local.trajectory import StopReason
from umi_local.tui.cards import AnswerCard, NoteCard, QuestionCard, State, TurnCard
from umi_local.tui.question import LINE_BREAK
from umi_local.tui.screens import HelpScreen


def test_escape_stops_a_run_and_keeps_what_was_said(tmp_path: Path) -> None:
    slow = Slow()
    talk = conversation(tmp_path, [], slow)

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        assert chat.app.busy
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert "Thinking" in chat.cards(TurnCard)[0].text
        assert chat.cards(NoteCard)[0].state is State.STOPPED

    play(talk, scene)
    (stored,) = talk.runs()
    assert stored.stop is StopReason.CANCELLED


def test_typing_goes_on_while_a_run_is_at_work(tmp_path: Path) -> None:
    slow = Slow()

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        await chat.pilot.press("h", "i")
        assert chat.app.query_one("#question", Input).value == "hi"
        await chat.pilot.press("enter")
        assert len(chat.cards(QuestionCard)) == 1  # one run at a time
        assert chat.app.query_one("#question", Input).value == "hi"
        assert any("Esc stops it" in notice.message for notice in chat.app._notifications)
        slow.cancel()

    play(conversation(tmp_path, [], slow), scene)


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

    first = conversation(tmp_path, [], slow)
    play(first, scene)

    async def again(chat: Chat) -> None:
        turn = chat.cards(TurnCard)[0]
        assert turn.state is State.STOPPED
        assert "Next:" not in turn.said

    play(conversation(tmp_path, [], session=first.session), again)
