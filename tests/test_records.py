"""Recorded runs: what a file holds becomes a trajectory, and what is no record is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from umi_local.errors import UsageError
from umi_local.messages import Speaker
from umi_local.records import Fault, Record, parse_record, read_records, to_line
from umi_local.trajectory import Next, StopReason

TOOL = {
    "name": "find_train",
    "description": "Find a train",
    "parameters": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
}


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "source": "here",
        "tools": [TOOL],
        "history": [["user", "Hello"], ["caller", '{"tool": "find_train", "arguments": {"to": "Bath"}}']],
        "query": "A train to York\u2028please",
        "steps": [{"thought": "Find  one.", "tool": "find_train", "arguments": {"to": "York"}, "observation": "9:05"}],
        "answer": "At 9:05.",
        "meta": {"context": "Today is Friday.", "final_thought": "Found it."},
        **changes,
    }


def test_a_line_becomes_a_run_with_the_decision_that_ended_it() -> None:
    run = parse_record(json.dumps(record(), ensure_ascii=False)).trajectory
    assert [(step.decision.rationale, step.decision.next) for step in run.steps] == [
        ("Find one.", Next.CALL),
        ("Found it.", Next.CONCLUDE),
    ]
    assert (run.context, run.answer, run.stop) == ("Today is Friday.", "At 9:05.", StopReason.ANSWERED)
    assert run.history[1].text == '{"name": "find_train", "arguments": {"to": "Bath"}}'
    assert run.history[1].speaker is Speaker.CALLER


def test_a_run_that_gave_up_has_no_answer() -> None:
    run = parse_record(json.dumps(record(meta={"give_up": True}))).trajectory
    assert (run.steps[-1].decision.next, run.answer, run.stop) == (Next.GIVE_UP, "", StopReason.GAVE_UP)


def test_what_is_written_is_read_back() -> None:
    first = parse_record(json.dumps(record(), ensure_ascii=False))
    again = parse_record(to_line(first))
    assert (again.id, again.source, again.trajectory) == (first.id, first.source, first.trajectory)


def test_lines_end_at_line_feeds_alone_and_gzip_is_seen_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "records"
    text = "\n".join(json.dumps(record(id=f"r{i}"), ensure_ascii=False) for i in range(3))
    path.write_bytes(gzip.compress(text.encode()))
    faults: list[Fault] = []
    assert [found.id for found in read_records(path, faults)] == ["r0", "r1", "r2"]
    assert not faults


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "invalid json"),
        (json.dumps(record(extra=1)), "extra"),
        (json.dumps(record(steps=[{"tool": "", "arguments": {}}])), "steps.0.tool"),
        (json.dumps(record(tools=[TOOL, TOOL])), "same name"),
        ("\udce9", "the line"),
    ],
)
def test_a_line_that_is_no_record_is_counted_and_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    good = json.dumps(record())
    path.write_bytes(f"{good}\n{line}\n{good}\n".encode("utf-8", errors="surrogateescape"))
    faults: list[Fault] = []
    assert len(list(read_records(path, faults))) == 2
    assert [(fault.path, fault.line) for fault in faults] == [("some.jsonl", 2)]
    assert said in faults[0].reason


def test_a_file_cut_off_is_said_and_not_taken_as_shorter(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress("\n".join(json.dumps(record(id=f"{i}" * 50)) for i in range(500)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"cut\.jsonl\.gz"):
        list(read_records(path, []))


def test_a_record_lists_its_calls() -> None:
    found = parse_record(json.dumps(record()))
    assert isinstance(found, Record)
    assert [call.name for call in found.calls] == ["find_train"]
