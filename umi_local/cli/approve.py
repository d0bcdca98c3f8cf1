"""Asking the person at the terminal: on stderr and stdin, so that stdout stays for data."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from umi_local.plain import visible
from umi_local.toolbox import ApprovalRequest


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end; of a stream that was closed from the start there is nothing."""
    return stream is not None and stream.isatty()


def interactive() -> bool:
    """Whether there is a person to ask: both ends of the question are a terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def keyboard() -> TextIO | None:
    """Where a person can be asked though something else may be piped in; None where nobody is."""
    if not is_terminal(sys.stderr):
        return None
    if is_terminal(sys.stdin):
        return sys.stdin
    try:
        return Path("/dev/tty").open(encoding="utf-8")
    except OSError:  # no terminal belongs to this process, or this is Windows
        return None


def ask_on_terminal(request: ApprovalRequest, keys: TextIO | None = None) -> bool:
    """Show all of a request, control characters written out, and wait for a clear yes or no."""
    sys.stderr.write(f"\n{_described(request)}\n")
    return confirmed(f"Allow this call of {visible(request.tool)}?", keys)


def choice(request: ApprovalRequest, choices: Mapping[str, str], default: str) -> str:
    """Show all of a request and let one of numbered choices be typed; Enter and the end of input are `default`."""
    sys.stderr.write(f"\n{_described(request)}\n")
    sys.stderr.write("".join(f"  {key}  {visible(text)}\n" for key, text in choices.items()))
    _forget_what_was_typed_before(sys.stdin)
    while True:
        sys.stderr.write(f"your choice [{default}]: ")
        sys.stderr.flush()
        reply = sys.stdin.readline().strip()
        if not reply:
            return default
        if reply in choices:
            return reply


def confirmed(question: str, keys: TextIO | None = None) -> bool:
    """Ask until it is yes or no; Enter alone and the end of input are no. `keys` is standard input or what else is."""
    keys = keys or sys.stdin
    _forget_what_was_typed_before(keys)
    while True:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        reply = keys.readline()
        match reply.strip().lower():
            case "y" | "yes":
                return True
            case "n" | "no" | "":
                if not reply:
                    sys.stderr.write("\n")
                return False


def _described(request: ApprovalRequest) -> str:
    lines = [f"{visible(request.tool)} asks for approval (effect: {request.effect})."]
    if request.reason:
        lines.append(visible(request.reason))
    for name, value in request.arguments.items():
        lines += _labelled(name, value if isinstance(value, str) else _as_json(value))
    if request.preview:
        lines += _labelled("preview", request.preview)
    return "\n".join(lines)


def _labelled(name: str, text: str) -> list[str]:
    """One line if it fits; else a block whose margin sets it apart from our own words."""
    lines = visible(text).split("\n")
    if len(lines) == 1:
        return [f"  {visible(name)}: {lines[0]}"]
    return [f"  {visible(name)}:", *(f"  | {line}" for line in lines)]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _forget_what_was_typed_before(keys: TextIO) -> None:
    """A key pressed before the question was shown is no answer to it."""
    try:
        import termios
    except ImportError:  # Windows has none
        return
    with suppress(OSError, ValueError, termios.error):  # no terminal, or no file descriptor
        termios.tcflush(keys.fileno(), termios.TCIFLUSH)
