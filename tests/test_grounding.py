"""Calls held to what was said, where a plan miscopied it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from umi_local.messages import Message, Observation, Speaker, ToolCall
from umi_local.toolbox import ToolContext, Workspace
from umi_local.tools.arithmetic import calculator
from umi_local.tools.dates import add_to_date, date_difference
from umi_local.tools.grounding import said_date, said_dates, said_percentages
from umi_local.trajectory import Decision, Next, Step, Trajectory

CONTEXT = ToolContext(Workspace(Path()), Path("notes.md"), clock=lambda: datetime(2026, 5, 4, 12))


@pytest.mark.parametrize(
    ("plan", "said", "start", "end"),
    [
        ("2027-08-09 to 2027-09-30", "days from 9 August 2027 to 3 September 2027", "2027-08-09", "2027-09-03"),
        ("2020-02-21 to 1997-05-06", "Born 21.02.1920, married on May 6th, 1997.", "1920-02-21", "1997-05-06"),
        ("2026-05-06 to 2026-12-07", "Monday, 4 May 2026 til 7 dec 2026, starting 06.05.2026", "", ""),
        ("2026-05-04 to 2026-12-17", "Monday, 4 May 2026 til 7 dec 2026", "2026-05-04", "2026-12-07"),
    ],
)
def test_a_day_that_was_miscopied_gives_way_to_the_one_that_was_said(
    plan: str, said: str, start: str, end: str
) -> None:
    schema = said_dates(CONTEXT, f"Use date_difference to count the days from {plan}.", said)
    held = {"start": {"enum": [start]}, "end": {"enum": [end]}}
    assert schema == ({"type": "object", "properties": held, "required": ["start", "end"]} if start else None)


@pytest.mark.parametrize(
    ("plan", "said", "held"),
    [
        ("find the date counted from 2027-08-02", "45 days before August 2, 2027, which day?", {"days": -45}),
        ("find the date 2 weeks before today", "What was the date two weeks before today?", {"weeks": -2}),
        ("find the date counted from 2027-05-01", "a month before 1 May 2027", {"months": -1}),
        ("find the date counted from 2027-05-01", "a month after 1 May 2027", {}),
        ("find the date counted from today", "I ordered today; it comes 5 days before the party. When?", {}),
        ("find the date 3 days from 2027-08-02", "45 days before August 2, 2027", {}),
        ("find the date counted from 2027-08-02", "3 days later than 2 weeks before August 2, 2027", {}),
        ("find the date counted from 2027-08-02", "It takes 3 days, 2 weeks before August 2, 2027. When?", {}),
    ],
)
def test_what_lies_before_a_day_is_counted_backwards(plan: str, said: str, held: dict[str, int]) -> None:
    schema = said_date(CONTEXT, f"Use add_to_date to {plan}.", said) or {"properties": {}}
    found = {name: value["enum"][0] for name, value in schema["properties"].items() if "enum" in value}
    assert found == held


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("from 2027-08-09 to 2027-09-03", "days from 9 August 2027 to 3 September 2027"),
        ("from today to 2026-12-25", "How many days from 3 May 2026 to Christmas?"),
        ("from 2026-05-03 to 2026-05-08", "It is 3 May 2026. How long until Friday?"),
        ("from 2026-05-01 to 2026-06-30", "from 1 May 2026 to the end of June"),
        ("from 2026-01-01 to 2026-06-03", "from the start of the year to 3 June 2026"),
        ("from 2024-06-03 to 2024-07-09", "How many days between 3 June and 9 July, 2024?"),
        ("from 2026-06-03 to 2026-06-05", "June 3-5, 2026"),
        ("from 2026-06-03 to 2026-06-09", "From June 3 to 9, 2026"),
        ("from 2026-05-01 to 2026-03-02", "from 1 May 2026 to 02/03/2026"),
        ("from 2026-05-04 to 2026-06-09", "I began on 1 May 2026. How many days are left until 9 June 2026?"),
        ("from today to 2026-06-03", "She was born on 3 June 1990. How many days until her birthday?"),
        ("from 2026-05-02 to 2026-05-05", "2026-05-02, 2026-05-09, 2026-05-10"),
        ("from 2026-05-02 to 2026-07-05", "from 2026-05-02 to 2026-05-09"),
        ("from the first day to the last", "2026-05-02 and 2026-05-04"),
        ("from 2026-05-02 to 2026-05-05", "2026-05-02 and 2026-05-04" + " and so on" * 1000),
    ],
)
def test_a_day_that_may_be_meant_is_left_open(plan: str, said: str) -> None:
    assert said_dates(CONTEXT, f"Use date_difference to count the days {plan}.", said) is None


def test_a_count_from_a_day_is_held_to_the_day_that_was_said() -> None:
    plan = "Use add_to_date to find the date counted from 2026-08-30."
    schema = said_date(CONTEXT, plan, "What is six weeks after 3 August 2026?")
    assert schema
    assert schema["properties"]["date"] == {"enum": ["2026-08-03"]}
    # All that the tool takes beside the day may still be written.
    assert schema["properties"].keys() == add_to_date.spec.parameters["properties"].keys()
    assert said_date(CONTEXT, plan.replace("08-30", "08-03"), "six weeks after 3 August 2026") is None
    assert said_date(CONTEXT, plan, "six weeks after 30 August 2025") is None
    assert said_date(CONTEXT, plan, "six weeks after the 3rd") is None
    assert add_to_date.narrow is said_date
    assert date_difference.narrow is said_dates


@pytest.mark.parametrize(
    ("said", "plan", "right", "wrong"),
    [
        (
            "£27.60 dearer by 4.5%",
            "27.60 * (1 + 4.5)",
            ["27.60 * (1 + 4.5%)", "27.6 + 4.5 %", "4.55 + 45"],
            ["27.60 * (1 + 4.5)", "4.5", "27.60 * 4.50", "04.5"],
        ),
        (
            "12 per cent less than 3,400",
            "3400 * (1 - 12)",
            ["3400 * (1 - 12%)", "0.12 * 3400", "120 * 12.5"],
            ["12 * 3400", "3400 * 12", "12.0 * 3400", "012", "1_2"],
        ),
        ("add eight percent to 51", "51 * (1 + 8)", ["51 + 8%", "8.5 + 81 + 18"], ["51 + 8", "8 + 51"]),
        ("2% a year of 400 for 20 years", "400 * (1 + 2) ** 20", ["400 * (1 + 2%) ** 20"], ["400 * (1 + 2) ** 20"]),
    ],
)
def test_what_was_said_as_a_percentage_is_written_as_one(
    said: str, plan: str, right: list[str], wrong: list[str]
) -> None:
    schema = said_percentages(CONTEXT, f"Use calculator to work out {plan}.", said)
    assert schema
    pattern = re.compile(schema["properties"]["expression"]["pattern"])
    assert [sum_ for sum_ in right if not pattern.search(sum_)] == []
    assert [sum_ for sum_ in wrong if pattern.search(sum_)] == []
    assert calculator.narrow is said_percentages


@pytest.mark.parametrize(
    ("said", "plan"),
    [
        ("4.5% of 60", "4.5% of 60"),
        ("60 and 4.5% on top", "60 * (1 + 4.5%)"),
        ("60 and 4.5% on top", "60 * (1 + 4.5 / 100)"),
        ("60 and 4.5% on top", "60 * (1 + 4.5) / 4.5"),
        ("12% of 1000 a year, a month", "1000 * 12% / 12"),
        ("Add up 20%, 30% and 40%", "20 + 30 + 40"),
        ("twenty-five percent of 80", "80 * (1 + 5)"),
        ("What percentage of 60 is 5?", "5 / 60"),
    ],
)
def test_other_sums_are_left_open(said: str, plan: str) -> None:
    assert said_percentages(CONTEXT, f"Use calculator to work out {plan}.", said) is None


def test_said_is_what_was_asked_and_found_and_neither_errors_nor_earlier_turns() -> None:
    found, failed = Observation("the file's text"), Observation("write 2026-03-31", is_error=True)
    step = Step(Decision("a plan", Next.CALL), (ToolCall("a"), ToolCall("b")), (found, failed))
    run = Trajectory("the query", history=(Message(Speaker.USER, "before"),), steps=(step,))
    assert run.said == "the query\nthe file's text"
