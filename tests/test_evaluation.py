"""How a suite is measured: samples, intervals, resuming, reports, comparisons, the page."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import umi_local.evaluation as public
from umi_local.errors import ModelFailed, UsageError
from umi_local.evaluation.bootstrap import intervals, paired_intervals
from umi_local.evaluation.comparison import compare
from umi_local.evaluation.comparison import to_json as comparison_to_json
from umi_local.evaluation.comparison_page import comparison_page, whiskers
from umi_local.evaluation.measuring import Progress, measure
from umi_local.evaluation.meter import Meter, total
from umi_local.evaluation.page import bar, page
from umi_local.evaluation.report import Report, to_json
from umi_local.evaluation.report_files import read_report, write_report
from umi_local.evaluation.results import results_page
from umi_local.evaluation.sample import stratified
from umi_local.evaluation.store import Result, Store
from umi_local.evaluation.suite import Contestant, Item, Metric, Policy, ReferenceRow, Tally
from umi_local.evaluation.suites import DATA_VARIABLE, SUITES, suite_named
from umi_local.events import TurnEnded
from umi_local.messages import Role, ToolCall, Usage
from umi_local.trajectory import Next, Trajectory


def never(start: Trajectory, toolbox: object) -> Trajectory:
    raise AssertionError


def says(answer: str) -> Contestant:
    return Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall("none"), lambda _: answer), never)


@dataclass
class Echo:
    """Scores whether the crew says the item's content; `asked` counts how often each item was predicted."""

    size: int = 10
    source: str = "abc"
    name: str = "echo"
    title: str = "Echo"
    notes: Sequence[str] = ("A note.",)
    asked: Counter[str] = field(default_factory=Counter)
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {
            "right": Metric("Right", "said it"),
            "length": Metric("Length", "characters", percent=False),
            "never": Metric("Never", "counts nothing"),
        }
    )

    def items(self) -> Sequence[Item]:
        return [Item(str(i), "even" if i % 2 == 0 else "odd", "ab" if i % 2 == 0 else "b") for i in range(self.size)]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        self.asked[item.id] += 1
        return {"said": contestant.crew.conclude(Trajectory(item.content))}

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        return {"right": (float(prediction["said"] == item.content), 1.0), "length": (len(prediction["said"]), 1.0)}

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        return [] if prediction["said"] == item.content else [f"said {prediction['said']}"]

    def reference_rows(self) -> Sequence[ReferenceRow]:
        return [ReferenceRow("theirs", {"right": 12.5})]

    def baselines(self) -> Mapping[str, Contestant]:
        return {"always b": says("b")}


