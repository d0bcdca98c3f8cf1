"""Calls held to what was said, where a plan miscopied it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from umi_local.toolbox import ToolContext, Workspace
from umi_local.tools.arithmetic import calculator
from umi_local.tools.dates import add_to_date, date_difference
from umi_local.tools.grounding import said_date, said_dates, said_percentages

CONTEXT = ToolContext(Workspace(Path()), Path("notes.md"), clock=lambda: datetime(2026, 5, 4, 12))


@pytest.mark.parametrize(
    ("plan", "said", "start", "end"),
    [
        (
            "from 2027-08-09 to 2027-09-30",
            "days from 9 August 2027 to 3 September 2027",
            ["2027-08-09"],
            ["2027-09-03"],
        ),
        ("from 2020-02-21 to 1997-05-06", "Born 21.02.1920, married on May 6th, 1997.", ["1920-02-21"], ["1997-05-06"]),
        (
            "from today to 2026-07-31",
            "How long until the 13th of July?",
            ["2026-07-13", "today"],
            ["2026-07-13", "today"],
        ),
        (
            "from 2026-01-09 to today",
            "Signed: Friday, 2 January 2026",
            ["2026-01-02", "today"],
            ["2026-01-02", "today"],
        ),
    ],
)
def test_a_day_that_nobody_spoke_of_gives_way_to_the_one_most_like_it(
    plan: str, said: str, start: list[str], end: list[str]
) -> None:
    schema = said_dates(CONTEXT, f"Use date_difference to count the days {plan}.", said)
    assert schema
    assert {name: part["enum"] for name, part in schema["properties"].items()} == {"start": start, "end": end}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("from 2027-08-09 to 2027-09-03", "days from 9 August 2027 to 3 September 2027"),
        ("from today to 2026-12-25", "How many days from 3 May to Christmas?"),
        ("from today to 2026-05-08", "It is 3 May 2026. How long until Friday?"),
        ("from 2026-05-01 to 2026-03-02", "from 1 May 2026 to 02/03/2026"),
        ("from 2026-05-01 to 2026-06-30", "from 1 May 2026 to the end of June"),
        ("from today to 2027-01-01", "until the new year"),
        ("from 2026-05-03 to 2026-06-07", "3 May 2026, and 7/6 of this year"),
        ("from 2026-02-01 to 2026-02-02", "since 5 February 2026"),
        ("from 2026-05-02 to 2026-05-04 and 2026-05-05", "2026-05-02, 2026-05-09, 2026-05-10"),
        ("from the first day to the last", "2026-05-02 and 2026-05-04"),
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
    assert add_to_date.narrow is said_date
    assert date_difference.narrow is said_dates


@pytest.mark.parametrize(
    ("said", "plan", "right", "wrong"),
    [
        (
            "£27.60 dearer by 4.5%",
            "27.60 * (1 + 4.5)",
            ["27.60 * (1 + 4.5%)", "27.6 + 4.5 %"],
            ["27.60 * 4.5", "4.5", "27.60 * 4.50"],
        ),
        (
            "12 percent of 3,400",
            "12 * 3400",
            ["12% * 3400", "12% of 3400", "0.12 * 3400", "120 * 12.5"],
            ["12 * 3400", "3400 * 12", "12.0 * 3400"],
        ),
        ("add eight per cent to 51", "51 + 8", ["51 + 8%", "8.5 + 81 + 18"], ["51 + 8", "8 + 51"]),
        ("2% and 20% of 400", "400 * 2 * 20", ["400 * 2% * 20%", "22 + 202 + 2.5"], ["400 * 2% * 20", "400 * 2 * 20%"]),
    ],
)
def test_what_was_said_as_a_percentage_is_written_as_one(
    said: str, plan: str, right: list[str], wrong: list[str]
) -> None:
    schema = said_percentages(CONTEXT, f"Use calculator to work out {plan}.", said)
    assert schema
    pattern = re.compile(schema["properties"]["expression"]["pattern"])
    assert all(map(pattern.search, right))
    assert not any(map(pattern.search, wrong))
    assert calculator.narrow is said_percentages


@pytest.mark.parametrize(
    ("said", "plan"),
    [
        ("4.5% of 60", "4.5% of 60"),
        ("4.5% of 60", "4.5 * 60 / 100"),
        ("5% of 60, 5 times", "5 * 60"),
        ("What percentage of 60 is 5?", "5 / 60"),
        ("nothing of the kind", "5 / 60"),
    ],
)
def test_other_sums_are_left_open(said: str, plan: str) -> None:
    assert said_percentages(CONTEXT, f"Use calculator to work out {plan}.", said) is None
