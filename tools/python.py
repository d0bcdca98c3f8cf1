"""Python code in a child process with limits. What they do not protect from: see umi_local.toolbox.sandbox."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from umi_local.plain import visible
from umi_local.toolbox import Effect, ToolContext, ToolError, tool
from umi_local.toolbox.isolation import Isolation, isolation
from umi_local.toolbox.sandbox import Limits, Result, run_limited

LIMITS = Limits(wall_seconds=15, cpu_seconds=10, memory_bytes=1 << 30, file_bytes=10_000_000)
MAX_CODE = 50_000  # characters
NO_SANDBOX = "# This system has no sandbox: the code can read your files and use the network."


def _preview(_context: ToolContext, arguments: Mapping[str, Any]) -> str:
    code = visible(_unfenced(arguments["code"]))
    return code if isolation() is not Isolation.NONE else f"{NO_SANDBOX}\n{code}"


@tool(effect=Effect.EXECUTES, asks=True, preview=_preview)
def run_python(context: ToolContext, code: Annotated[str, "program that prints its result"]) -> str:
    """Run a short Python program when no other tool can compute the answer. It sees no files."""
    source = _unfenced(code)
    if not source.strip():
        raise ToolError("There is no code to run.")
    if len(source) > MAX_CODE:
        raise ToolError(f"The code is too long: at most {MAX_CODE} characters.")
    child = Path(__file__).with_name("python_child.py")
    argv = [sys.executable, "-I", "-X", "utf8", str(child)]
    return _told(run_limited(argv, files={"main.py": source}, limits=LIMITS, readable=[child], stop=context.stop))


def _unfenced(code: str) -> str:
    fenced = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", code, re.DOTALL)
    return fenced[1] if fenced else code


def _told(result: Result) -> str:
    printed = result.stdout.rstrip()
    if result.exit_code == 0 and not result.timed_out:
        return printed or result.stderr.rstrip() or "The code ran and printed nothing; print the result."
    before = f"\nBefore that it printed:\n{printed}" if printed else ""
    raise ToolError(_failure(result) + before)


def _failure(result: Result) -> str:
    if result.timed_out:
        return f"The code was stopped after {LIMITS.wall_seconds:g} seconds."
    if result.exit_code in (-9, -24):  # SIGKILL and SIGXCPU, which Windows does not define
        return f"The code was stopped: it used more than {LIMITS.cpu_seconds} seconds of processor time."
    if result.exit_code < 0:
        return f"The code crashed with signal {-result.exit_code}."
    *_, reason = result.stderr.rstrip().splitlines() or [f"exit code {result.exit_code}"]
    if reason.startswith("MemoryError"):
        reason += f"; {LIMITS.memory_bytes >> 20} MB are available"
    if "File too large" in reason:
        reason += f"; it may print or write {LIMITS.file_bytes // 10**6} MB"
    if reason.startswith("FileNotFoundError"):
        reason += "; code runs in an empty folder, so read files with read_file or query_table"
    return f"The code failed: {reason}."
