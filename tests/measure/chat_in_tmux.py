"""The chat driven for real, in tmux, with the default pack: `python tests/measure/chat_in_tmux.py`.

Asks, watches, approves a write, denies one, stops a turn, kills the chat and goes on. Prints what the screen said after
each step; the exit code is the number of steps that did not come about. What the model answers is its own affair.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAME = "umi-local-measure"


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True).stdout


def screen() -> str:
    return tmux("capture-pane", "-p", "-t", NAME)


def keys(*pressed: str) -> None:
    tmux("send-keys", "-t", NAME, *pressed)


def ask(question: str) -> None:
    tmux("send-keys", "-t", NAME, "-l", question)
    keys("Enter")


def until(true: Callable[[str], bool], seconds: float = 180) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true(shown := screen()):
            return shown
        time.sleep(0.2)
    return ""


def begin(work: Path, *more: str) -> None:
    command = [sys.executable, "-m", "umi_local", "chat", "--workspace", str(work), *more]
    tmux("new-session", "-d", "-s", NAME, "-x", "110", "-y", "40", *command)
    until(lambda shown: "your question" in shown, 20)


def main() -> int:
    failed = 0

    def step(name: str, shown: str) -> None:
        nonlocal failed
        failed += not shown
        print(f"== {name}: {'done' if shown else 'DID NOT COME ABOUT'}\n{shown or screen()}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        begin(work)
        try:
            ask("What is 17 * 3?")
            step("an answer", until(lambda shown: "Answer  done" in shown and "51" in shown))
            ask('Save "hello" as a.txt.')
            step("a write asks", until(lambda shown: "asks for approval" in shown))
            time.sleep(1)  # a letter right away would be taken for typing
            keys("o")
            step("allowed once, it is written", until(lambda _: any(work.iterdir()), 30))
            until(lambda shown: shown.count("Answer  done") >= 1 and "asks for" not in shown)
            time.sleep(5)
            ask('Save "bye" as b.txt.')
            step("the next write asks again", until(lambda shown: "asks for approval" in shown))
            time.sleep(1)  # as above
            keys("Enter")
            step("Enter denies", until(lambda shown: "denied" in shown and "asks for" not in shown))
            until(lambda shown: "denied" in shown and "Answer  done" in shown)
            time.sleep(5)
            ask("Tell me a very long story about the sea.")
            until(lambda shown: "very long story" in shown, 10)
            keys("Escape")
            step("Esc stops a turn", until(lambda shown: "You stopped it" in shown, 30))
            for pid in tmux("list-panes", "-t", NAME, "-F", "#{pane_pid}").split():
                os.kill(int(pid), 9)
            time.sleep(1)
            begin(work, "--continue")
            step("after a kill it goes on", until(lambda shown: "b.txt" in shown, 20))
            print("files:", sorted(path.name for path in work.iterdir()))
        finally:
            subprocess.run(["tmux", "kill-session", "-t", NAME], capture_output=True, check=False)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