class DiesAfter:
    """A crew whose backend dies after some answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    def __call__(self, _: Trajectory) -> str:
        if not self.left:
            raise ModelFailed("The backend died.", "Ask again.")
        self.left -= 1
        return "ab"


def mortal(answers: int) -> Contestant:
    return Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall("none"), DiesAfter(answers)), never)


# Samples


def items_of(**sizes: int) -> list[Item]:
    return [Item(f"{name}{i}", name, None) for name, size in sizes.items() for i in range(size)]


def test_a_sample_has_its_share_of_every_stratum_and_keeps_the_order() -> None:
    items = items_of(a=60, b=30, c=10)
    sample = stratified(items, 10, 0)
    assert Counter(item.stratum for item in sample) == {"a": 6, "b": 3, "c": 1}
    assert sample == [item for item in items if item in sample]
    assert sample == stratified(items, 10, 0)
    assert sample != stratified(items, 10, 1)


@pytest.mark.parametrize("limit", range(1, 12))
def test_a_sample_is_as_large_as_was_asked_for(limit: int) -> None:
    assert len(stratified(items_of(a=5, b=3, c=2, d=1), limit, 0)) == min(limit, 11)


def test_without_a_limit_all_items_are_measured() -> None:
    items = items_of(a=3)
    assert stratified(items, None, 0) == items == stratified(items, 99, 5)


# Intervals


def test_the_interval_of_a_share_is_that_of_the_normal_law() -> None:
    tallies = [{"m": (float(i % 2), 1.0)} for i in range(400)]
    low, high = intervals(tallies, ["m"])["m"]
    assert (low, high) == (pytest.approx(0.451, abs=0.004), pytest.approx(0.549, abs=0.004))
    assert intervals(tallies, ["m"]) == intervals(tallies, ["m"])


def test_whole_items_are_drawn_so_alike_steps_do_not_narrow_the_interval() -> None:
    apart = [{"m": (float(i % 2), 1.0)} for i in range(100)]
    together = [{"m": (10.0 * (i % 2), 10.0)} for i in range(100)]
    assert intervals(apart, ["m"]) == intervals(together, ["m"])


def test_pairing_takes_out_what_makes_an_item_hard() -> None:
    first = [{"m": (float(i % 2), 1.0)} for i in range(100)]
    second = [{"m": (float(i % 2 or i == 0), 1.0)} for i in range(100)]
    low, high = paired_intervals(first, second, ["m"])["m"]
    assert 0 <= low <= 0.01 <= high < 0.05
    assert paired_intervals(first, first, ["m"])["m"] == (0, 0)


def test_a_metric_that_counts_nothing_has_no_interval() -> None:
    assert intervals([{"m": (1.0, 1.0)}], ["m", "other"]) == {"m": (1.0, 1.0)}
    assert intervals([], ["m"]) == {}


# Measuring and resuming


def test_a_measurement_has_figures_baselines_references_and_costs() -> None:
    seen: list[Progress] = []
    report = measure(Echo(), says("ab"), on_progress=seen.append, provenance={"pack": "p"})
    assert report.values["right"].value == 50
    assert report.values["length"].value == 2
    assert report.values["never"].value is None
    assert report.baselines["always b"]["right"].value == 50
    assert report.references[0].values == {"right": 12.5}
    assert len(report.failures) == 5
    assert report.provenance == {"limit": None, "sample_seed": 0, "pack": "p", "source": "abc"}
    assert (seen[0].done, seen[0].seconds_left, seen[-1].done, seen[-1].items) == (0, None, 10, 10)


def test_what_was_finished_before_the_backend_died_is_not_done_again(tmp_path: Path) -> None:
    settings = {"suite": "echo", "seed": 0}
    suite = Echo()
    with pytest.raises(ModelFailed, match="died"):
        measure(suite, mortal(4), Store(tmp_path, settings))
    assert len(Store(tmp_path, settings).finished) == 4
    again = Echo()
    report = measure(again, says("ab"), Store(tmp_path, settings))
    assert [again.asked[str(i)] - 1 for i in range(10)] == [0] * 4 + [1] * 6  # one more each for the baseline
    assert report.values == measure(Echo(), says("ab")).values


def test_what_other_code_predicted_is_not_taken_for_this_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path, {"suite": "echo"}).add(Result("a", {"text": "old"}))
    monkeypatch.setattr("umi_local.evaluation.store.code_digest", lambda: "other")
    assert not Store(tmp_path, {"suite": "echo"}).finished


def test_a_line_that_a_kill_cut_short_is_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path, {"suite": "echo"})
    store.add(Result("0", {"said": "ab"}))
    with store.path.open("a") as file:
        file.write('{"id": "1", "predic')
    again = Store(tmp_path, {"suite": "echo"})
    assert set(again.finished) == {"0"}
    again.add(Result("1", {"said": "\ud800 \u2028"}))
    assert dict(Store(tmp_path, {"suite": "echo"}).finished["1"].prediction) == {"said": "\ud800 \u2028"}


def test_a_header_that_a_kill_cut_short_starts_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, {"suite": "echo"})
    store.path.write_text('{"sett')
    again = Store(tmp_path, {"suite": "echo"})
    again.add(Result("0", {}))
    assert set(Store(tmp_path, {"suite": "echo"}).finished) == {"0"}


def test_other_settings_are_another_run(tmp_path: Path) -> None:
    Store(tmp_path, {"suite": "echo", "seed": 0}).add(Result("0", {}))
    assert not Store(tmp_path, {"suite": "echo", "seed": 1}).finished
    assert not Store(tmp_path, {"suite": "echo", "seed": 0}, fresh=True).finished


def test_several_items_at_a_time_give_the_same_report_and_stop_at_a_failure(tmp_path: Path) -> None:
    gate = threading.Barrier(2, timeout=5)

    def slow(run: Trajectory) -> str:
        if run.query == "ab":
            return "ab"
        gate.wait()
        return "b"

    both = Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall("none"), slow), never)
    report = measure(Echo(8), both, jobs=2)
    assert report.values["right"].value == 100
    assert [case.id for case in report.cases] == [str(i) for i in range(8)]
    with pytest.raises(ModelFailed):
        measure(Echo(50), mortal(3), jobs=2)


def test_what_is_under_way_at_a_failure_is_finished_and_kept(tmp_path: Path) -> None:
    failed = threading.Event()

    def answer(run: Trajectory) -> str:
        if run.query == "ab":
            failed.set()
            raise ModelFailed("It died.")
        failed.wait(5)
        time.sleep(0.1)
        return "b"

    crew = Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall("none"), answer), never)
    store = Store(tmp_path, {"suite": "echo"})
    with pytest.raises(ModelFailed):
        measure(Echo(50), crew, store, jobs=2)
    assert 1 <= len(store.finished) < 50


def test_what_is_under_way_at_ctrl_c_is_finished_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def answer(_: Trajectory) -> str:
        begun.set()
        time.sleep(0.1)
        return "b"

    def interrupted(_: object) -> Any:
        begun.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr("umi_local.evaluation.measuring.as_completed", interrupted)
    crew = Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall("none"), answer), never)
    store = Store(tmp_path, {"suite": "echo"})
    with pytest.raises(KeyboardInterrupt):
        measure(Echo(50), crew, store, jobs=2)
    assert 1 <= len(store.finished) < 50


def test_costs_are_added_up_from_the_turns() -> None:
    meter = Meter()
    meter.start()
    meter(TurnEnded(Role.PLANNER, 0, "", Usage(trunk=100, evaluated=130, sampled=20, seconds=1.0)))
    meter(TurnEnded(Role.CALLER, 0, "", Usage(trunk=125, evaluated=20, reused=125, sampled=5, forced=10)))
    cost = meter.stop()
    assert cost["evaluated_tokens"] == 150
    assert cost["distinct_tokens"] == 100 + 30 + 20
    assert total([cost, cost])["evaluated_per_distinct"] == 1.0
    meter(TurnEnded(Role.PLANNER, 0, "", Usage(evaluated=5)))  # outside an item nothing is counted


# Reports


@pytest.fixture
def report() -> Report:
    return measure(Echo(), says("ab"), provenance={"pack": "p", "mode": "multi", "date": "today"})


def test_a_report_is_the_same_after_a_file(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r.json")
    assert to_json(read_report(tmp_path / "r.json")) == json.loads(json.dumps(to_json(report)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not a report"),
        ("[]", "is not a report"),
        ('{"a": 1}', "is not a report"),
        ('{"schema_version": 2, "suite": "echo"}', "is not a report"),
        ('{"schema_version": 99, "suite": "echo"}', "has version 99; this program reads 2"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_report_is_one_sentence(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_report(path)


def test_a_report_of_everyday_tasks_is_read_as_one_of_ours(tmp_path: Path) -> None:
    task = {
        "id": "t1",
        "query": "q",
        "passed": False,
        "tools": ["clock"],
        "called": [],
        "tools_right": False,
        "answer": "42",
        "answer_right": True,
        "stop": "answered",
        "seconds": 1.5,
    }
    data = {"schema_version": 1, "suite": "tasks", "pack": "p", "mode": "multi", "seed": 0, "n": 1, "tasks": [task]}
    (tmp_path / "r.json").write_text(json.dumps(data))
    told = read_report(tmp_path / "r.json")
    assert {name: value.value for name, value in told.values.items()} == {
        "passed": 0,
        "tools_right": 0,
        "answer_right": 100,
    }
    assert told.failures[0].failed == ["called nothing, needed clock"]


def test_a_report_that_cannot_be_written_is_one_sentence(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(report, tmp_path / "no" / "r.json")


# Comparisons


def test_reports_are_compared_on_the_items_they_share(report: Report) -> None:
    better = measure(
        Echo(), Contestant(Policy(lambda _: Next.CONCLUDE, lambda _: ToolCall(""), lambda t: t.query), never)
    )
    fewer = replace(better, cases=better.cases[2:])
    told = compare([report, fewer], ["old", "new"])
    assert told.items == 8
    difference = told.rows[1].differences["right"]
    assert difference.value == 50
    assert difference.low > 0 and difference.sure
    assert not told.rows[0].differences
    assert comparison_to_json(told)["rows"][1]["differences"]["right"]["value"] == 50


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suite": "other"}, "different suites: echo and other"),
        ({"provenance": {"source": "else"}}, "different data"),
        ({"cases": []}, "no item in common"),
    ],
)
def test_reports_that_do_not_belong_together_are_refused(report: Report, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compare([report, replace(report, **changes)])


# The page


class _Loads(HTMLParser):
    """Every tag and attribute that could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in ("script", "link", "img", "iframe") or names & {"src", "href", "onload", "onclick"}:
            self.found.append(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_beside_it_and_escapes_what_models_wrote(report: Report) -> None:
    nasty = "</pre><script>alert(1)</script>"
    case = replace(report.cases[0], prediction={"said": nasty}, failed=[nasty])
    told = page(replace(report, cases=[case, *report.cases[1:]]))
    parser = _Loads()
    parser.feed(told)
    assert parser.found == parser.open == []
    assert nasty not in told and "&lt;script&gt;" in told
    assert "prefers-color-scheme: dark" in told
    assert not re.search(r"https?://", told)
    assert "50.00" in told and "A note." in told and "theirs" in told


def test_a_comparison_is_a_page_too(report: Report) -> None:
    told = comparison_page(compare([report, measure(Echo(), says("<b>"))], ["old", "<new>"]))
    parser = _Loads()
    parser.feed(told)
    assert parser.found == parser.open == []
    assert "&lt;new&gt;" in told and "-50.00" in told


def test_reports_of_a_suite_share_a_table_with_what_others_reached(report: Report) -> None:
    other = measure(Echo(), says("c"))
    other = replace(other, provenance={**other.provenance, "pack": "a|b"})
    told = results_page([report, other])
    assert told.count(f"## {report.title}") == 1
    rows = [line for line in told.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert any(line.startswith("| a\\|b") for line in rows)
    assert [line for line in rows if line.startswith("| *")]
    assert "temperature 0." not in told and "split" not in told.partition(f"## {report.title}")[2]


def test_rows_of_other_splits_and_temperatures_say_so(report: Report) -> None:
    other = replace(report, provenance={**report.provenance, "split": "live", "temperature": 0.7})
    told = results_page([report, other])
    assert f"| {report.label} (whole) |" in told and f"| {report.label} (live) |" in told
    (line,) = [line for line in told.splitlines() if line.startswith(f"- {report.label} (live): ")]
    assert "temperature 0.7; split live" in line


def test_differences_are_drawn_around_zero(report: Report) -> None:
    told = compare([report, measure(Echo(), says("c"))], ["old", "new"])
    drawn = {whisker.metric.title: whisker for whisker in whiskers(told, told.rows[1])}
    assert drawn["Right"].low <= drawn["Right"].x <= drawn["Right"].high < 50
    assert drawn["Right"].sure and drawn["Right"].shown == "-50.00"


def test_a_bar_has_the_other_rows_as_marks(report: Report) -> None:
    drawn = bar(report, "right")
    assert (drawn.shown, drawn.x, [(mark.name, mark.x) for mark in drawn.marks]) == (
        "50.00",
        50,
        [("always b", 50), ("theirs", 12.5)],
    )
    assert 0 < bar(report, "length").x < 100


# What is public


def test_everything_that_is_public_is_there() -> None:
    assert all(getattr(public, name) is not None for name in public.__all__)
    with pytest.raises(AttributeError):
        _ = public.nothing  # type: ignore[attr-defined]


def test_an_unknown_suite_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"There is no suite 'tolbench'\. The suites are: .*toolbench"):
        suite_named("tolbench")


def test_a_suite_without_its_data_says_where_to_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    for name in [name for name, entry in SUITES.items() if not entry.own_data]:
        with pytest.raises(UsageError, match="--data DIR"):
            suite_named(name)
        with pytest.raises(UsageError, match="no data folder"):
            suite_named(name, tmp_path / "no")
        with pytest.raises(UsageError, match=r"\.gz"):
            suite_named(name, tmp_path)


def test_an_option_that_a_suite_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="toolbench has no --split"):
        suite_named("toolbench", tmp_path, {"split": "x"})
