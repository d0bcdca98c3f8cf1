"""The chat line by line, for screen readers and pipes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from chatting import HELLO, PLANNER, SUM, conversation

from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.cli.chat_plain import line_by_line
from umi_local.cli.main import run as umi_local
from umi_local.sessions import open_store


def test_line_by_line_it_answers_each_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, so to speak")
    backend = ScriptedBackend([*HELLO, *HELLO], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\n/new\nHi again\n/quit\nnever read\n"))
    with pytest.raises(SystemExit) as ended:
        umi_local(["chat", "--plain", "--model", str(model), "--workspace", str(tmp_path)])
    told = capsys.readouterr()
    assert not ended.value.code
    assert told.out == "Hello!\nHello!\n"
    assert "planner" in told.err
    assert len(open_store().list()) == 2


def test_line_by_line_has_the_same_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model.gguf", tmp_path / "talk.md"
    model.write_bytes(b"GGUF, so to speak")
    backend = ScriptedBackend([*SUM, *SUM, *SUM], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    lines = ["/rename early", "What is 2 + 3?", "/rename Sums", "/sessions sums", f"/export {out}", "/find nothing"]
    lines += [
        "/find 2 + 3",
        "/tools calculator",
        "/edit 7",
        "/edit",
        "What is 2 + 3?",
        "/again",
        "/copy",
        "/theme dark",
        "/pack",
        "/resume 9",
        "/nope",
        "/help",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, "/quit"])))
    with pytest.raises(SystemExit):
        umi_local(["chat", "--plain", "--model", str(model), "--workspace", str(tmp_path)])
    told = capsys.readouterr()
    assert told.out == "It is **5**.\n" * 4
    said = (
        "has only 1 to take back",
        "in other words: What is 2 + 3?",
        "Nothing was asked yet",
        "called Sums",
        "Sums  (answered)",
        "question 1:",
        "no session '9'",
        "no command /nope",
    )
    for words in (*said, "Written to", "listed", "There are: ", "/export FILE"):
        assert words in told.err
    assert "It is **5**." in out.read_text()
    assert len(open_store().trajectories(open_store().latest().id)) == 2


@pytest.mark.parametrize("person", [True, False])
def test_line_by_line_a_session_is_removed_once_a_person_confirms(
    person: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = conversation(tmp_path, [*HELLO, *HELLO])
    talk.ask("Hi")
    other = talk.session
    talk.new()
    talk.ask("Hi")
    monkeypatch.setattr("umi_local.cli.chat_plain.interactive", lambda: person)
    said = [f"/remove {talk.session}", "no", f"/remove {talk.session}", "yes", "/remove", "/remove nothing", "/copy"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(said) if person else f"/remove {talk.session}"))
    removed = talk.session
    line_by_line(talk)
    told = capsys.readouterr().err
    if person:
        assert [session.id for session in talk.store.list()] == [other]
        assert talk.session == ""
        for words in (f"Remove {removed}", "Removed.", "a session's id", "no session 'nothing'", "Nothing was asked"):
            assert words in told
    else:
        assert {session.id for session in talk.store.list()} == {other, removed}
        assert f"umi-local sessions rm --yes {removed}" in told


def test_line_by_line_a_question_may_begin_with_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("/home/me/letter.txt says what?\n"))
    line_by_line(conversation(tmp_path, HELLO))
    assert capsys.readouterr().out == "Hello!\n"


def test_line_by_line_nothing_that_was_written_changes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "\u0394 " + "a long way to say it " * 20
    script = [Line(PLANNER, f"{said}. Next: conclusion."), HELLO[1]]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello?\n"))
    line_by_line(conversation(tmp_path, script))
    captured = capsys.readouterr()
    assert captured.out == "Hello!\n"
    assert said.strip() in captured.err
    assert "working  ...\n" in captured.err
    assert not {"\r", "\x1b"} & set(captured.err)


def test_a_byte_that_is_no_text_does_not_end_the_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    backend = ScriptedBackend([*HELLO, *HELLO], context_tokens=50_000, chat_template="<|im_start|>")
    monkeypatch.setattr("umi_local.conversation.backend_for", lambda wanted: backend)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9?\nagain\n"), encoding="utf-8"))
    with pytest.raises(SystemExit):
        umi_local(["chat", "--plain", "--model", str(tmp_path / "model.gguf"), "--workspace", str(tmp_path)])
    assert capsys.readouterr().out == "Hello!\nHello!\n"
