"""A run as lines on stderr: who had a turn, what was called, what came back."""

from __future__ import annotations

import json
import os
import shutil
import sys

from umi_local.events import (
    CallEnded,
    CallStarted,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    TextWritten,
    TurnEnded,
    TurnStarted,
    Warned,
)
from umi_local.messages import Role
from umi_local.plain import printable
from umi_local.trajectory import Next

_WIDTH, _WHOLE = 170, 2_000


class StepPrinter:
    """Prints a line per turn and call. Nothing of a model's or tool's text reaches the terminal as a command.

    On a terminal a passing line says who is at work: reading a long prompt takes a while. Where it is read aloud or
    kept, no line is to change again: it then says so once, and cuts nothing but what is very long.
    """

    def __init__(self, redraws: bool = True) -> None:
        self._redraws = redraws
        self._may_pass = redraws and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._passing = False

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted() if self._redraws:
                self._pass("reading the prompt ...")
            case RunStarted():
                self._line("working", "...")
            case TurnStarted(role, step) if step or role not in (Role.PLANNER, Role.SINGLE):
                self._pass(f"{role} at work ...")
            case TextWritten(Role.SUMMARIZER) | StepEnded() | RunEnded():
                self._pass("")
            case TurnEnded(role, _, text, usage) if role in (Role.PLANNER, Role.SINGLE):
                speed = f"{usage.sampled + usage.forced} tokens, {usage.seconds:.1f} s"
                self._line(role, f"{text}  ({speed})")
            case CallStarted(_, call):
                self._line("call", f"{call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}")
            case CallEnded(_, call, observation):
                word = "denied" if observation.denied else "failed" if observation.is_error else "result"
                self._line(word, observation.content)
            case Warned(text):
                self._line("warning", text)
            case _:
                pass

    def _line(self, who: str, text: str) -> None:
        flat = " ".join(printable(text).split())
        width = min(_WIDTH, shutil.get_terminal_size().columns if self._may_pass else _WIDTH) - 10
        width = width if self._redraws else _WHOLE
        shown = flat if len(flat) <= width else f"{flat[: width - 1]}…"
        self._pass("")
        sys.stderr.write(f"{who:>8}  {shown}\n")
        sys.stderr.flush()

    def _pass(self, text: str) -> None:
        """A line that the next one replaces; an empty one takes it away."""
        if self._may_pass and (text or self._passing):
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._passing = bool(text)


class AnswerStream:
    """Writes the summarizer's text to a terminal as it comes."""

    def __init__(self) -> None:
        self.wrote = False

    def __call__(self, event: Event) -> None:
        match event:
            case TextWritten(Role.SUMMARIZER, text):
                # The answer proper has no white space around it, which the model may well write.
                text = text if self.wrote else text.lstrip()
                if text:
                    self.wrote = True
                    sys.stdout.write(printable(text))
                    sys.stdout.flush()
            case StepEnded(_, step) if step.decision.next is Next.CONCLUDE and self.wrote:
                sys.stdout.write("\n")
                sys.stdout.flush()
            case _:
                pass
