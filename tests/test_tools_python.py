"""Python code in a child process, and the limits that hold it."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from umi_local.messages import ToolCall
from umi_local.toolbox import Approval, LocalToolbox, ToolContext, ToolError, Workspace, policy_of, sandbox
from umi_local.toolbox.isolation import Isolation, available
from umi_local.toolbox.sandbox import Limits, Result, run_limited
from umi_local.tools import python
from umi_local.tools.python import run_python

isolated = pytest.mark.usefixtures("kept_in")

CONTEXT = ToolContext(Workspace(Path()), Path("notes.md"))


@pytest.fixture(params=[Isolation.BUBBLEWRAP, Isolation.NAMESPACES])
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of keeping a program in that this system has, one after the other."""
    if request.param not in available():
        pytest.skip(f"this system has no {request.param}")
    monkeypatch.setattr(sandbox, "isolation", lambda: request.param)


def run(code: str) -> str:
    text: str = run_python.call(CONTEXT, run_python.validate({"code": code}))
    return text


def limited(code: str, limits: Limits) -> Result:
    return run_limited([sys.executable, "-I", "main.py"], files={"main.py": code}, limits=limits)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("print(6 * 7)", "42"),
        ("x = 6\nx * 7", "42"),
        ("'text'", "text"),
        ("print('a')\n'b'", "a"),
        ("```python\nprint('fenced')\n```", "fenced"),
        ("for i in range(3):\n    print(i)", "0\n1\n2"),
        ("from math import sqrt\nsqrt(16)", "4.0"),
        ("print('é', end='')", "é"),
        ("x = 1", "The code ran and printed nothing; print the result."),
        ("None", "The code ran and printed nothing; print the result."),
        ("if __name__ == '__main__':\n    print('main')", "main"),
        ("exit()", "The code ran and printed nothing; print the result."),
    ],
)
def test_what_is_printed_or_else_the_last_value_comes_back(code: str, told: str) -> None:
    assert run(code) == told


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "print('a')\n1 / 0",
            "The code failed: ZeroDivisionError: division by zero (line 2).\nBefore that it printed:\na",
        ),
        ("def f(:\n    pass", "The code failed: SyntaxError: invalid syntax (line 1)."),
        ("def f():\n    return g()\nf()", "The code failed: NameError: name 'g' is not defined (line 2)."),
        ("raise ValueError('a\\nb')", "The code failed: ValueError: a b (line 1)."),
        ("raise SystemExit(3)", "The code failed: exit code 3."),
        ("input()", "The code failed: EOFError: EOF when reading a line (line 1)."),
        ("import os\nos.kill(os.getpid(), 11)", "The code crashed with signal 11."),
        (" ", "There is no code to run."),
        ("#" * 50_001, "The code is too long: at most 50000 characters."),
    ],
)
def test_a_failure_is_told_in_a_sentence_with_its_line(code: str, told: str) -> None:
    with pytest.raises(ToolError) as raised:
        run(code)
    assert str(raised.value) == told


def test_a_missing_file_is_answered_with_the_tools_that_read_files() -> None:
    with pytest.raises(ToolError, match="read files with read_file or query_table"):
        run("open('sales.csv')")


def test_running_code_asks_first_and_shows_all_of_it() -> None:
    assert run_python.asks
    assert run_python.preview
    assert run_python.preview(CONTEXT, {"code": "print(1)\x1b[2K"}) == "print(1)\\x1b[2K"


def test_the_code_starts_in_an_empty_folder_without_the_users_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    told = run("import os\nprint(os.listdir(), 'API_TOKEN' in os.environ, os.environ['HOME'] == os.getcwd())")
    assert told == "['main.py'] False True"


def test_the_folder_is_gone_afterwards() -> None:
    folder = run("import os\nopen('x', 'w').write('x')\nprint(os.getcwd())")
    assert not Path(folder).exists()


def test_modules_in_the_current_folder_of_the_parent_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text("print('trapped')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError, match="No module named 'trap'"):
        run("import trap")


def test_memory_is_limited() -> None:
    with pytest.raises(ToolError, match=r"MemoryError .*1024 MB are available"):
        run("x = 'a' * (3 << 30)")


def test_output_is_limited_and_keeps_both_ends() -> None:
    told = run("print('begin' + 'x' * 50000 + 'end')")
    assert told.startswith("begin")
    assert told.endswith("end")
    assert "bytes left out" in told
    assert len(told) < 9000


def test_files_and_endless_output_are_limited() -> None:
    with pytest.raises(ToolError, match="it may print or write 10 MB"):
        run("while True:\n    print('x' * 100000)")
    with pytest.raises(ToolError, match="it may print or write 10 MB"):
        run("open('f', 'wb').write(b'x' * 20_000_000)")


def test_time_on_the_clock_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "LIMITS", Limits(wall_seconds=1))
    start = time.monotonic()
    with pytest.raises(ToolError, match="stopped after 1 seconds"):
        run("import time\ntime.sleep(60)")
    assert time.monotonic() - start < 5


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "LIMITS", Limits(wall_seconds=30, cpu_seconds=1))
    with pytest.raises(ToolError, match="more than 1 seconds of processor time"):
        run("while True:\n    pass")


