"""How quick the chat is: `python tests/measure/chat_latency.py`.

In a pseudo-terminal: seconds from the start to the first paint, and from a key to its echo while a model writes thirty
words a second. Without one: what a card and a frame cost when a conversation has 2,000 cards.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

# No letter of the streamed text, and none of an escape sequence: each appears only where it was typed.
KEYS = "абвгдежзийклмнопрстуфхцчшщъыьэюяαβγδεζηθικλμνξοπρστυφχψω"
CARDS = 2_000


class Terminal:
    """A program on a pseudo-terminal of 100 columns and 32 rows."""

    def __init__(self, command: Sequence[str]) -> None:
        self.screen, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "32"}
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)

    def until(self, wanted: bytes, seconds: float = 30) -> float:
        """When the output since the last call held `wanted`."""
        seen, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.screen], [], [], 0.5)[0]:
                seen += os.read(self.screen, 65_536)
                if wanted in seen:
                    return time.monotonic()
        raise TimeoutError(f"{wanted!r} did not appear: {seen[-300:]!r}")

    def pass_over(self, seconds: float) -> None:
        """Let it paint for a while. (It never falls silent: the cursor blinks.)"""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.screen], [], [], 0.1)[0]:
                os.read(self.screen, 65_536)

    def press(self, keys: str) -> float:
        os.write(self.screen, keys.encode())
        return time.monotonic()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


def first_paint() -> float:
    terminal = Terminal([sys.executable, "-m", "umi_local", "chat"])
    painted = terminal.until(b"question") - terminal.started
    terminal.close()
    return painted


def echoes() -> list[float]:
    """Seconds from each key to the frame that shows it, while the answer is streamed."""
    terminal = Terminal([sys.executable, str(HERE), "--writing"])
    terminal.until(b"question")
    terminal.pass_over(1)
    terminal.press("go\r")
    terminal.until(b"word")
    taken = []
    for key in KEYS:
        pressed = terminal.press(key)
        taken.append(terminal.until(key.encode()) - pressed)
        time.sleep(0.05)
    terminal.close()
    return taken


def writing_app() -> None:
    """A chat whose planner writes for a minute."""
    from chatting import conversation

    from umi_local.backends.scripted import ScriptedBackend
    from umi_local.messages import Completion
    from umi_local.tui import ChatApp

    class Writing(ScriptedBackend):
        def complete(self, *arguments: Any, **named: Any) -> Completion:
            on_token = arguments[4] if len(arguments) > 4 else named["on_token"]
            for _ in range(1_800):
                on_token("WORD word 123 ")
                time.sleep(1 / 30)
            return Completion("", finished=False)

    with tempfile.TemporaryDirectory() as folder:
        ChatApp(conversation(Path(folder), [], Writing([], context_tokens=50_000))).run()


async def long_conversation() -> tuple[float, float]:
    """Milliseconds per card while 2,000 are added, and from a scroll behind the last to the frame that shows it."""
    from chatting import conversation

    from umi_local.tui import ChatApp
    from umi_local.tui.cards import NoteCard

    painted = asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        app = ChatApp(conversation(Path(folder), []))
        app.post_display_hook = painted.set  # type: ignore[method-assign]
        async with app.run_test(size=(100, 32)) as pilot:
            started = time.perf_counter()
            for number in range(CARDS):
                await app.transcript.add(NoteCard(f"card {number}"))
            await pilot.pause()
            added = time.perf_counter() - started
            frames = []
            for step in range(100):
                await pilot.pause(0.05)
                painted.clear()
                started = time.perf_counter()
                # Not pilot.pause(), which sends a message to every widget and so takes longer than a frame.
                app.transcript.scroll_relative(y=3 if step % 2 else -3, animate=False)
                await asyncio.wait_for(painted.wait(), 10)
                frames.append(time.perf_counter() - started)
            return 1_000 * added / CARDS, 1_000 * statistics.median(frames)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["UMI_LOCAL_HOME"] = home
        paints = [first_paint() for _ in range(5)]
        print(f"first paint: median {statistics.median(paints):.2f} s, slowest {max(paints):.2f} s of {len(paints)}")
        found = sorted(1_000 * seconds for seconds in echoes())
        print(
            f"key to echo while it writes: median {statistics.median(found):.0f} ms, "
            f"p95 {found[int(0.95 * len(found))]:.0f} ms, slowest {found[-1]:.0f} ms of {len(found)}"
        )
        card, frame = asyncio.run(long_conversation())
        print(f"{CARDS} cards: {card:.1f} ms to add one, {frame:.1f} ms for a frame of scrolling")


if __name__ == "__main__":
    writing_app() if sys.argv[1:] == ["--writing"] else main()
