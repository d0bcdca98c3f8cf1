"""The terminal chat, driven by keys, over an agent whose roles say what they are told to."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from pathlib import Path

import pytest
from chatting import CALLER, HELLO, PLANNER, SUM, SUMMARIZER, WRITE, Broken, Chat, Slow, conversation, play
from rich.console import Console
from textual.widgets import Button, Collapsible, Input, OptionList, SelectionList, Static

from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.cli.chat_plain import line_by_line
from umi_local.cli.main import run as umi_local
from umi_local.conversation import Verdict
from umi_local.errors import ConfigError, ModelFailed, UsageError
from umi_local.manifest import PackFile
from umi_local.messages import ModelInfo, Role, ToolCall
from umi_local.pull import OnProgress, Progress, Stage
from umi_local.sessions import open_store
from umi_local.settings import Chat as ChatSettings
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.toolbox import ApprovalRequest
from umi_local.trajectory import StopReason
from umi_local.tui import ChatApp
from umi_local.tui.appearance import THEMES
from umi_local.tui.calls import arguments_shown, call_shown, observation_shown
from umi_local.tui.cards import AnswerCard, CallCard, NoteCard, QuestionCard, State, TurnCard
from umi_local.tui.editor import written_in_editor
from umi_local.tui.packs import PacksScreen
from umi_local.tui.screens import ApprovalScreen, HelpScreen, SessionsScreen
from umi_local.tui.tools import ToolsScreen


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


def test_enter_denies_what_asks_and_nothing_is_written(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        assert chat.app.transcript.query(CallCard).last().state is State.WAITING
        shown = " ".join(str(static.content) for static in chat.app.screen.query(Static))
        assert "a.txt" in shown
        assert "hello" in shown
        await chat.pilot.press("enter")
        await chat.until(lambda: not chat.app.busy)
        assert chat.cards(CallCard)[0].state is State.DENIED
        assert not (tmp_path / "files" / "a.txt").exists()

    play(conversation(tmp_path, WRITE), scene)


def test_allowed_once_it_is_written_and_the_next_one_asks_again(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        for _ in range(2):
            await chat.type("Write hello to a.txt")
            await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
            await chat.pilot.press("o")
            await chat.until(lambda: not chat.app.busy)
        assert (tmp_path / "files" / "a.txt").read_text() == "hello"

    play(conversation(tmp_path, [*WRITE, *WRITE]), scene)


def test_allowed_for_the_session_it_does_not_ask_again(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press("s")
        await chat.until(lambda: not chat.app.busy)
        await chat.ask("Write hello to a.txt again")
        assert [card.state for card in chat.cards(CallCard)] == [State.DONE, State.DONE]

    play(conversation(tmp_path, [*WRITE, *WRITE]), scene)


def test_what_was_being_typed_when_a_tool_asks_allows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = "umi_local.tui.screens.SETTLE"
    monkeypatch.setattr(settle, 3600)  # however slowly the test's keys come, they come in a row

    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press(*"also how soon")
        assert isinstance(chat.app.screen, ApprovalScreen)
        assert not (tmp_path / "files" / "a.txt").exists()
        monkeypatch.setattr(settle, 0)  # the pause is over
        await chat.pilot.press("o")
        await chat.until(lambda: not chat.app.busy)
        assert (tmp_path / "files" / "a.txt").read_text() == "hello"

    play(conversation(tmp_path, WRITE), scene)


def test_ctrl_q_leaves_from_an_approval_and_denies_it(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press("ctrl+q")
        await chat.pilot.pause()

    play(conversation(tmp_path, WRITE), scene)
    assert not (tmp_path / "files" / "a.txt").exists()


def test_leaving_while_a_tool_asks_denies_it(tmp_path: Path) -> None:
    talk = conversation(tmp_path, WRITE)

    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))

    play(talk, scene)
    assert not (tmp_path / "files" / "a.txt").exists()


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


@pytest.mark.parametrize("bad", ["\x1b]52;c;aGk=\x07", "\x1b[2J", "[bold red]red[/]", "\u202eevil", "\x9b31m"])
def test_no_text_from_outside_acts_on_the_terminal(tmp_path: Path, bad: str) -> None:
    import json

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


def test_line_by_line_it_answers_each_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, so to speak")
    backend = ScriptedBackend([*HELLO, *HELLO], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\n/new\nHi again\n/quit\nnever read\n"))
    with pytest.raises(SystemExit) as ended:
        umi_local(["chat", "--plain", "--model", str(model), "--workspace", str(tmp_path)])
    told = capsys.readouterr()
    assert not ended.value.code
    assert told.out == "Hello!\nHello!\n"
    assert "planner" in told.err
    assert len(open_store().list()) == 2


def test_line_by_line_has_the_same_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model.gguf", tmp_path / "talk.md"
    model.write_bytes(b"GGUF, so to speak")
    backend = ScriptedBackend([*SUM, *SUM, *SUM], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    lines = ["/rename early", "What is 2 + 3?", "/rename Sums", "/sessions sums", f"/export {out}", "/find nothing"]
    lines += [
        "/find 2 + 3",
        "/tools calculator",
        "/edit 7",
        "/edit",
        "What is 2 + 3?",
        "/again",
        "/copy",
        "/theme dark",
        "/pack",
        "/resume 9",
        "/nope",
        "/help",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, "/quit"])))
    with pytest.raises(SystemExit):
        umi_local(["chat", "--plain", "--model", str(model), "--workspace", str(tmp_path)])
    told = capsys.readouterr()
    assert told.out == "It is **5**.\n" * 4
    said = (
        "has only 1 to take back",
        "in other words: What is 2 + 3?",
        "Nothing was asked yet",
        "called Sums",
        "Sums  (answered)",
        "question 1:",
        "no session '9'",
        "no command /nope",
    )
    for words in (*said, "Written to", "listed", "There are: ", "/export FILE"):
        assert words in told.err
    assert "It is **5**." in out.read_text()
    assert len(open_store().trajectories(open_store().latest().id)) == 2


@pytest.mark.parametrize("person", [True, False])
def test_line_by_line_a_session_is_removed_once_a_person_confirms(
    person: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = conversation(tmp_path, [*HELLO, *HELLO])
    talk.ask("Hi")
    other = talk.session
    talk.new()
    talk.ask("Hi")
    monkeypatch.setattr("umi_local.cli.chat_plain.interactive", lambda: person)
    said = [f"/remove {talk.session}", "no", f"/remove {talk.session}", "yes", "/remove", "/remove nothing", "/copy"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(said) if person else f"/remove {talk.session}"))
    removed = talk.session
    line_by_line(talk)
    told = capsys.readouterr().err
    if person:
        assert [session.id for session in talk.store.list()] == [other]
        assert talk.session == ""
        for words in (f"Remove {removed}", "Removed.", "a session's id", "no session 'nothing'", "Nothing was asked"):
            assert words in told
    else:
        assert {session.id for session in talk.store.list()} == {other, removed}
        assert f"umi-local sessions rm --yes {removed}" in told


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


def test_the_keys_of_an_approval_can_be_others(tmp_path: Path) -> None:
    talk = conversation(tmp_path, WRITE)
    talk.wanted = setup(Settings(chat=ChatSettings(keys={"allow_once": "y", "deny": "n"})))

    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        assert [str(button.label) for button in chat.app.screen.query(Button)][:2] == ["Deny (n)", "Allow once (y)"]
        await chat.pilot.press("o")
        assert isinstance(chat.app.screen, ApprovalScreen)
        await chat.pilot.press("y")
        await chat.until(lambda: not chat.app.busy)
        assert (tmp_path / "files" / "a.txt").read_text() == "hello"

    play(talk, scene)


def test_a_key_that_comes_while_one_types_decides_nothing_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = "umi_local.tui.screens.SETTLE"
    monkeypatch.setattr(settle, 3600)
    talk = conversation(tmp_path, WRITE)
    talk.wanted = setup(Settings(chat=ChatSettings(keys={"allow_once": "ctrl+b"})))

    async def scene(chat: Chat) -> None:
        await chat.type("Write hello to a.txt")
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await chat.pilot.press("ctrl+b")
        assert isinstance(chat.app.screen, ApprovalScreen)
        monkeypatch.setattr(settle, 0)
        await chat.pilot.press("ctrl+b")
        await chat.until(lambda: not chat.app.busy)
        assert (tmp_path / "files" / "a.txt").read_text() == "hello"

    play(talk, scene)


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
