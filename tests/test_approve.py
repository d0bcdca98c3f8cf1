"""Being asked at a terminal: a real one, on both ends of the question."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="needs a POSIX terminal")

CALL = ["tools", "run", "write_file", '{"path": "a.txt", "content": "first\\n\\u001b[2Jsecond"}', "--workspace", "."]
PROMPT = "Allow this call of write_file? [y/N] "


class Terminal:
    """umi-local with a terminal as stdin and stderr, and a pipe as stdout."""

    def __init__(self, folder: Path, arguments: list[str], typed_before: str = "") -> None:
        self._end, slave = pty.openpty()
        os.write(self._end, typed_before.encode())
        code = "from umi_local.cli.main import run; run()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
        )
        os.close(slave)

    def read_until(self, text: str) -> str:
        shown = ""
        while text not in shown:
            try:
                shown += os.read(self._end, 4096).decode()
            except OSError:  # Linux's way of saying that the other end is closed
                pytest.fail(f"umi-local ended without {text!r}: {shown}")
        return shown.replace("\r\n", "\n")

    def type(self, text: str) -> None:
        time.sleep(0.05)  # what was typed before the question is thrown away
        os.write(self._end, text.encode())

    def ended(self) -> int:
        code = self.process.wait(timeout=30)
        os.close(self._end)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with closing(Terminal(tmp_path, CALL)) as terminal:
        yield terminal


def test_a_call_is_shown_whole_and_runs_after_a_yes(terminal: Terminal, tmp_path: Path) -> None:
    shown = terminal.read_until(PROMPT)
    assert "write_file asks for approval (effect: writes)." in shown
    assert "  path: a.txt\n" in shown
    assert "  content:\n  | first\n  | \\x1b[2Jsecond\n" in shown
    assert "preview:" in shown
    terminal.type("y\n")
    assert terminal.ended() == 0
    assert (tmp_path / "a.txt").read_text() == "first\n\x1b[2Jsecond"


@pytest.mark.parametrize("reply", ["\n", "n\n", "No\n", "\x04"])
def test_enter_no_and_the_end_of_input_are_no(terminal: Terminal, tmp_path: Path, reply: str) -> None:
    terminal.read_until(PROMPT)
    terminal.type(reply)
    assert terminal.ended() == 5
    assert not (tmp_path / "a.txt").exists()


def test_an_unclear_reply_is_asked_again(terminal: Terminal, tmp_path: Path) -> None:
    terminal.read_until(PROMPT)
    terminal.type("yn\n")
    terminal.read_until(PROMPT)
    terminal.type("YES\n")
    assert terminal.ended() == 0


def test_an_interrupt_at_the_question_ends_with_130(terminal: Terminal, tmp_path: Path) -> None:
    terminal.read_until(PROMPT)
    terminal.process.send_signal(2)
    assert terminal.ended() == 130
    assert not (tmp_path / "a.txt").exists()


def test_a_yes_typed_before_the_question_is_no_answer_to_it(tmp_path: Path) -> None:
    with closing(Terminal(tmp_path, CALL, typed_before="y\n")) as terminal:
        terminal.read_until(PROMPT)
        with pytest.raises(subprocess.TimeoutExpired):
            terminal.process.wait(0.3)
        terminal.type("n\n")
        assert terminal.ended() == 5


@pytest.mark.parametrize(("reply", "code"), [("y\n", 0), ("\n", 1)])
def test_a_person_is_asked_at_the_terminal_while_text_is_piped_in(reply: str, code: int) -> None:
    asking = (
        "import fcntl, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0)\n"  # as a shell's child has its terminal
        "from umi_local.cli.approve import confirmed, keyboard\n"
        "raise SystemExit(not confirmed('Go on?', keyboard()))"
    )
    end, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", asking], stdin=subprocess.PIPE, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        while b"[y/N]" not in os.read(end, 4096):
            pass
        time.sleep(0.05)
        os.write(end, reply.encode())
        assert process.wait(timeout=30) == code
    os.close(end)
