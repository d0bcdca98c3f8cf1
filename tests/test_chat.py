"""The terminal chat, driven by keys, over an agent whose roles say what they are told to: its cards."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from chatting import CALLER, HELLO, PLANNER, SUM, SUMMARIZER, WRITE, Broken, Chat, Slow, conversation, play
from rich.console import Console
from textual.widgets import Collapsible, Static

from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.errors import ModelFailed
from umi_local.messages import ModelInfo, Role, ToolCall
from umi_local.sessions import open_store
from umi_local.trajectory import StopReason
from umi_local.tui.calls import arguments_shown, call_shown, observation_shown
from umi_local.tui.cards import AnswerCard, CallCard, NoteCard, QuestionCard, State, TurnCard
from umi_local.tui.screens import ApprovalScreen


def test_each_turn_is_a_card_and_the_answer_is_shown(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        assert [type(card) for card in chat.cards()] == [QuestionCard, TurnCard, CallCard, TurnCard, AnswerCard]
        assert {card.state for card in chat.cards()} == {State.DONE}
        assert chat.cards(CallCard)[0].title == "Caller · calculator"
        assert chat.cards(AnswerCard)[0].text == "It is **5**."
        assert "2 + 3 = 5" in str(chat.cards(CallCard)[0]._result.content)

    play(conversation(tmp_path, SUM), scene)


def test_a_call_folds_out_to_all_of_it(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        (fold,) = chat.app.query(Collapsible)
        assert fold.collapsed
        await chat.pilot.press("ctrl+o")
        assert not fold.collapsed
        await chat.pilot.press("ctrl+o")
        assert fold.collapsed

    play(conversation(tmp_path, SUM), scene)


def test_a_model_that_dies_is_a_card_and_the_question_can_be_asked_again(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [], Broken([], context_tokens=50_000))

    async def scene(chat: Chat) -> None:
        await chat.ask("Hello")
        (note,) = chat.cards(NoteCard)
        assert note.state is State.FAILED
        assert "process ended" in note.text
        assert "F5 asks again" in note.text
        talk._backend = ScriptedBackend(HELLO, context_tokens=50_000)
        await chat.pilot.press("f5")
        await chat.until(lambda: bool(chat.cards(AnswerCard)))
        await chat.until(lambda: not chat.app.busy)
        assert [card.question for card in chat.cards(QuestionCard)] == ["Hello", "Hello"]
        await chat.pilot.press("f5")  # nothing has failed, so nothing is asked
        assert not chat.app.busy
        talk._backend = Broken([], context_tokens=50_000)
        await chat.ask("And now?")
        await chat.type("/edit")  # takes what has failed back
        await chat.pilot.press("f5")
        assert not chat.app.busy
        assert len(chat.cards(QuestionCard)) == 2

    play(talk, scene)


def test_a_call_that_is_stopped_while_it_is_written_leaves_its_card(tmp_path: Path) -> None:
    slow = Slow(SUM[:1], '{"name": "calculator", "arg')

    async def scene(chat: Chat) -> None:
        await chat.type("What is 2 + 3?")
        await chat.until(slow.began.is_set)
        await chat.until(lambda: any("arg" in card.said for card in chat.cards(CallCard)))
        assert chat.cards(CallCard)[0].state is State.WRITING
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert chat.cards(CallCard)[0].state is State.STOPPED

    play(conversation(tmp_path, [], slow), scene)


def test_a_call_that_was_cut_off_says_so_on_its_card(tmp_path: Path) -> None:
    cut_off = Line(CALLER, '{"name": "calculator", "arguments": {"expression": "2', finished=False)

    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        first, second = chat.cards(CallCard)
        assert (first.state, second.state) == (State.FAILED, State.DONE)
        assert "cut off" in first.said
        titles = [card.title for card in chat.cards(CallCard)]
        await chat.type("/new")
        await chat.type(f"/resume {open_store().latest().id}")
        await chat.until(lambda: bool(chat.cards(CallCard)))
        assert [card.title for card in chat.cards(CallCard)] == titles
        assert chat.cards(CallCard)[0].state is State.FAILED

    play(conversation(tmp_path, [SUM[0], cut_off, *SUM]), scene)


def test_what_a_write_changed_is_shown_also_when_its_session_is_opened_again(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        (tmp_path / "files" / "a.txt").write_text("bye")
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press("o")
        await chat.until(lambda: not chat.app.busy)
        session = chat.app.conversation.session
        for _ in range(2):
            (fold,) = chat.app.query(Collapsible)
            console = Console(width=80)
            with console.capture() as shown:
                console.print(*(part.content for part in fold.query(Static)))
            assert "-bye" in shown.get()
            assert "+hello" in shown.get()
            await chat.type("/new")
            await chat.type(f"/resume {session}")
            await chat.until(lambda: bool(chat.cards(CallCard)))

    play(conversation(tmp_path, WRITE), scene)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ("", True),  # it was too long to be kept
        ("--- a.txt\n+++ a.txt\n@@ -1 +1,2 @@\n-bye\n+hello\n+you", False),
        ("A letter to Bob.", True),  # a tool of one's own may put it in its own words
        ("new file a.txt\nhello\nyou", False),
    ],
)
def test_what_was_written_is_shown_once(changes: str, shown: bool) -> None:
    call = ToolCall("write_file", {"path": "a.txt", "content": "hello\nyou\n"})
    console = Console(width=80)
    with console.capture() as told:
        console.print(call_shown(call, changes))
    assert ("content:" in told.get()) == shown
    assert told.get().count("hello") == 1
    assert changes in told.get()


def test_a_question_that_no_model_could_be_loaded_for_is_kept(tmp_path: Path) -> None:
    class Dead(ScriptedBackend):
        def describe(self, role: Role) -> ModelInfo:
            raise ModelFailed("The model's process ended.", "Ask again to start a new one.")

    talk = conversation(tmp_path, [], Dead([], context_tokens=50_000))

    async def scene(chat: Chat) -> None:
        await chat.ask("Hello")
        assert [card.state for card in chat.cards(NoteCard)] == [State.FAILED]

    play(talk, scene)
    assert [(run.query, run.stop) for run in talk.runs()] == [("Hello", StopReason.FAILED)]
    talk._backend = ScriptedBackend(HELLO, context_tokens=50_000)
    talk.ask("Hello")
    assert [run.stop for run in talk.runs()] == [StopReason.FAILED, StopReason.ANSWERED]


@pytest.mark.parametrize("bad", ["\x1b]52;c;aGk=\x07", "\x1b[2J", "[bold red]red[/]", "\u202eevil", "\x9b31m"])
def test_no_text_from_outside_acts_on_the_terminal(tmp_path: Path, bad: str) -> None:

    script = [
        Line(PLANNER, f"Use calculator to work out {bad}. Next: caller."),
        Line(CALLER, json.dumps({"name": "calculator", "arguments": {"expression": bad}})),
        Line(PLANNER, "The tool did not work, so say what went wrong. Next: conclusion."),
        Line(SUMMARIZER, f"It says {bad}."),
    ]

    async def scene(chat: Chat) -> None:
        await chat.ask(f"What is {bad}?")
        screen = "".join(segment.text for strip in chat.app.screen._compositor.render_strips() for segment in strip)
        assert not set("\x1b\x07\x9b\u202e") & set(screen)
        if bad.startswith("[bold"):
            assert screen.count("[bold red]") >= 2

    play(conversation(tmp_path, script), scene)


@pytest.mark.parametrize("size", [(40, 15), (80, 24), (160, 50)])
def test_any_size_shows_the_question_box_and_only_a_wide_one_the_panel(tmp_path: Path, size: tuple[int, int]) -> None:
    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        box = chat.app.query_one("#question")
        assert box.region.height >= 1
        assert box.region.bottom <= size[1]
        assert chat.app.query_one("#side").display == (size[0] >= 130)

    play(conversation(tmp_path, SUM), scene, size)


def test_a_table_and_a_long_text_are_shown_as_what_they_are() -> None:
    from rich.console import Console

    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(observation_shown("query_table", "name | price\nsoap | 1.2\nbread | 3"))
    console.print(arguments_shown({"path": "a.txt", "content": "one\ntwo"}))
    console.print(observation_shown("read_file", "a | b"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "soap  │ 1.2" in shown
    assert "one\ntwo" in shown.replace(" \n", "\n").replace("  ", "")
    assert '"path": "a.txt"' in shown
    assert "a | b" in shown


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
