"""What the chat looks like, scene by scene: pictures in `__snapshots__`, each of which a person has looked at.

`pytest tests/test_scenes.py --snapshot-update` takes new ones after a change that is meant.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from chatting import CALLER, HELLO, PLANNER, SUM, SUMMARIZER, WRITE, Broken, Chat, Slow, conversation
from textual.pilot import Pilot
from textual.widgets import Input

from umi_local.backends.scripted import Line
from umi_local.conversation import Conversation
from umi_local.paths import data_dir
from umi_local.settings import Chat as ChatSettings
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.toolbox import ApprovalRequest, Rule, Ruling
from umi_local.tui import ChatApp
from umi_local.tui.appearance import THEMES
from umi_local.tui.cards import CallCard
from umi_local.tui.packs import PacksScreen
from umi_local.tui.screens import ApprovalScreen

Scene = Callable[[Chat], Awaitable[None]]
Snap = Callable[..., bool]

TABLE = "name,points\nada,40\nbo,25\nchiara,52\n"
ASK_TABLE = [
    Line(PLANNER, "Use query_table to query scores.csv. Next: caller."),
    Line(CALLER, '{"name": "query_table", "arguments": {"path": "scores.csv", "sql": "SELECT * FROM data"}}'),
    Line(PLANNER, "The result is there. Next: conclusion."),
    Line(SUMMARIZER, "ada has 40 points, bo 25 and **chiara 52**."),
]
NO_FILE = [
    Line(PLANNER, "Use read_file to read diary.md. Next: caller."),
    Line(CALLER, '{"name": "read_file", "arguments": {"path": "diary.md"}}'),
    Line(PLANNER, "The tool did not work, so say what went wrong. Next: conclusion."),
    Line(SUMMARIZER, "I could not read diary.md: there is no such file."),
]
TWO_CALLS = [
    Line(PLANNER, "Use calculator to work out both sums. Next: caller."),
    Line(
        CALLER,
        '{"name": "calculator", "arguments": {"expression": "17 * 3"}}\n'
        '{"name": "calculator", "arguments": {"expression": "17 * 4"}}',
    ),
    Line(PLANNER, "The results are there. Next: conclusion."),
    Line(SUMMARIZER, "They are 51 and 68."),
]
PROGRAM = [
    Line(PLANNER, "Use run_python to run a program. Next: caller."),
    Line(
        CALLER,
        '{"name": "run_python", "arguments": '
        '{"code": "total = 0\\nfor n in range(1, 11):\\n    total += n\\nprint(total)"}}',
    ),
    Line(PLANNER, "The tool did not work, so say what went wrong. Next: conclusion."),
    Line(SUMMARIZER, "The program was not run, as it was not allowed."),
]
REWRITE = [
    Line(PLANNER, "Use write_file to put oranges on the list. Next: caller."),
    Line(
        CALLER,
        '{"name": "write_file", "arguments": {"path": "list.md", "content": "# To buy\\n- bread\\n- oranges\\n"}}',
    ),
    Line(PLANNER, "The result is there. Next: conclusion."),
    Line(SUMMARIZER, "The list says oranges instead of apples now."),
]
REPEATING = [*SUM[:2] * 3, SUM[2], Line(SUMMARIZER, "It is 5; I kept asking for the same.")]
LONG = """## Three ways

1. **By train**: 3 h 10 min, from 29 euro.
2. **By bus**: 4 h 45 min, from 15 euro.
3. *By car*: 2 h 50 min, some 40 euro of fuel.

| way | hours | euro |
| --- | ---: | ---: |
| train | 3.2 | 29 |
| bus | 4.8 | 15 |
| car | 2.8 | 40 |

```python
cheapest = min(ways, key=lambda way: way.euro)
```

> The bus is the cheapest, the car the fastest.
"""


def says(text: str) -> list[Line]:
    return [HELLO[0], Line(SUMMARIZER, text)]


@pytest.fixture
def snap(
    snap_compare: Snap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Line], Scene, tuple[int, int], Any], None]:
    """Play a scene and compare its last picture with the one that was kept."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    # What takes a second here must not look other than what takes two elsewhere.
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr(ChatApp, "_tick", lambda _: None)

    def take(script: list[Line], scene: Scene, size: tuple[int, int] = (100, 32), talk: Any = None) -> None:
        talk = talk or conversation(tmp_path, script)
        (tmp_path / "files" / "scores.csv").write_text(TABLE)
        app = ChatApp(talk)

        async def play(pilot: Pilot[None]) -> None:
            await scene(Chat(app, pilot))
            # A cursor that blinks is in one picture and not in the next: the question's, and a search field's above it.
            await settled(Chat(app, pilot))
            for screen in app.screen_stack:
                for field in screen.query(Input):
                    field.cursor_blink = False
            await pilot.pause()

        assert snap_compare(app, terminal_size=size, run_before=play)

    return take


async def nothing(chat: Chat) -> None:
    await chat.pilot.pause()


