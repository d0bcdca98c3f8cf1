"""GSM8K: the number an answer ends in, and runs with the real calculator on small records."""

from __future__ import annotations

import gzip
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from umi_local.errors import ContextFull, UsageError
from umi_local.evaluation.gsm8k import Gsm8k, gsm8k, last_number
from umi_local.evaluation.suite import Contestant
from umi_local.messages import ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew
from umi_local.trajectory import Decision, Next, Step, StopReason, Trajectory

TOOL = {"name": "calculator", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}}


def record(id: str, expressions: list[str], answer: str) -> dict[str, Any]:
    steps = [{"tool": "calculator", "arguments": {"expression": e}, "observation": "?"} for e in expressions]
    base = {"id": id, "source": "gsm8k", "tools": [TOOL], "history": [], "query": "How many?"}
    return {**base, "steps": steps, "answer": answer}


def write(folder: Path, records: list[dict[str, Any]]) -> Path:
    (folder / "train").mkdir(exist_ok=True)
    path = folder / "train" / "gsm8k_calc_train.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return folder


def contestant(expressions: list[str], answer: str) -> Contestant:
    def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
        assert [tool.name for tool in start.tools] == ["calculator"]
        for expression in expressions:
            call = ToolCall("calculator", {"expression": expression})
            start = start.with_step(Step(Decision("", Next.CALL), (call,), (toolbox.run(call),)))
        return start.ended(StopReason.ANSWERED, answer)

    return Contestant(cast(Crew, None), run)


@pytest.fixture
def suite(tmp_path: Path) -> Gsm8k:
    return gsm8k(write(tmp_path, [record("one", ["600+650"], "1250")]))


@pytest.mark.parametrize(
    ("expressions", "answer", "scores"),
    [
        (["600+650"], "She has $1,250.00 now.", (1, 1, 1, (1, 1))),
        (["600+650"], "She has money.", (0, 1, 1, (1, 1))),
        (["600+", "600+651"], "1251", (0, 0, 1, (1, 2))),
        ([], "1250", (1, 0, 0, (0, 0))),
    ],
)
def test_what_a_run_scores(expressions: list[str], answer: str, scores: tuple[Any, ...], suite: Gsm8k) -> None:
    (item,) = suite.items()
    prediction = json.loads(json.dumps(suite.predict(item, contestant(expressions, answer))))
    right, computed, called, valid = scores
    assert suite.tally(item, prediction) == {
        "answer": (right, 1),
        "result": (computed, 1),
        "called": (called, 1),
        "valid": valid,
    }
    assert bool(suite.failed(item, prediction)) is not bool(right)


def test_a_run_that_does_not_fit_the_context_is_wrong(suite: Gsm8k) -> None:
    def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
        raise ContextFull("It is full.")

    (item,) = suite.items()
    prediction = suite.predict(item, Contestant(cast(Crew, None), run))
    assert suite.tally(item, prediction)["answer"] == (False, 1)
    assert suite.failed(item, prediction) == ["the answer holds no number, not 1250 (stopped: context_full)"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("64", 64),
        ("There are 3 cats and 12 dogs.", 12),
        ("**$1,250.0**", 1250),
        ("-5", -5),
        ("it is 5-3", 3),
        ("€0.5", Fraction(1, 2)),
        ("version v2 has 7kg", 7),
        ("in 2,5 or so", 5),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number(text: str, number: Fraction | int | None) -> None:
    assert last_number(text) == number


def test_the_last_500_records_are_measured(tmp_path: Path) -> None:
    data = write(tmp_path, [record(f"r{i}", ["1+1"] * (i % 7), "2") for i in range(502)])
    items = gsm8k(data).items()
    assert (len(items), items[0].id, items[-1].id) == (500, "r2", "r501")
    assert {item.stratum for item in items} == {f"{i} calls" for i in range(5)}


def test_an_answer_without_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no number"):
        gsm8k(write(tmp_path, [record("r", [], "many")]))
    with pytest.raises(UsageError, match="no split"):
        gsm8k(tmp_path, "test")


@pytest.mark.skipif("UMI_LOCAL_DATA" not in os.environ, reason="UMI_LOCAL_DATA names no data folder")
def test_on_the_real_file_the_recorded_answers_are_right_and_the_calculator_takes_every_call() -> None:
    suite = gsm8k(Path(os.environ["UMI_LOCAL_DATA"]))
    assert len(suite.items()) == 500
    for item in suite.items():
        expressions = [call.arguments["expression"] for call in item.content.calls]
        prediction = suite.predict(item, contestant(expressions, item.content.trajectory.answer))
        tally = suite.tally(item, prediction)
        assert (tally["answer"], tally["valid"][0]) == ((1, 1), len(expressions))