def test_a_program_that_ignores_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "LIMITS", Limits(wall_seconds=1))
    with pytest.raises(ToolError, match="stopped after"):
        run("import signal, time\nfor s in (2, 15, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(1)")


FORKS = """
import os, sys, time
for _ in range(3):
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}])
time.sleep(0.5)
"""


def alive(mark: str) -> bool:
    """Whether any process still runs that was started with this word."""
    return any(mark.encode() in _words(number) for number in Path("/proc").glob("[0-9]*"))


def wait_for_the_end_of(mark: str) -> None:
    deadline = time.monotonic() + 10
    while alive(mark):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _words(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("ending", ["", "time.sleep(60)", "os._exit(0)"])
def test_processes_left_behind_are_killed_however_the_program_ends(ending: str) -> None:
    mark = f"left-{secrets.token_hex(8)}"
    limited(FORKS.format(mark=mark) + ending, Limits(wall_seconds=3))
    wait_for_the_end_of(mark)


@isolated
def test_processes_in_sessions_of_their_own_are_killed_too() -> None:
    mark = f"left-{secrets.token_hex(8)}"
    limited("import os\nos.setsid()\n" + FORKS.format(mark=mark), Limits(wall_seconds=3))
    wait_for_the_end_of(mark)


@isolated
def test_a_fork_bomb_is_stopped() -> None:
    started = time.monotonic()
    result = limited("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", Limits(processes=16))
    # By the watch; or, where the bomb takes all of a slow machine, by the clock.
    assert "at most 16 processes" in result.stderr or result.timed_out
    assert result.exit_code != 0
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("waited", [0.0, 10.0])
def test_a_machine_that_is_full_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch, waited: float) -> None:
    start, refused = sandbox.subprocess.Popen, iter([True, True])

    def full_at_first(*given: Any, **named: Any) -> Any:
        if next(refused, False):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*given, **named)

    monkeypatch.setattr(sandbox.subprocess, "Popen", full_at_first)
    monkeypatch.setattr(sandbox, "_ROOM_SECONDS", waited)
    if waited:
        assert limited("print(6 * 7)", Limits()).stdout == "42\n"
    else:
        with pytest.raises(BlockingIOError):
            limited("print(6 * 7)", Limits())


@isolated
def test_memory_is_limited_for_all_processes_together() -> None:
    bomb = "import os, time\nfor _ in range(8):\n    if os.fork() == 0: break\nx = b'x' * 60_000_000\ntime.sleep(60)"
    result = limited(bomb, Limits(memory_bytes=200_000_000))
    assert result.exit_code == 1
    assert "the processes together took too much" in result.stderr


@isolated
def test_only_the_systems_files_and_those_given_can_be_read(tmp_path: Path) -> None:
    secret, given = tmp_path / "secret.txt", tmp_path / "given.txt"
    secret.write_text("s", encoding="utf-8")
    given.write_text("g", encoding="utf-8")
    code = f"print(open({str(given)!r}).read())\nopen({str(secret)!r})"
    result = run_limited([sys.executable, "-I", "-c", code], readable=[given])
    assert result.stdout.strip() == "g"
    assert "FileNotFoundError" in result.stderr
    assert not run_limited([sys.executable, "-I", "-c", "import os; print(os.listdir('/home'))"]).stdout


@isolated
@pytest.mark.parametrize("place", ["/usr/x", "/etc/x", "/x", "/dev/x", sys.prefix + "/x"])
def test_nothing_outside_the_own_folder_can_be_written(place: str) -> None:
    with pytest.raises(ToolError, match="Error"):
        run(f"open({place!r}, 'w').write('x')")
    assert not Path(place).exists()


@isolated
def test_there_is_no_network_not_even_to_this_computer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ToolError, match=r"unreachable|refused"):
            run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")


@isolated
def test_other_processes_are_neither_seen_nor_signalled() -> None:
    with pytest.raises(ToolError, match="ProcessLookupError"):
        run(f"import os\nos.kill({os.getpid()}, 0)")