def asks(question: str, *keys: str) -> Scene:
    async def scene(chat: Chat) -> None:
        await chat.ask(question)
        await chat.pilot.press(*keys)

    return scene


def waits_for_approval(question: str, *keys: str) -> Scene:
    async def scene(chat: Chat) -> None:
        await chat.type(question)
        await chat.until(lambda: isinstance(chat.app.screen, ApprovalScreen))
        await settled(chat)
        await chat.pilot.press(*keys)
        if keys:
            await chat.until(lambda: not chat.app.busy)

    return scene


async def settled(chat: Chat) -> None:
    """Until nothing moves any more: a box is laid out once more when the sizes of its parts are known."""
    before: list[object] = []
    for _ in range(40):
        await chat.pilot.pause(0.05)
        now = [widget.region for widget in chat.app.screen.query("*")]
        before = [*before[-5:], now]
        if len(before) == 6 and all(seen == now for seen in before):
            return


def request_shown(request: ApprovalRequest) -> Scene:
    async def scene(chat: Chat) -> None:
        await chat.app.push_screen(ApprovalScreen(request))
        await settled(chat)

    return scene


async def rewrites_the_list(chat: Chat) -> None:
    (chat.app.conversation.workspace / "list.md").write_text("# To buy\n- bread\n- apples\n")
    await waits_for_approval("Put oranges on the list instead of apples", "o")(chat)
    await chat.pilot.press("ctrl+o")


READ = ApprovalRequest("read_file", "reads", {"path": "letters/bank.txt"}, "", "", Rule(Ruling.ALLOW, "read_file"))
TAINTED = ApprovalRequest(
    "write_file",
    "writes",
    {"path": "a.txt", "content": "hello"},
    "new file a.txt\nhello",
    "A web page was read in this session; what it says may be a trick.",
)

LONG_WRITE = ApprovalRequest(
    "write_file",
    "writes",
    {"path": "recipe.md", "content": LONG},
    "--- recipe.md\n+++ recipe.md\n@@ -1,1 +1,15 @@\n-Old recipe\n"
    + "\n".join(f"+{line}" for line in LONG.split("\n")),
    "",
    Rule(Ruling.ALLOW, "write_file"),
)

SCENES: dict[str, tuple[list[Line], Scene, tuple[int, int]]] = {
    "empty": ([], nothing, (100, 32)),
    "tool_folded": (SUM, asks("What is 2 + 3?"), (100, 32)),
    "tool_unfolded": (SUM, asks("What is 2 + 3?", "ctrl+o"), (100, 40)),
    "table_unfolded": (ASK_TABLE, asks("Show me the scores", "ctrl+o"), (100, 45)),
    "several_calls": (TWO_CALLS, asks("What are 17 * 3 and 17 * 4?"), (100, 32)),
    "tool_failed": (NO_FILE, asks("Read diary.md"), (100, 32)),
    "loop_stopped": (REPEATING, asks("What is 2 + 3?"), (100, 50)),
    "approval_read": ([], request_shown(READ), (100, 32)),
    "approval_write": (WRITE, waits_for_approval("Write hello to a.txt"), (100, 32)),
    "approval_python": (PROGRAM, waits_for_approval("Add up 1 to 10 with a program"), (100, 32)),
    "approval_after_outside_text": ([], request_shown(TAINTED), (100, 32)),
    "approval_long_80x24": ([], request_shown(LONG_WRITE), (80, 24)),
    "denied": (PROGRAM, waits_for_approval("Add up 1 to 10 with a program", "d"), (100, 32)),
    "allowed_once": (WRITE, waits_for_approval("Write hello to a.txt", "o"), (100, 32)),
    "change_unfolded": (REWRITE, rewrites_the_list, (100, 45)),
    "long_markdown": (says(LONG), asks("How do I get there?"), (100, 45)),
    "palette": (SUM, asks("What is 2 + 3?", "ctrl+p"), (100, 32)),
    "help": ([], lambda chat: chat.pilot.press("f1"), (100, 40)),
    "help_80x24": ([], lambda chat: chat.pilot.press("f1"), (80, 24)),
    "size_40x15": (SUM, asks("What is 2 + 3?"), (40, 15)),
    "size_80x24": (SUM, asks("What is 2 + 3?"), (80, 24)),
    "size_160x50": (SUM, asks("What is 2 + 3?"), (160, 50)),
    "approval_40x15": (WRITE, waits_for_approval("Write hello to a.txt"), (40, 15)),
    "wide_characters": (says("今天是星期四。🎉 Très bien, 👩‍💻!"), asks("今天星期几？ 🎂"), (80, 24)),
    "right_to_left": (says("التاريخ اليوم هو ٢٦ نوفمبر."), asks("ما هو تاريخ اليوم؟"), (80, 24)),
    "hostile_text": (says("\x1b[2J\x1b]0;owned\x07[bold red]no[/] ok"), asks("[red]markup[/] \x1b[31m"), (80, 24)),
}


