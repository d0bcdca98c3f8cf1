"""What asks before it runs: nothing is allowed but by a clear word."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest
from chatting import (
    CALLER,
    PLANNER,
    SIZES,
    SUMMARIZER,
    WRITE,
    Chat,
    conversation,
    inside,
    play,
)
from textual.widgets import Button, Static

from umi_local.backends.scripted import Line
from umi_local.conversation import Verdict
from umi_local.permissions import kept_rules, take_back
from umi_local.settings import Chat as ChatSettings
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.toolbox import ApprovalRequest
from umi_local.tui.cards import CallCard, State
from umi_local.tui.messages import ApprovalWanted
from umi_local.tui.screens import ApprovalScreen

LONG = "\n".join(f"line {number}" for number in range(60))
LONG_WRITE = ApprovalRequest(
    "write_file", "writes", {"path": "a.txt", "content": LONG}, "\n".join(f"+{line}" for line in LONG.split("\n"))
)


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


def test_what_is_taken_back_elsewhere_asks_again_from_the_next_question_on(tmp_path: Path) -> None:
    talk = conversation(tmp_path, [*WRITE, *WRITE])
    asked: list[ApprovalRequest] = []

    def approve(request: ApprovalRequest) -> Verdict:
        asked.append(request)
        return Verdict.ALWAYS

    talk.approve = approve
    talk.ask("Write hello to a.txt")
    (rule,) = kept_rules()
    take_back(str(rule))
    talk.ask("Write hello to a.txt")
    assert len(asked) == 2


def test_what_asks_while_a_run_is_being_stopped_is_denied_unseen(tmp_path: Path) -> None:
    async def scene(chat: Chat) -> None:
        chat.app.transcript.stopping = True
        verdict: queue.Queue[Verdict] = queue.Queue(1)
        chat.app.post_message(ApprovalWanted(LONG_WRITE, verdict))
        await chat.until(lambda: not verdict.empty())
        assert verdict.get_nowait() is Verdict.DENY
        assert not isinstance(chat.app.screen, ApprovalScreen)

    play(conversation(tmp_path, []), scene)
