"""Conversations that are stored: gone on with, found, titled, taken back, exported and removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chatting import CALLER, HELLO, PLANNER, SUM, WRITE, Chat, conversation, play
from textual.widgets import Input, OptionList, Static

from umi_local.backends.scripted import Line
from umi_local.conversation import Verdict
from umi_local.errors import ModelMissing, StorageError
from umi_local.sessions import open_store
from umi_local.toolbox import ApprovalRequest
from umi_local.trajectory import StopReason
from umi_local.tui.cards import AnswerCard, CallCard, NoteCard, QuestionCard, State, TurnCard
from umi_local.tui.screens import SessionsScreen


def test_a_session_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = conversation(tmp_path, SUM)

    async def begin(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")

    play(first, begin)
    later = conversation(tmp_path, HELLO, session=first.session)

    async def go_on(chat: Chat) -> None:
        assert [type(card) for card in chat.cards()] == [QuestionCard, TurnCard, CallCard, TurnCard, AnswerCard]
        await chat.ask("Thanks")
        prompt = later._backend.prompts[0][1].text  # type: ignore[union-attr]
        assert "What is 2 + 3?" in prompt
        await chat.pilot.press("ctrl+n")
        assert not chat.cards()

    play(later, go_on)


def test_an_earlier_session_is_found_by_its_words_and_resumed(tmp_path: Path) -> None:
    first = conversation(tmp_path, SUM)
    play(first, lambda chat: chat.ask("What is 2 + 3?"))

    async def scene(chat: Chat) -> None:
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        chat.app.screen.query_one("#search", Input).value = "nothing like it"
        await chat.pilot.pause()
        assert chat.app.screen.query_one(OptionList).get_option_at_index(0).disabled
        chat.app.screen.query_one("#search", Input).value = "2 + 3"
        await chat.pilot.pause()
        await chat.pilot.press("enter")
        await chat.until(lambda: len(chat.cards()) == 5)

    talk = conversation(tmp_path, [])
    play(talk, scene)
    assert talk.session == first.session


def test_a_session_gets_a_title_that_lists_and_searches_know(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("Hi")
        await chat.type("/rename Tax papers")
        assert open_store().list(search="tax")[0].title == "Tax papers"
        assert "Tax papers" in str(chat.app.query_one("#status", Static).render())
        for command in ("/sessions tax", f"/remove {open_store().latest().id}"):
            await chat.type(command)
            await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
            shown = chat.app.screen.query_one(OptionList).get_option_at_index(0)
            assert "Tax papers" in str(shown.prompt)
            await chat.pilot.press("escape")
            await chat.until(lambda: not isinstance(chat.app.screen, SessionsScreen))

    play(conversation(tmp_path, HELLO), scene)


def test_what_an_untrusted_tool_said_is_remembered_when_it_is_no_longer_listed(tmp_path: Path) -> None:
    script = [
        Line(PLANNER, "Use fetch_url to fetch it. Next: caller."),
        Line(CALLER, '{"name": "fetch_url", "arguments": {"url": "http://127.0.0.1:9/"}}'),
        *SUM[2:],
        *WRITE,
    ]
    talk = conversation(tmp_path, script)
    asked: list[ApprovalRequest] = []

    def approve(request: ApprovalRequest) -> Verdict:
        asked.append(request)
        return Verdict.SESSION

    talk.approve, talk.allow = approve, ["write_file"]
    talk.choose_tools(["fetch_url", "write_file"])
    talk.ask("Read the page")
    talk.choose_tools(["write_file"])
    talk.ask("Write hello to a.txt")
    assert [request.tool for request in asked] == ["fetch_url", "write_file"]
    assert "fetch_url" in asked[-1].reason


def test_a_question_is_taken_back_and_asked_in_other_words(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [*HELLO, *SUM, *HELLO, *SUM])

    async def scene(chat: Chat) -> None:
        await chat.type("/edit")
        assert any("Nothing was asked yet" in notice.message for notice in chat.app._notifications)
        for question in ("Hello", "What is 2 + 3?", "Thanks"):
            await chat.ask(question)
        before = talk.session
        await chat.type("/edit 2")
        assert chat.app.query_one("#question", Input).value == "What is 2 + 3?"
        assert [card.question for card in chat.cards(QuestionCard)] == ["Hello"]
        await chat.pilot.press("backspace", "!", "enter")
        await chat.until(lambda: not chat.app.busy)
        assert [run.query for run in talk.runs()] == ["Hello", "What is 2 + 3!"]
        assert [run.query for run in talk.store.trajectories(before)] == ["Hello", "What is 2 + 3?", "Thanks"]
        for wrong in ("/edit 3", "/edit 0", "/edit all"):
            await chat.type(wrong)
        assert len(talk.runs()) == 2
        await chat.type("/edit 2")  # all of it: a new session, stored with its first question
        assert not talk.session

    play(talk, scene)


def test_a_session_that_was_removed_elsewhere_does_not_end_the_chat(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [*HELLO, *HELLO])

    async def scene(chat: Chat) -> None:
        await chat.ask("Hi")
        open_store().remove(talk.session)
        await chat.ask("Hi again")
        assert any(note.state is State.FAILED for note in chat.cards(NoteCard))

    play(talk, scene)


def test_a_session_is_exported_and_no_file_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "talk.md"

    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        await chat.type(f"/export {out}")
        await chat.pilot.pause()
        assert "It is **5**." in out.read_text()
        out.write_text("mine")
        await chat.type(f"/export {out}")
        await chat.pilot.pause()
        assert out.read_text() == "mine"
        await chat.type(f"/export {out.with_suffix('.json')}")
        assert json.loads(out.with_suffix(".json").read_text())["runs"][0]["answer"] == "It is **5**."

    play(conversation(tmp_path, SUM), scene)


def test_a_long_conversation_leaves_the_screen_from_its_beginning_and_not_the_store(tmp_path: Path) -> None:
    talk = conversation(tmp_path, HELLO * 24)
    for number in range(24):
        talk.ask(f"Question {number}")

    async def scene(chat: Chat) -> None:
        asked = [card.question for card in chat.cards(QuestionCard)]
        assert asked == [f"Question {number}" for number in range(4, 24)]
        assert "4 earlier questions" in chat.cards(NoteCard)[0].text
        for number in range(260):
            await chat.app.transcript.add(NoteCard(f"note {number}"))
        assert len(chat.cards()) <= 100
        assert chat.cards()[-1].text == "note 259"
        assert not chat.cards(QuestionCard)
        assert len(talk.runs()) == 24

    play(talk, scene)


def test_a_session_is_removed_at_the_second_press(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("Hi!")
        await chat.type("/new")
        await chat.type("/sessions")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        await chat.pilot.press("down", "delete")
        assert len(chat.app.conversation.store.list()) == 1
        await chat.pilot.press("delete")
        await chat.until(lambda: not chat.app.conversation.store.list())

    play(conversation(tmp_path, HELLO), scene)


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


def test_a_session_that_is_to_be_removed_by_its_id_is_at_hand_though_others_are_called_the_same(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("Hi")
        elder = chat.app.conversation.session
        await chat.pilot.press("ctrl+n")
        await chat.ask("Hi")
        newer = chat.app.conversation.session
        await chat.type(f"/remove {elder}")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        await chat.pilot.press("delete", "delete")
        await chat.until(lambda: len(open_store().list()) == 1)
        assert open_store().latest().id == newer

    play(conversation(tmp_path, [*HELLO, *HELLO]), scene)


def test_a_question_is_kept_where_no_model_is_there_to_answer_it(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [])
    talk._backend = None
    with pytest.raises(ModelMissing):
        talk.ask("What is 2 + 3?")
    assert [(run.query, run.stop) for run in talk.runs()] == [("What is 2 + 3?", StopReason.FAILED)]


def test_a_single_models_session_is_shown_again_as_its_own(tmp_path: Path) -> None:
    talk = conversation(tmp_path, SUM)
    talk.ask("What is 2 + 3?")
    with talk.store._database.transaction(write=True) as rows:  # as if one model had done it all
        rows.execute("UPDATE sessions SET mode = 'single'")

    async def scene(chat: Chat) -> None:
        assert {card.title for card in chat.cards(TurnCard)} == {"Single"}

    play(talk, scene)


def test_a_session_that_cannot_be_read_is_told_and_a_new_one_can_be_had(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [*HELLO, *HELLO])
    talk.ask("Hi")
    with talk.store._database.transaction(write=True) as rows:
        rows.execute("UPDATE runs SET trajectory = '{}'")

    async def scene(chat: Chat) -> None:
        assert [notice.severity for notice in chat.app._notifications] == ["error"]
        await chat.pilot.press("ctrl+n")
        await chat.ask("Hi")
        assert chat.cards(AnswerCard)

    play(talk, scene)