@pytest.mark.parametrize("name", SCENES)
def test_scene(name: str, snap: Any) -> None:
    snap(*SCENES[name])


@pytest.mark.parametrize("theme", [theme for theme in THEMES if theme != "dark"])
def test_theme(theme: str, snap: Any, tmp_path: Path) -> None:
    talk = conversation(tmp_path, NO_FILE)
    talk.wanted = setup(Settings(chat=ChatSettings(theme=theme)))
    snap([], asks("Read diary.md", "ctrl+o"), (100, 36), talk)


def test_planner_writing(snap: Any, tmp_path: Path) -> None:
    slow = Slow()

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        await chat.until(lambda: any("Thinking" in card.said for card in chat.cards()))

    snap([], scene, (100, 32), conversation(tmp_path, [], slow))
    slow.cancel()


def test_caller_writing(snap: Any, tmp_path: Path) -> None:
    slow = Slow(SUM[:1], '{"name": "calculator", "arguments": {"expression": "2 +')

    async def scene(chat: Chat) -> None:
        await chat.type("What is 2 + 3?")
        await chat.until(lambda: any("calculator" in card.said for card in chat.cards(CallCard)))

    snap([], scene, (100, 32), conversation(tmp_path, [], slow))
    slow.cancel()


def test_stopped_by_the_person(snap: Any, tmp_path: Path) -> None:
    slow = Slow()

    async def scene(chat: Chat) -> None:
        await chat.type("Think hard")
        await chat.until(slow.began.is_set)
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.app.busy)

    snap([], scene, (100, 32), conversation(tmp_path, [], slow))


def test_model_died(snap: Any, tmp_path: Path) -> None:
    snap([], asks("Hello"), (100, 32), conversation(tmp_path, [], Broken([], context_tokens=50_000)))


def test_context_nearly_full(snap: Any) -> None:
    used = {"trunk_tokens": 7_600, "evaluated_tokens": 90, "reused_tokens": 7_510, "sampled_tokens": 40}
    stats = {**used, "forced_tokens": 20, "roles": {"planner": {"turns": 1, "sampled_tokens": 40, "seconds": 3.0}}}

    async def scene(chat: Chat) -> None:
        await chat.ask("What is 2 + 3?")
        chat.app.show_status(stats)

    snap(SUM, scene, (140, 32))


def test_first_start_and_download(snap: Any, tmp_path: Path) -> None:
    talk = without_a_model(conversation(tmp_path, []))

    async def scene(chat: Chat) -> None:
        await chat.until(lambda: isinstance(chat.app.screen, PacksScreen))

    snap([], scene, (100, 32), talk)


def test_downloading(snap: Any, tmp_path: Path) -> None:
    talk = without_a_model(conversation(tmp_path, []))

    async def scene(chat: Chat) -> None:
        await chat.until(lambda: isinstance(chat.app.screen, PacksScreen))
        chat.app.screen.show_progress(123_000_000, 491_400_064)  # type: ignore[attr-defined]

    snap([], scene, (100, 32), talk)


def without_a_model(talk: Conversation) -> Conversation:
    talk._backend = None
    return talk


def test_sessions_listed_and_searched(snap: Any, tmp_path: Path) -> None:
    store = with_sessions(tmp_path)

    async def scene(chat: Chat) -> None:
        await chat.pilot.press("ctrl+r")
        await chat.pilot.press(*"tax")

    snap([], scene, (100, 32), store)


def test_all_sessions(snap: Any, tmp_path: Path) -> None:
    snap([], lambda chat: chat.pilot.press("ctrl+r"), (100, 32), with_sessions(tmp_path))


def test_all_sessions_80x24(snap: Any, tmp_path: Path) -> None:
    snap([], lambda chat: chat.pilot.press("ctrl+r"), (80, 24), with_sessions(tmp_path))


def with_sessions(tmp_path: Path) -> Conversation:
    """A conversation in a store with three sessions, all at fixed times."""
    talk = conversation(tmp_path, [*HELLO, *HELLO, *HELLO])
    for number, title in enumerate(("", "Tax papers", "")):
        talk.new()
        talk.ask(f"Question number {number + 1}")
        talk.store.rename(talk.session, title)
    talk.new()
    with sqlite3.connect(data_dir() / "sessions.db") as connection:
        for number, (session,) in enumerate(connection.execute("SELECT id FROM sessions ORDER BY rowid").fetchall()):
            connection.execute("UPDATE sessions SET used = ? WHERE id = ?", (1_790_000_000 + 90_000 * number, session))
    return talk


def test_found_text(snap: Any) -> None:
    async def scene(chat: Chat) -> None:
        for question in ("One", "Two", "Three", "Four"):
            await chat.ask(question)
        await chat.type("/find two")

    snap(HELLO * 4, scene, (80, 24))


def test_tool_picker(snap: Any) -> None:
    snap([], lambda chat: chat.type("/tools"), (100, 32))


def test_unknown_command(snap: Any) -> None:
    snap([], lambda chat: chat.type("/nope"), (100, 32))
