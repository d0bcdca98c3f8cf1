"""The clock and the calendar. All arithmetic is on proleptic Gregorian dates, years 1 to 9999."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated

from umi_local.toolbox import ToolContext, ToolError, tool

from .grounding import said_date, said_dates
from .time_zones import find_zone
from .written_dates import parse_date, plus_months, time_of_day

_CLOCK = re.compile(r"\d{1,2}:[0-5]\d")


@tool()
def current_time(context: ToolContext, timezone: Annotated[str | None, "city or zone, such as Tokyo"] = None) -> str:
    """Tell today's date, weekday and the time now, here or in another place."""
    here = (timezone or "").strip().lower() in ("", "local", "local time", "here", "now", "none", "null", "today")
    now = context.clock() if here else context.clock().astimezone(find_zone(timezone or ""))
    zone = f"local time, {now.tzname()}" if here else str(now.tzinfo)
    return f"{now:%A}, {now.day} {now:%B %Y}, {now:%H:%M} ({zone})"


@tool(narrow=said_dates)
def date_difference(
    context: ToolContext,
    start: Annotated[str, "YYYY-MM-DD or today"],
    end: Annotated[str, "YYYY-MM-DD or today"],
) -> str:
    """Count the days, weeks, months and years between two dates."""
    if all(_CLOCK.fullmatch(text.strip()) for text in (start, end)):
        first, last = start.strip(), end.strip()
        sooner = int(last.replace(":", "")) < int(first.replace(":", ""))
        reckoned = f"24:00 - {first} + {last}" if sooner else f"{last} - {first}"
        raise ToolError(f"These are times of day. Use calculator with {reckoned}.")
    today = context.clock().date()
    first_day, last_day = parse_date(start, today), parse_date(end, today)
    days = (last_day - first_day).days
    parts = [part for part in (_in_weeks(abs(days)), _in_months(first_day, last_day)) if part]
    also = f" ({', or '.join(parts)})" if parts else ""
    earlier = "; the second date is earlier" if days < 0 else ""
    if hours := _hours(_moment(context, start), _moment(context, end)):
        return f"{hours}, from {start.strip()} to {end.strip()}"
    return f"{_count(days, 'day')}{also}, from {_shown(first_day)} to {_shown(last_day)}{earlier}"


@tool(narrow=said_date)
def add_to_date(
    context: ToolContext,
    date: Annotated[str, "YYYY-MM-DD or today"],
    days: Annotated[int, "negative for before"] = 0,
    weeks: int = 0,
    months: int = 0,
    years: int = 0,
) -> str:
    """Find the date and weekday some days, weeks, months or years after a date, or before it."""
    start = parse_date(date, context.clock().date())
    try:
        end = plus_months(start, 12 * years + months) + timedelta(days=days, weeks=weeks)
    except (OverflowError, ValueError):
        raise ToolError("The result lies outside the years 1 to 9999.") from None
    amounts = ((years, "year"), (months, "month"), (weeks, "week"), (days, "day"))
    added = "".join(f" {'minus' if n < 0 else 'plus'} {_count(abs(n), unit)}" for n, unit in amounts if n)
    # The date in words and in digits: a small model copies either well, and turns one into the other badly.
    told = f"{end:%A}, {end.day} {end:%B} {end.year} ({end.isoformat()})"
    return f"{start.isoformat()}{added} = {told}" if added else told


def _moment(context: ToolContext, text: str) -> datetime | None:
    """A day with its time; None where no time is told."""
    now = context.clock()
    if text.strip().lower() == "now":
        return now
    told = time_of_day(text)
    if told is None:
        return None
    return datetime.combine(parse_date(text, now.date()), told.replace(tzinfo=told.tzinfo or now.tzinfo))


def _hours(first: datetime | None, last: datetime | None) -> str:
    """The hours and minutes from one time of a day to another, where both are told."""
    if first is None or last is None:
        return ""
    minutes = int((last - first).total_seconds() / 60)
    if minutes % (24 * 60) == 0:
        return ""
    days, rest = divmod(abs(minutes), 24 * 60)
    amounts = ((days, "day"), (rest // 60, "hour"), (rest % 60, "minute"))
    told = " and ".join(_count(n, unit) for n, unit in amounts if n) or "0 minutes"
    return f"{'minus ' if minutes < 0 else ''}{told}"


def _shown(day: date) -> str:
    return f"{day:%A} {day.isoformat()}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if abs(number) == 1 else f"{number} {unit}s"


def _in_weeks(days: int) -> str:
    weeks, rest = divmod(days, 7)
    return (_count(weeks, "week") + (f" and {_count(rest, 'day')}" if rest else "")) if weeks else ""


def _in_months(first: date, last: date) -> str:
    first, last = min(first, last), max(first, last)
    months = 12 * (last.year - first.year) + last.month - first.month
    if first.day > last.day and plus_months(first, months) > last:
        months -= 1
    if not months:
        return ""
    days = (last - plus_months(first, months)).days
    amounts = ((months // 12, "year"), (months % 12, "month"), (days, "day"))
    *parts, end = [_count(n, unit) for n, unit in amounts if n]
    return f"{', '.join(parts)} and {end}" if parts else end
