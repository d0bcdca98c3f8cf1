"""`umi-local ask` as a user runs it: a process, a real model, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from umi_local.paths import HOME_VARIABLE
from umi_local.sessions import SessionStore

pytestmark = pytest.mark.real

SMALL = ["--pack", "smollm2-135m", "--tools", "calculator,write_file", "--max-steps", "2"]


@pytest.fixture
def home(small_model: Path, tmp_path: Path) -> Path:
    """A user's data folder with the small model in it."""
    home = tmp_path / "home"
    place = home / "models" / small_model.parent.name
    place.mkdir(parents=True)
    (place / small_model.name).hardlink_to(small_model)
    return home


def umi(home: Path, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "umi_local", *arguments],
        input=stdin,
        capture_output=True,
        cwd=home,
        env={**os.environ, HOME_VARIABLE: str(home), **environment},
        timeout=280,
        check=False,
    )


def one_sentence(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode().strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in done.stderr.decode()
    return lines[-1]


def test_a_question_is_answered_on_stdout_and_its_steps_are_told_on_stderr(home):
    done = umi(home, "ask", *SMALL, "Hello!")
    assert done.returncode in (0, 1)
    assert b"planner" in done.stderr
    assert b"planner" not in done.stdout
    assert bool(done.stdout.strip()) is (done.returncode == 0)


def test_json_has_the_documented_shape_and_the_session_holds_the_same_run(home):
    done = umi(home, "ask", *SMALL, "--json", "-q", stdin=b"What is 2 + 2?\n")
    told = json.loads(done.stdout)
    assert done.stderr == b""
    assert (told["schema_version"], told["query"], told["pack"]) == (1, "What is 2 + 2?", "smollm2-135m")
    for step in told["steps"]:
        assert len(step["calls"]) == len(step["observations"])
    stats = told["stats"]
    assert stats["evaluated_tokens"] > 0
    assert stats["roles"]["planner"]["turns"] >= 1
    (run,) = SessionStore(home / "sessions.db").trajectories(told["session"])
    assert (run.query, run.answer, run.stop) == (told["query"], told["answer"], told["stop"])


def test_a_stream_begins_with_init_and_ends_with_the_result(home):
    done = umi(home, "ask", *SMALL, "--stream-json", "-q", "Hello!")
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert lines[0] == {"type": "init", "schema_version": 1}
    assert lines[-1]["type"] == "result"
    assert {"run", "turn", "text", "turn_end", "step"} <= {line["type"] for line in lines}


def test_a_session_goes_on_with_what_was_said(home):
    first = json.loads(umi(home, "ask", *SMALL, "--json", "-q", "Hello!").stdout)
    second = json.loads(umi(home, "ask", *SMALL, "--json", "-q", "--continue", "Thanks!").stdout)
    third = json.loads(umi(home, "ask", *SMALL, "--json", "-q", "--session", first["session"][:-1], "Bye!").stdout)
    assert first["session"] == second["session"] == third["session"]
    store = SessionStore(home / "sessions.db")
    assert [run.query for run in store.trajectories(first["session"])] == ["Hello!", "Thanks!", "Bye!"]


def test_text_that_is_piped_to_a_question_counts_as_outside_text(home):
    asked = ["ask", *SMALL, "--json", "-q"]
    both = json.loads(umi(home, *asked, "Sum up.", stdin=b"Tom comes on Friday.\n").stdout)
    assert both["query"] == "Sum up.\n\nTom comes on Friday."
    alone = json.loads(umi(home, *asked, stdin=b"Hello!\n").stdout)
    store = SessionStore(home / "sessions.db")
    assert [store.trajectories(told["session"])[0].outside for told in (both, alone)] == [True, False]


def test_a_single_model_uses_the_same_store(home):
    done = umi(home, "ask", *SMALL, "--mode", "single", "--json", "-q", "Hello!")
    told = json.loads(done.stdout)
    assert set(told["stats"]["roles"]) == {"single"}


def test_a_file_of_ones_own_may_play_all_roles(home, small_model):
    done = umi(home, "ask", "--model", str(small_model), "--tools", "calculator", "--max-steps", "1", "--json", "Hi")
    assert json.loads(done.stdout)["pack"] == "files"


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        ([""], b"", 2, "no question"),
        (["   "], b"\n", 2, "no question"),
        ([*SMALL, "q"], b"\xff\xfe\x00binary", 2, "not UTF-8 text"),
        (["--tools", "calculater", "q"], b"", 2, "Did you mean calculator"),
        (["--allow", "nothing", "q"], b"", 2, "no tool 'nothing'"),
        (["--pack", "smollm", "q"], b"", 2, "no pack 'smollm'"),
        (["--mode", "both", "q"], b"", 2, "--mode"),
        (["--max-steps", "0", "q"], b"", 2, "--max-steps"),
        (["--model", "nowhere.gguf", "q"], b"", 2, "no file nowhere.gguf"),
        (["--session", "1999", *SMALL, "q"], b"", 2, "no session '1999'"),
        (["--continue", *SMALL, "q"], b"", 2, "no session yet"),
        (["--workspace", "nowhere", "q"], b"", 2, "not a folder"),
        # Named, as pytest would put a name made of it all into the environment, which has less room.
        pytest.param(SMALL, b"word " * 200_000, 1, "tokens", id="too-long"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(home, arguments, stdin, code, told):
    done = umi(home, "ask", *arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    assert told in one_sentence(done)
    assert done.stdout == b""


@pytest.mark.parametrize("content", [b"", b"GGUF", os.urandom(5000)])
def test_a_broken_model_file_is_one_sentence_and_code_3(home, tmp_path, content):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content)
    done = umi(home, "ask", "--model", str(broken), "q")
    assert done.returncode == 3
    assert "broken.gguf" in one_sentence(done)


def test_a_manifest_with_an_unknown_key_is_named(home, tmp_path):
    import umi_local.models

    shipped = Path(umi_local.models.__path__[0], "smollm2-135m.toml").read_text(encoding="utf-8")
    manifest = tmp_path / "mine.toml"
    manifest.write_text(f"colour = 'red'\n{shipped}", encoding="utf-8")
    done = umi(home, "ask", "--pack", str(manifest), "q")
    assert done.returncode == 2
    assert "colour" in one_sentence(done)


def test_a_home_that_cannot_be_written_is_one_sentence(home, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    done = umi(home, "ask", *SMALL, "q", UMI_LOCAL_HOME=str(blocked / "home"))
    assert done.returncode == 2
    assert HOME_VARIABLE in one_sentence(done)


def test_a_file_of_the_pack_with_other_bytes_is_never_loaded(home):
    (file,) = home.glob("models/*/*.gguf")
    changed = bytearray(file.read_bytes())
    file.unlink()
    changed[-1] ^= 1
    file.write_bytes(changed)
    done = umi(home, "ask", *SMALL, "q")
    assert done.returncode == 3
    assert "models pull" in one_sentence(done)


def test_tasks_are_scored_and_reported(home, tmp_path):
    (tmp_path / "files").mkdir()
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"id": "a", "query": "Hello!", "tools": [], "answer_any": ["e"]}\n', encoding="utf-8")
    report = tmp_path / "report.json"
    flags = ["--file", str(tasks), "--workspace", str(tmp_path / "files"), "--report", str(report)]
    done = umi(home, "eval", "tasks", *flags, "--pack", "smollm2-135m", "--tools", "calculator", "--max-steps", "1")
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert (told["n"], told["pack"], told["tasks"][0]["id"]) == (1, "smollm2-135m", "a")
    cost = told["tasks"][0]["cost"]
    assert min(cost["evaluated_tokens"], cost["sampled_tokens"], cost["wall_s"]) > 0
    assert f"{told['passed']} of 1 passed" in done.stdout.decode()


def test_a_kill_in_the_middle_loses_at_most_the_turn_in_flight(home):
    child = subprocess.Popen(
        [sys.executable, "-m", "umi_local", "ask", *SMALL, "--stream-json", "-q", "Hello!"],
        stdout=subprocess.PIPE,
        cwd=home,
        env={**os.environ, HOME_VARIABLE: str(home)},
    )
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line)["type"] == "text":
            break
    child.kill()
    child.wait()
    child.stdout.close()
    (session,) = SessionStore(home / "sessions.db").list()
    assert (session.title, session.state) == ("Hello!", "interrupted")
    again = umi(home, "ask", *SMALL, "-q", "--continue", "Hello again!")
    assert again.returncode in (0, 1)
