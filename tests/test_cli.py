"""The command line as it is run: what goes to which stream, and with which exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from chatting import Broken
from hypothesis import given
from hypothesis import strategies as st

from umi_local import __version__
from umi_local.cli.main import run
from umi_local.events import RunEnded, RunStarted, StepEnded
from umi_local.messages import Observation, ToolCall
from umi_local.plain import as_json, printable, visible
from umi_local.sessions import SessionStore, open_store
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

ENTRY = [sys.executable, "-c", "from umi_local.cli.main import run; run()"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Cli:
    """Runs the entry point in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        captured = self._capture.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def umi(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def store() -> SessionStore:
    return open_store()


def a_session(store: SessionStore, query: str = "What is it?", answer: str = "42", seen: str = "seen") -> str:
    session = store.create("qwen", "/work", "multi")
    emit = store.record(session)
    step = Step(Decision("look", Next.CALL), (ToolCall("read_file", {"path": "a"}),), (Observation(seen),))
    emit(RunStarted(Trajectory(query)))
    emit(StepEnded(0, step))
    emit(RunEnded(Trajectory(query, steps=(step,)).ended(StopReason.ANSWERED, answer)))
    return session


# The entry point


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_help_goes_to_stdout_with_examples_first_and_the_commands_in_order(
    umi: Cli, arguments: tuple[str, ...]
) -> None:
    result = umi(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.index("Examples:") < result.out.index("Options:")
    listed = [line.split()[0] for line in result.out.partition("Commands:\n")[2].splitlines()]
    single = ["ask", "chat", "serve", "bench", "doctor"]
    assert listed == [*single, "models", "tools", "sessions", "convert", "train", "eval", "config"]


@pytest.mark.parametrize("command", ["sessions", "sessions list", "sessions show", "sessions export", "sessions rm"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_help_starts_with_examples(umi: Cli, command: str, flag: str) -> None:
    result = umi(*command.split(), flag)
    assert result.code == 0
    assert result.out.splitlines()[2] == "  Examples:"


def test_the_version_names_the_backend_too(umi: Cli) -> None:
    first, second = umi("--version").out.splitlines()
    assert first == f"umi-local {__version__}"
    assert second.startswith("llama-cpp-python ")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("asc",), "Did you mean 'ask'?"),
        (("sessions", "lst"), "Did you mean 'list'?"),
        (("sessions", "list", "--limt", "3"), "--limit"),
        (("sessions", "list", "--limit", "many"), "--limit"),
        (("sessions", "show"), "ID"),
    ],
)
def test_a_mistyped_command_exits_with_2_and_a_hint_on_stderr(umi: Cli, arguments: tuple[str, ...], hint: str) -> None:
    result = umi(*arguments)
    assert (result.code, result.out) == (2, "")
    assert hint in result.err


def test_an_error_of_the_user_is_one_sentence_with_its_remedy(umi: Cli) -> None:
    result = umi("sessions", "show", "nothing")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: There is no session 'nothing'. See umi-local sessions list.\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("serve", "--workspace", "nosuch"), "not a folder"),
        (("serve", "--host", "203.0.113.1"), "can be reached from other computers"),
        (("chat", "--workspace", "~nobody/x"), "not a folder"),
        (("bench", "--model", "~nobody/x.gguf"), "there is no file"),
        (("sessions", "list", "--limit", "99999999999999999999"), "--limit"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_fetched(umi: Cli, arguments: tuple[str, ...], told: str) -> None:
    result = umi(*arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.err


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(umi: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = umi("serve", "--port", str(taken.getsockname()[1]))
    assert (result.code, result.out) == (2, "")
    assert "already in use. Give another --port." in result.err


def test_a_working_folder_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    script = "import os; os.rmdir(os.getcwd()); from umi_local.cli.main import run; run(['ask', 'x'])"
    (tmp_path / "gone").mkdir()
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "gone", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"not a folder" in done.stderr


@pytest.mark.parametrize("form", ["--json", "--stream-json"])
def test_who_reads_json_is_told_how_a_failed_run_ended(
    umi: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    backend = Broken([], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    monkeypatch.setattr("umi_local.cli.ask.piped_text", str)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    result = umi("ask", form, "-q", "--model", str(tmp_path / "model.gguf"), "--workspace", str(tmp_path), "Hello?")
    assert result.code == 3
    told = json.loads(result.out if form == "--json" else result.out.splitlines()[-1])
    assert (told["query"], told["answer"], told["stop"]) == ("Hello?", "", "failed")
    assert [run.stop for run in open_store().trajectories(told["session"])] == [StopReason.FAILED]


@pytest.mark.parametrize("arguments", ["--debug sessions show nothing", "sessions show nothing --debug"])
def test_debug_shows_the_traceback_wherever_it_stands(umi: Cli, arguments: str) -> None:
    result = umi(*arguments.split())
    assert result.code == 2
    assert "Traceback" in result.err
    assert result.err.endswith("error: There is no session 'nothing'. See umi-local sessions list.\n")


def test_an_error_cannot_write_to_the_terminal_what_the_terminal_would_obey(umi: Cli) -> None:
    assert "\x1b" not in umi("sessions", "show", "\x1b[2J").err


@pytest.mark.skipif(os.name != "posix", reason="pipes end this way on POSIX")
def test_a_reader_that_goes_away_is_no_error(store: SessionStore) -> None:
    for _ in range(3):
        a_session(store, answer="long " * 20_000)
    session = store.latest().id
    process = subprocess.Popen(
        [*ENTRY, "sessions", "show", session], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


# Sessions


def test_sessions_are_listed_on_lines_and_as_json(umi: Cli, store: SessionStore) -> None:
    first, second = a_session(store, "one\nline"), a_session(store, "two")
    lines = umi("sessions", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == [second, first]
    assert lines[1].endswith("answered      one line")
    told = json.loads(umi("sessions", "list", "--json", "--limit", "1").out)
    assert [(session["id"], session["title"]) for session in told] == [(second, "two")]
    assert umi("sessions", "list", "--search", "LINE").out.split()[0] == first


def test_an_empty_list_says_so_on_stderr(umi: Cli) -> None:
    result = umi("sessions", "list")
    assert (result.code, result.out, result.err) == (0, "", "There is no session yet.\n")
    assert umi("sessions", "list", "--json").out == "[]\n"


def test_a_session_is_shown_by_the_beginning_of_its_id(umi: Cli, store: SessionStore) -> None:
    session = a_session(store)
    assert "> What is it?" in umi("sessions", "show", session[:-1]).out
    assert json.loads(umi("sessions", "show", session, "--json").out)["runs"][0]["answer"] == "42"


def test_what_a_session_shows_can_do_nothing_to_the_terminal(umi: Cli, store: SessionStore) -> None:
    hostile = "a\x1b]0;title\x07b\x1b[31mc\x9b2Jd\u202ee\x00f\r\ng"
    session = a_session(store, hostile, hostile, hostile)
    shown = umi("sessions", "show", session).out + umi("sessions", "list").out
    assert not set(shown) & set("\x1b\x07\x9b\u202e\x00\r")
    assert "abcdef\ng" in shown
    told = umi("sessions", "show", session, "--json").out
    assert not set(told) & set("\x1b\x07\x9b\u202e\x00\r")
    assert json.loads(told)["runs"][0]["answer"] == hostile


def test_an_export_never_overwrites_unless_forced(umi: Cli, store: SessionStore, tmp_path: Path) -> None:
    session, out = a_session(store), tmp_path / "talk.md"
    assert umi("sessions", "export", session, "--out", str(out)) == Result(0, "", "")
    assert out.read_text(encoding="utf-8") == umi("sessions", "export", session).out
    refused = umi("sessions", "export", session, "--format", "json", "--out", str(out))
    assert refused.code == 2
    assert "--force" in refused.err
    assert umi("sessions", "export", session, "--format", "json", "--out", str(out), "--force").code == 0
    assert json.loads(out.read_text(encoding="utf-8"))["id"] == session
    assert sorted(tmp_path.iterdir()) == [tmp_path / "home", out]


def test_an_export_to_where_nothing_can_be_written_is_a_sentence(umi: Cli, store: SessionStore, tmp_path: Path) -> None:
    result = umi("sessions", "export", a_session(store), "--out", str(tmp_path / "no" / "talk.md"))
    assert result.code == 2
    assert result.err.startswith("error: ")


def test_sessions_are_removed_all_or_none_and_only_with_yes_where_nobody_can_be_asked(
    umi: Cli, store: SessionStore
) -> None:
    first, second = a_session(store), a_session(store)
    assert "--yes" in umi("sessions", "rm", first).err
    assert umi("sessions", "rm", "--yes", first, "nothing").code == 2
    assert len(store.list()) == 2
    assert umi("sessions", "rm", "--yes", first, second).code == 0
    assert store.list() == ()


# Tools


def test_the_list_of_tools_says_what_each_does_and_whether_it_asks(umi: Cli) -> None:
    told = {tool["name"]: tool for tool in json.loads(umi("tools", "list", "--json").out)}
    assert told["calculator"]["effect"] == "none"
    assert told["write_file"]["asks"] and told["write_file"]["effect"] == "writes"
    assert not told["fetch_url"]["enabled"]
    lines = {line.split()[0]: line for line in umi("tools", "list").out.splitlines()}
    assert lines.keys() == told.keys()
    assert " asks " in lines["write_file"] and " off " in lines["fetch_url"]


def test_a_tool_is_shown_with_its_schema(umi: Cli) -> None:
    shown = umi("tools", "show", "calculator").out
    assert json.loads(shown[shown.index("{") :])["required"] == ["expression"]
    assert "Did you mean calculator?" in umi("tools", "show", "calculater").err


def test_a_tools_result_goes_to_stdout_and_its_error_to_stderr(umi: Cli) -> None:
    found = umi("tools", "run", "calculator", '{"expression": "2 * 21"}')
    assert (found.code, found.err) == (0, "")
    assert found.out.endswith("42\n")
    failed = umi("tools", "run", "calculator", '{"expression": "2 *"}')
    assert (failed.code, failed.out) == (1, "")
    assert failed.err


@pytest.mark.parametrize("arguments", ["2 * 21", "[1]", '"a"', "[" * 100_000])
def test_arguments_that_are_no_object_are_the_users_error(umi: Cli, arguments: str) -> None:
    result = umi("tools", "run", "calculator", arguments)
    assert result.code == 2
    assert result.err.startswith("error: The arguments are not ")


def test_a_call_with_an_odd_line_break_is_in_the_audit(umi: Cli, tmp_path: Path) -> None:
    told = json.dumps({"path": "a.txt", "content": "x\u2028y"})
    assert umi("tools", "run", "write_file", told, "--allow", "write_file", "--workspace", str(tmp_path)).code == 0
    assert "allowed  write_file" in umi("sessions", "audit").out


def test_a_tool_of_ones_own_is_begun_without_writing_over_anything(umi: Cli) -> None:
    path, test = umi("tools", "new", "count_words").out.splitlines()
    Path(path).unlink()
    Path(test).write_text("mine")
    assert umi("tools", "new", "count_words").code == 2
    assert Path(test).read_text() == "mine"


def test_a_tool_sees_only_its_workspace(umi: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("inside")
    (tmp_path / "b.txt").write_text("outside")
    seen = umi("tools", "run", "read_file", '{"path": "a.txt"}', "--workspace", str(tmp_path / "in"))
    assert "inside" in seen.out
    assert umi("tools", "run", "read_file", '{"path": "../b.txt"}', "--workspace", str(tmp_path / "in")).code == 1
    assert umi("tools", "run", "list_files", "{}", "--workspace", str(tmp_path / "no")).code == 2


def test_a_tool_that_asks_is_denied_where_nobody_can_be_asked_and_the_flag_is_named(umi: Cli, tmp_path: Path) -> None:
    call = ("tools", "run", "write_file", '{"path": "a.txt", "content": "new"}', "--workspace", str(tmp_path))
    denied = umi(*call)
    assert (denied.code, denied.out) == (5, "")
    assert "--allow write_file" in denied.err
    assert not (tmp_path / "a.txt").exists()
    assert umi(*call, "--allow", "writ_file").code == 2
    assert umi(*call, "--allow", "write_file").code == 0
    assert (tmp_path / "a.txt").read_text() == "new"


# Text for terminals


@given(st.text(st.characters()))
def test_no_text_keeps_a_character_that_a_terminal_acts_on(text: str) -> None:
    for shown in (printable(text), visible(text), as_json(text)):
        shown.encode("utf-8")
        assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 or c in "\u202e\u2066"]
    assert json.loads(as_json(text)) == text


def test_ordinary_text_of_any_script_is_printed_as_it_is() -> None:
    text = "a\tb\nc \u00e9\u65e5\u672c \u0627\u0644 \U0001f600 [31m"
    assert printable(text) == visible(text) == text


def test_sequences_disappear_whole_but_an_endless_one_hides_nothing() -> None:
    assert printable("a\x1b[1;31mb\x1b]8;;http://x\x1b\\c\x1bPq\x9cd\x1b(Be") == "abcde"
    assert printable("a\x1b]0;rest of the text") == "a0;rest of the text"
    assert visible("a\x1b[2Jb") == "a\\x1b[2Jb"