@isolated
def test_what_is_written_in_the_own_folder_is_limited_in_all() -> None:
    with pytest.raises(ToolError, match="No space left"):
        run("for i in range(20): open(f'f{i}', 'wb').write(b'x' * 9_000_000)")


@isolated
def test_the_program_can_mount_nothing_and_gains_no_capability() -> None:
    assert run("print([line for line in open('/proc/self/status') if line.startswith('CapEff')])").count(
        "0000000000000000"
    )
    assert run("import ctypes\nctypes.CDLL(None).mount(b'x', b'/usr', b'tmpfs', 0, None)") == "-1"


@isolated
def test_the_program_can_make_no_namespace_to_mount_in() -> None:
    users_and_mounts = 0x10000000 | 0x00020000
    assert run(f"import ctypes\nprint(ctypes.CDLL(None).unshare({users_and_mounts}))") == "-1"


@isolated
def test_a_name_that_is_no_text_is_no_way_past_the_watch() -> None:
    named = "ctypes.CDLL(None).prctl(15, b'aaaaaaaaaaaaaa\\xc3\\xa9', 0, 0, 0)"  # cut inside of a character
    assert run(f"import ctypes, time\n{named}\ntime.sleep(0.3)\nprint('ok')") == "ok"


@isolated
def test_a_python_that_is_reached_by_links_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment whose Python is a link to a link elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "python").symlink_to(sys.executable)
    (tmp_path / "python").symlink_to(Path("elsewhere") / "python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert run_limited([sys.executable, "-I", "-S", "-c", "print(1)"]).stdout == "1\n"


def test_a_person_is_told_before_where_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "isolation", lambda: Isolation.NONE)
    assert run_python.preview
    assert run_python.preview(CONTEXT, {"code": "1"}).splitlines()[0] == python.NO_SANDBOX


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_without_a_sandbox_a_program_of_root_has_no_powers_and_can_mount_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "isolation", lambda: Isolation.NONE)
    (tmp_path / "kept.txt").write_text("kept", encoding="utf-8")
    assert "CapEff:\t0000000000000000" in run("print(open('/proc/self/status').read())")
    mount = f"ctypes.CDLL(None).mount({str(tmp_path)!r}.encode(), b'.', b'', 4096, None)"
    assert run(f"import ctypes\nprint({mount})") == "-1"
    assert (tmp_path / "kept.txt").is_file()


def test_without_a_sandbox_the_limits_still_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "isolation", lambda: Isolation.NONE)
    with pytest.raises(ToolError, match="MemoryError"):
        run("x = 'a' * (3 << 30)")


def test_a_few_threads_fit_into_the_limits() -> None:
    code = "import threading, time\nts = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(16)]\n"
    assert run(code + "for t in ts: t.start()\nfor t in ts: t.join()\nprint('ok')") == "ok"


@pytest.mark.skipif(os.name != "posix", reason="limits of the processes of POSIX")
def test_limits_cannot_be_raised_again_by_a_user() -> None:
    code = "import resource\nprint(*[resource.getrlimit(k) for k in (resource.RLIMIT_CPU, resource.RLIMIT_AS)])"
    result = limited(code, Limits(cpu_seconds=7, memory_bytes=1 << 30))
    assert result.stdout.strip() == f"(7, 7) ({1 << 30}, {1 << 30})"


def test_standard_input_is_empty_and_standard_error_comes_back() -> None:
    result = limited("import sys\nprint(repr(sys.stdin.read()))\nprint('e', file=sys.stderr)\nsys.exit(5)", Limits())
    assert (result.stdout.strip(), result.stderr.strip(), result.exit_code) == ("''", "e", 5)


def test_a_program_that_does_not_exist_is_an_error_not_a_result() -> None:
    result = run_limited([str(Path("/no/such/program"))])
    assert result.exit_code != 0


def test_a_program_that_nobody_waits_for_is_ended_at_once(tmp_path: Path) -> None:
    """Esc, a client that leaves, --max-seconds: all come here."""
    context = ToolContext(Workspace(tmp_path), tmp_path / "notes.md")
    box = LocalToolbox([run_python], context, Approval(policy_of(allow=["*"])))
    threading.Timer(1, box.cancel).start()
    started = time.monotonic()
    seen = box.run(ToolCall("run_python", {"code": "import time\nwhile True: time.sleep(1)"}))
    assert (seen.content, seen.is_error) == ("The call was stopped.", True)
    assert time.monotonic() - started < 8
