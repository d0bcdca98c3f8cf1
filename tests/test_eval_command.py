"""`umi-local eval`: from the command line to a report and back, on a backend that says what it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import pytest
from test_cli import Cli, Result
from toolbench_fixtures import gold_lines, write_file

from umi_local.backends.scripted import Line, ScriptedBackend

Play = Callable[..., Result]


@pytest.fixture
def umi(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def play(umi: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs `eval toolbench` on the small file, with a model that writes the given lines."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, so to speak")
    file = write_file(tmp_path)
    template = "{{ '<|im_start|>' }}"

    def run(*flags: str, lines: Iterable[Line] | None = None) -> Result:
        script = gold_lines() if lines is None else lines
        monkeypatch.setattr(
            "umi_local.assemble.backend_for", lambda wanted: ScriptedBackend(script, chat_template=template)
        )
        return umi("eval", "toolbench", "--file", str(file), "--model", str(model), *flags)

    return run


def test_a_suite_prints_a_table_and_writes_report_page_and_predictions(play: Play, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("report.json", "page.html", "predictions.json")}
    flags = ["--report", "report.json", "--html", "page.html", "--predictions", "predictions.json"]
    result = play(*[str(files.get(flag, flag)) for flag in flags])
    assert result.code == 0, result.err
    assert "ToolBench, static: 3 items" in result.out
    assert (
        "Plan ACC" in result.out and "always the first tool, {}" in result.out and "paper: alpha-UMi 7B" in result.out
    )
    assert "toolbench: 3 of 3" in result.err and "toolbench" not in result.out
    report = json.loads(files["report.json"].read_text())
    assert report["metrics"]["plan_em"]["value"] == 100
    assert report["metrics"]["hallu_rate"]["value"] == 0
    assert report["cost"]["evaluated_tokens"] > 0
    known = report["provenance"]
    assert known["pack"] == "files" and len(known["roles"]["caller"]["sha256"]) == 64 and len(known["source"]) == 64
    assert {"seed", "temperature", "limit", "versions", "date", "mode"} <= set(known)
    assert len(json.loads(files["predictions.json"].read_text())) == 7
    assert files["page.html"].read_text().startswith("<!doctype html>")


def test_a_backend_that_dies_keeps_what_was_finished_and_the_same_command_goes_on(play: Play, tmp_path: Path) -> None:
    flags = ("--report", str(tmp_path / "report.json"))
    lines = list(gold_lines())
    broken = play(*flags, lines=islice(lines, 5))
    assert broken.code == 2
    assert "1 finished items are kept; the same command goes on from there." in broken.err
    assert broken.err.splitlines()[-1].startswith("error: The script has nothing")
    assert not (tmp_path / "report.json").exists()
    resumed = play(*flags, lines=lines[4:])
    assert resumed.code == 0, resumed.err
    assert "1 items are done" in resumed.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert [item["failed"] for item in report["items"]] == [[], [], []]
    again = play(*flags)
    assert "are done" not in again.err


def test_json_goes_to_stdout_alone(play: Play) -> None:
    result = play("--json")
    assert json.loads(result.out)["suite"] == "toolbench"


def test_a_limit_measures_a_sample(play: Play) -> None:
    script = [Line(line.role, line.text) for line in gold_lines()]
    result = play("--limit", "3", "--json", lines=script)
    told = json.loads(result.out)
    assert (told["n"], told["provenance"]["limit"]) == (3, 3)


def test_a_report_is_shown_and_its_cases_are_opened(play: Play, umi: Cli, tmp_path: Path) -> None:
    path = str(tmp_path / "report.json")
    wrong = [Line(line.role, line.text.replace('"days": 2', '"days": 3')) for line in gold_lines()]
    play("--report", path, lines=wrong)
    listed = umi("eval", "show", path, "--failed")
    assert [line.split()[0] for line in listed.out.splitlines()[:2]] == ["0", "2"]
    assert "2 of 3 items have something wrong" in listed.out
    opened = umi("eval", "show", path, "--item", "2")
    assert "turn 1: arguments" in opened.out and '\\"days\\": 3' in opened.out
    assert umi("eval", "show", path).out.startswith("ToolBench, static")
    assert umi("eval", "show", path, "--html", str(tmp_path / "again.html")).code == 0
    assert (tmp_path / "again.html").is_file()
    assert umi("eval", "show", path, "--item", "99").err == (
        "error: The report has no item '99'. List them with --failed, or read the report itself.\n"
    )


def test_reports_are_compared(play: Play, umi: Cli, tmp_path: Path) -> None:
    first, second = str(tmp_path / "first.json"), str(tmp_path / "second.json")
    play("--report", first, lines=[Line(line.role, line.text.replace("Oslo", "Rome")) for line in gold_lines()])
    told = play("--report", second, "--seed", "1", "--compare", first)
    assert "this run" in told.out and "difference" in told.out
    table = umi("eval", "compare", first, second)
    assert table.code == 0 and "95 % interval" in table.out
    rows = json.loads(umi("eval", "compare", first, second, "--json").out)["rows"]
    assert rows[1]["label"] == "second"
    assert rows[1]["differences"]["f1"]["value"] > 0
    assert umi("eval", "compare", first).err.startswith("error: There is nothing to compare with.")


def test_kept_reports_give_the_same_page_and_hold_no_texts(play: Play, umi: Cli, tmp_path: Path) -> None:
    report, intro = tmp_path / "report.json", tmp_path / "intro.md"
    kept, page, again = tmp_path / "docs" / "reports", tmp_path / "1.md", tmp_path / "2.md"
    intro.write_text("Chosen on these items.\n", encoding="utf-8")
    play("--report", str(report), lines=[Line(line.role, line.text.replace("Oslo", "Rome")) for line in gold_lines()])
    said = ("--intro", str(intro))
    assert umi("eval", "results", str(report), *said, "--keep", str(kept), "--out", str(page)).code == 0
    assert umi("eval", "results", str(kept / "report.json"), *said, "--out", str(again)).code == 0
    assert page.read_text(encoding="utf-8") == again.read_text(encoding="utf-8")
    assert "Chosen on these items." in page.read_text(encoding="utf-8")
    texts = [file.read_text(encoding="utf-8") for file in (report, kept / "report.json")]
    assert ["Rome" in text for text in texts] == [True, False]
    failed = [[bool(item["failed"]) for item in json.loads(text)["items"]] for text in texts]
    assert failed[0] == failed[1] and any(failed[0])
    missing = umi("eval", "results", str(report), "--intro", str(tmp_path / "none.md"))
    assert (missing.code, missing.err.count("\n")) == (2, 1)


def test_the_projects_page_of_results_is_the_one_that_its_reports_make(umi: Cli, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    reports = sorted(map(str, (root / "docs" / "reports").glob("*.json")))
    intro = str(root / "docs" / "reports" / "intro.md")
    assert umi("eval", "results", *reports, "--intro", intro, "--out", str(tmp_path / "page.md")).code == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == (root / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--gold-plan", "--mode", "single"), "--gold-plan needs a team"),
        (("--report", "no/where.json"), "There is no folder no for where.json. Make it first."),
        (("--compare", "nothing.json"), "The report nothing.json cannot be read"),
        (("--compare", "nothing.json", "--json"), "--json prints the report alone."),
        (("--split", "x"), "The suite toolbench has no --split."),
        (("--file", "missing.json"), "The file missing.json cannot be read"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(play: Play, flags: tuple[str, ...], told: str) -> None:
    result = play(*flags, lines=())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {told}") and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suite": "bfcl"}, "The reports are of different suites: bfcl and toolbench."),
        ({"provenance": {"source": "else"}}, "The reports were measured on different data."),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_runs(
    play: Play, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    path = tmp_path / "report.json"
    play("--report", str(path))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    result = play("--seed", "1", "--compare", str(path), lines=())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {told}")


def test_an_unknown_suite_is_answered_with_the_known_ones(umi: Cli) -> None:
    result = umi("eval", "tolbench")
    assert result.code == 2
    assert result.err.startswith("error: There is no suite 'tolbench'. The suites are: tasks, toolbench")


@pytest.mark.parametrize("command", ["eval", "eval toolbench", "eval tasks", "eval show", "eval compare"])
def test_every_help_starts_with_examples(umi: Cli, command: str) -> None:
    result = umi(*command.split(), "--help")
    assert result.code == 0
    assert result.out.splitlines()[2] == "  Examples:"
