"""The clock and the calendar."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given
from hypothesis import strategies as st

from umi_local.toolbox import Tool, ToolContext, ToolError, Workspace
from umi_local.tools.dates import add_to_date, current_time, date_difference
from umi_local.tools.time_zones import find_zone
from umi_local.tools.written_dates import parse_date


def call(tool: Tool, **arguments: object) -> str:
    text: str = tool.call(ToolContext(Workspace(Path()), Path("notes.md")), tool.validate(arguments))
    return text


def test_the_time_names_weekday_date_clock_and_zone() -> None:
    before = datetime.now(ZoneInfo("UTC"))
    told = call(current_time, timezone="UTC")
    assert re.fullmatch(r"[A-Z][a-z]+day, \d{1,2} [A-Z][a-z]+ \d{4}, \d\d:\d\d \(UTC\)", told)
    assert f"{before:%A}" in told or f"{before + timedelta(minutes=1):%A}" in told


def test_the_clock_can_be_replaced() -> None:
    noon = datetime(2031, 5, 9, 12, 0, tzinfo=ZoneInfo("Europe/Lisbon"))
    context = ToolContext(Workspace(Path()), Path("notes.md"), lambda: noon)
    arguments = {"start": "9 May", "end": "tomorrow"}
    assert current_time.call(context, {"timezone": None}) == "Friday, 9 May 2031, 12:00 (local time, WEST)"
    assert current_time.call(context, {"timezone": "Tokyo"}) == "Friday, 9 May 2031, 20:00 (Asia/Tokyo)"
    assert date_difference.call(context, arguments) == "1 day, from Friday 2031-05-09 to Saturday 2031-05-10"


@pytest.mark.parametrize("timezone", [None, "", "local", " here "])
def test_without_a_place_it_is_the_local_time(timezone: str | None) -> None:
    assert "(local time, " in call(current_time, timezone=timezone)


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        ("asia/tokyo", "Asia/Tokyo"),
        ("Tokyo", "Asia/Tokyo"),
        ("tokyo time", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("New_York", "America/New_York"),
        ("Paris, France", "Europe/Paris"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Zürich", "Europe/Zurich"),
        ("San Francisco", "America/Los_Angeles"),
        ("India", "Asia/Kolkata"),
        ("EST", "America/New_York"),
        ("Central European Time", "Europe/Berlin"),
        ("Pacific Daylight Time", "America/Los_Angeles"),
        ("Ireland", "Europe/Dublin"),
        ("Sweden", "Europe/Stockholm"),
        ("New Zealand", "Pacific/Auckland"),
        ("Asia/Mumbai", "Asia/Kolkata"),
        ("Paris France", "Europe/Paris"),
        ("Mexico City", "America/Mexico_City"),
        ("utc", "UTC"),
        ("GMT+2", "UTC+02:00"),
        ("UTC-5:30", "UTC-05:30"),
        ("Sydney, Australia", "Australia/Sydney"),
        ("Austin, Texas", "America/Chicago"),
        ("Boston, MA", "America/New_York"),
        ("Seattle, USA", "America/Los_Angeles"),
        ("London, UK", "Europe/London"),
        ("San Juan, Puerto Rico", "America/Puerto_Rico"),
        ("Atlanta, Georgia", "America/New_York"),
        ("Tbilisi, Georgia", "Asia/Tbilisi"),
        ("Los Angeles, CA", "America/Los_Angeles"),
        ("Toronto, CA", "America/Toronto"),
        ("Delhi, IN", "Asia/Kolkata"),
        ("Berlin, DE", "Europe/Berlin"),
        ("Singapore, SG", "Singapore"),
        ("Montreal, Quebec", "America/Montreal"),
        ("Perth, WA", "Australia/Perth"),
        ("Buenos Aires, AR", "America/Buenos_Aires"),
        ("Istanbul, Turkey", "Asia/Istanbul"),
        ("Mumbai, MH", "Asia/Kolkata"),
        ("Hong Kong, CN", "Asia/Hong_Kong"),
    ],
)
def test_a_zone_is_found_by_its_name_a_city_or_an_offset(place: str, zone: str) -> None:
    assert str(find_zone(place)) == zone


def test_every_zone_given_by_a_large_city_exists() -> None:
    from umi_local.tools import time_zones

    for zone in time_zones._PLACES:
        ZoneInfo(zone)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("Tokio", "Asia/Tokyo"),
        ("../../etc/passwd", "no time zone"),
        ("Q", "Q"),
        ("Georgia, USA", "no time zone"),
        ("London, Ontario", "no time zone"),
        ("Paris, Texas", "no time zone"),
        ("Dublin, Ohio", "no time zone"),
        ("Rome, NY", "no time zone"),
        ("Vienna, VA", "no time zone"),
        ("Jamaica, NY", "no time zone"),
        ("East", "no time zone"),
    ],
)
def test_an_unknown_place_is_answered_with_ones_spelled_alike(place: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        call(current_time, timezone=place)


def test_a_difference_is_told_in_days_weeks_and_months_with_the_weekdays() -> None:
    told = call(date_difference, start="2024-01-31", end="3 May 2024")
    assert (
        told == "93 days (13 weeks and 2 days, or 3 months and 3 days), from Wednesday 2024-01-31 to Friday 2024-05-03"
    )


def test_a_difference_backwards_is_negative_and_says_so() -> None:
    told = call(date_difference, start="2024-03-10", end="2024-03-09")
    assert told == "-1 day, from Sunday 2024-03-10 to Saturday 2024-03-09; the second date is earlier"


def test_today_tomorrow_and_yesterday_are_dates() -> None:
    assert call(date_difference, start="yesterday", end="Tomorrow").startswith("2 days, ")
    assert call(date_difference, start="today", end="now").startswith("0 days, ")


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05",
        "20240305",
        "2024-3-5",
        "2024/03/05",
        "2024-03-05T10:30:00Z",
        "2024-03-05 10:30",
        "5 March 2024",
        "5 mar 2024",
        "the 5th of March, 2024",
        "March 5th, 2024",
        "Mar. 5, 2024",
        "5-Mar-2024",
        "Tuesday, 5 March 2024, 18:41 (UTC)",
        "March 5, 2024 at 6pm",
        "Tuesday 2024-03-05",
        "2024-03-05 at 10:00",
        "2024 March 5",
        "'2024-03-05'.",
        "first Tuesday of March 2024",
    ],
)
def test_a_date_may_be_written_in_many_ways(text: str) -> None:
    assert parse_date(text) == date(2024, 3, 5)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("the day after tomorrow", "2024-02-02"),
        ("in 3 weeks", "2024-02-21"),
        ("in a month", "2024-02-29"),
        ("2 days ago", "2024-01-29"),
        ("3 days from now", "2024-02-03"),
        ("today + 1 year", "2025-01-31"),
        ("today - 2 weeks", "2024-01-17"),
        ("end of February", "2024-02-29"),
        ("the last Friday of May 2026", "2026-05-29"),
        ("Christmas", "2024-12-25"),
        ("New Year’s Eve", "2024-12-31"),
    ],
)
def test_a_day_may_be_told_by_its_distance_or_its_place(text: str, day: str) -> None:
    assert str(parse_date(text, date(2024, 1, 31))) == day


@pytest.mark.parametrize("text", ["2024-06-31", "31 June 2024", "31/06/2024"])
def test_of_a_day_that_a_month_lacks_its_last_is_told(text: str) -> None:
    with pytest.raises(ToolError, match=r"June 2024 has no day 31\. If its last day is meant, write 2024-06-30"):
        parse_date(text)


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2026-05-04 08:30", "2026-05-04 17:00", "8 hours and 30 minutes, from 2026-05-04 08:30 to 2026-05-04 17:00"),
        ("2026-05-04T22:00", "2026-05-06 06:00", "1 day and 8 hours, from 2026-05-04T22:00 to 2026-05-06 06:00"),
        ("2026-05-04 08:30", "2026-05-04 08:00", "minus 30 minutes, from 2026-05-04 08:30 to 2026-05-04 08:00"),
        ("4 May 2026 9:00", "2026-05-04 17:30", "8 hours and 30 minutes, from 4 May 2026 9:00 to 2026-05-04 17:30"),
        (
            "2026-05-04 9 am",
            "May 4 2026 at 5:30 pm",
            "8 hours and 30 minutes, from 2026-05-04 9 am to May 4 2026 at 5:30 pm",
        ),
        (
            "2026-05-04 12:15 am",
            "2026-05-04 12pm",
            "11 hours and 45 minutes, from 2026-05-04 12:15 am to 2026-05-04 12pm",
        ),
        ("May 4 9:00", "May 4 17:30", "8 hours and 30 minutes, from May 4 9:00 to May 4 17:30"),
        ("2026-05-04T09:00Z", "2026-05-04T17:00+02:00", "6 hours, from 2026-05-04T09:00Z to 2026-05-04T17:00+02:00"),
        (
            "2026-05-04T09:00:30.000",
            "2026-05-04 10:00:30",
            "1 hour, from 2026-05-04T09:00:30.000 to 2026-05-04 10:00:30",
        ),
    ],
)
def test_between_times_of_days_hours_are_counted(start: str, end: str, told: str) -> None:
    assert call(date_difference, start=start, end=end) == told


def test_from_now_to_a_time_hours_are_counted_and_to_a_day_days() -> None:
    zone = timezone(timedelta(hours=2))
    context = ToolContext(Workspace(Path()), Path("notes.md"), clock=lambda: datetime(2026, 5, 4, 18, 15, tzinfo=zone))
    told = date_difference.call(context, {"start": "now", "end": "2026-05-04 20:00"})
    assert told == "1 hour and 45 minutes, from now to 2026-05-04 20:00"
    assert date_difference.call(context, {"start": "now", "end": "2026-05-05"}).startswith("1 day, from Monday")


@pytest.mark.parametrize("place", ["North Carolina", "Eastern Europe", "London Ontario", "Washington state"])
def test_a_word_behind_a_place_is_not_dropped(place: str) -> None:
    with pytest.raises(ToolError, match="no time zone"):
        find_zone(place)


def test_a_weekday_before_a_distance_is_no_date_and_feasts_are_the_next_ones() -> None:
    with pytest.raises(ToolError, match="is not a date"):
        parse_date("friday in 2 weeks", date(2026, 5, 4))
    assert parse_date("new year's day", date(2026, 5, 4)) == date(2027, 1, 1)


def test_for_times_without_a_day_the_calculator_is_named() -> None:
    with pytest.raises(ToolError, match=r"Use calculator with 17:00 - 8:30"):
        call(date_difference, start="8:30", end="17:00")
    with pytest.raises(ToolError, match=r"Use calculator with 24:00 - 22:00 \+ 6:00"):
        call(date_difference, start="22:00", end="6:00")


@pytest.mark.parametrize(("text", "day"), [("25/12/2024", 25), ("12/25/2024", 25), ("12.12.2024", 12)])
def test_a_numeric_date_is_taken_where_it_can_mean_one_day_only(text: str, day: int) -> None:
    assert parse_date(text) == date(2024, 12, day)


def test_a_day_without_a_year_is_in_this_one() -> None:
    assert parse_date("December 25") == date(date.today().year, 12, 25)


@pytest.mark.parametrize("text", ["03/04/2024", "3.4.2024", "3-4-2024"])
def test_a_date_that_could_be_two_is_refused_with_both(text: str) -> None:
    with pytest.raises(ToolError, match=r"could be 2024-03-04 or 2024-04-03\. Write the date as YYYY-MM-DD"):
        parse_date(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2024-02-30",
        "31 February 2024",
        "March 2024",
        "friday",
        "next friday",
        "2024",
        "5 foo 2024",
        "3 March 24",
        "1 2 3",
        "the day before 3 March 2024",
        "99999-01-01",
        "9" * 400,
    ],
)
def test_what_is_no_single_date_is_refused_with_the_form_to_use(text: str) -> None:
    with pytest.raises(ToolError, match="YYYY-MM-DD"):
        parse_date(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"days": 3}, "2024-01-31 plus 3 days = Saturday, 3 February 2024 (2024-02-03)"),
        ({"weeks": -1}, "2024-01-31 minus 1 week = Wednesday, 24 January 2024 (2024-01-24)"),
        ({"months": 1}, "2024-01-31 plus 1 month = Thursday, 29 February 2024 (2024-02-29)"),
        ({"years": 1, "days": -1}, "2024-01-31 plus 1 year minus 1 day = Thursday, 30 January 2025 (2025-01-30)"),
        ({"days": "10"}, "2024-01-31 plus 10 days = Saturday, 10 February 2024 (2024-02-10)"),
        ({}, "Wednesday, 31 January 2024 (2024-01-31)"),
    ],
)
def test_amounts_are_added_or_with_a_minus_taken_away(arguments: dict[str, object], told: str) -> None:
    assert call(add_to_date, date="2024-01-31", **arguments) == told


@pytest.mark.parametrize("amount", [{"years": 99999}, {"days": 10**12}, {"days": 10**40}, {"months": -(10**9)}])
def test_dates_outside_the_calendar_are_refused(amount: dict[str, int]) -> None:
    with pytest.raises(ToolError, match="outside the years 1 to 9999"):
        call(add_to_date, date="2024-01-31", **amount)


def test_half_a_day_is_refused() -> None:
    with pytest.raises(ToolError, match="days: input should be a valid integer"):
        call(add_to_date, date="2024-01-31", days=1.5)


days = st.dates(date(1600, 1, 1), date(2400, 12, 31))


@given(days, st.integers(-5000, 5000), st.integers(-300, 300))
def test_adding_agrees_with_dateutil(day: date, plus_days: int, months: int) -> None:
    expected = day + relativedelta(months=months) + timedelta(days=plus_days)
    assert call(add_to_date, date=str(day), days=plus_days, months=months).endswith(f"({expected})")


@given(days, days)
def test_a_difference_added_to_its_start_gives_its_end(start: date, end: date) -> None:
    told = call(date_difference, start=str(start), end=str(end))
    assert start + timedelta(days=int(told.split()[0])) == end


@given(days, days)
def test_months_of_a_difference_agree_with_dateutil(start: date, end: date) -> None:
    start, end = min(start, end), max(start, end)
    told = call(date_difference, start=str(start), end=str(end)).partition("or ")[2].partition(")")[0]
    delta = relativedelta(end, start)
    counted = {unit: int(number) for number, unit in re.findall(r"(\d+) (year|month|day)", told)}
    if delta.years or delta.months:
        assert counted == {u: n for u, n in (("year", delta.years), ("month", delta.months), ("day", delta.days)) if n}
    else:
        assert not counted


@given(st.text(max_size=40) | st.text("0123456789-/. :TZMarch", max_size=20))
def test_whatever_is_written_gives_a_date_or_a_sentence(text: str) -> None:
    try:
        assert parse_date(text)
    except ToolError as error:
        assert "YYYY-MM-DD" in str(error)
