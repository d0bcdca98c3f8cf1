"""The clock and the calendar. All arithmetic is on proleptic Gregorian dates, years 1 to 9999."""

from __future__ import annotations

import difflib
import re
import unicodedata
from calendar import monthrange
from datetime import UTC, date, timedelta, timezone, tzinfo
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from umi_local.toolbox import ToolContext, ToolError, tool

from .grounding import said_date, said_dates
from .written_dates import parse_date


@tool()
def current_time(context: ToolContext, timezone: Annotated[str | None, "city or zone, such as Tokyo"] = None) -> str:
    """Tell today's date, weekday and the time now, here or in another place."""
    here = (timezone or "").strip().lower() in ("", "local", "here")
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
    today = context.clock().date()
    first, last = parse_date(start, today), parse_date(end, today)
    days = (last - first).days
    parts = [part for part in (_in_weeks(abs(days)), _in_months(first, last)) if part]
    also = f" ({', or '.join(parts)})" if parts else ""
    earlier = "; the second date is earlier" if days < 0 else ""
    return f"{_count(days, 'day')}{also}, from {_shown(first)} to {_shown(last)}{earlier}"


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
        end = _plus_months(start, 12 * years + months) + timedelta(days=days, weeks=weeks)
    except (OverflowError, ValueError):
        raise ToolError("The result lies outside the years 1 to 9999.") from None
    amounts = ((years, "year"), (months, "month"), (weeks, "week"), (days, "day"))
    added = "".join(f" {'minus' if n < 0 else 'plus'} {_count(abs(n), unit)}" for n, unit in amounts if n)
    # The date in words and in digits: a small model copies either well, and turns one into the other badly.
    told = f"{end:%A}, {end.day} {end:%B} {end.year} ({end.isoformat()})"
    return f"{start.isoformat()}{added} = {told}" if added else told


def _plus_months(day: date, months: int) -> date:
    """The same day some months on, or the last of that month where it is shorter: 31 January + 1 is 28 February."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


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
    if first.day > last.day and _plus_months(first, months) > last:
        months -= 1
    if not months:
        return ""
    days = (last - _plus_months(first, months)).days
    amounts = ((months // 12, "year"), (months % 12, "month"), (days, "day"))
    *parts, end = [_count(n, unit) for n, unit in amounts if n]
    return f"{', '.join(parts)} and {end}" if parts else end


# --- time zones

# Large cities that give no zone its name, and abbreviations without a zone of their own.
_PLACES = {
    "America/Los_Angeles": "san francisco, seattle, san diego, las vegas, california, pst, pdt, pt, pacific time",
    "America/New_York": "washington, washington dc, boston, miami, atlanta, philadelphia, nyc, edt, et, eastern time",
    "America/Chicago": "houston, dallas, austin, new orleans, texas, cst, cdt, ct, central time",
    "America/Denver": "salt lake city, mdt, mt, mountain time",
    "America/Toronto": "ottawa", "America/Sao_Paulo": "rio de janeiro, brasilia", "Europe/London": "uk, england, bst",
    "Europe/Paris": "france, lyon", "Europe/Berlin": "germany, munich, hamburg, frankfurt, cologne, cest",
    "Europe/Madrid": "spain, barcelona", "Europe/Rome": "italy, milan, naples", "Europe/Zurich": "switzerland, geneva",
    "Asia/Kolkata": "india, mumbai, delhi, new delhi, bangalore, bengaluru, chennai",
    "Asia/Shanghai": "china, beijing, shenzhen, guangzhou", "Asia/Tokyo": "osaka, kyoto, jst",
    "Asia/Seoul": "south korea, korea, busan", "Asia/Dubai": "abu dhabi", "Asia/Karachi": "islamabad, lahore",
    "Asia/Ho_Chi_Minh": "hanoi, vietnam", "Australia/Sydney": "canberra", "America/Bogota": "colombia",
    "Africa/Johannesburg": "cape town, south africa", "Africa/Lagos": "nigeria, abuja", "Europe/Kyiv": "kiev, ukraine",
}  # fmt: skip


def find_zone(place: str) -> tzinfo:
    """The time zone of an IANA name in any case, a city, or an offset such as UTC+2.

    Raises:
        ToolError: there is none; the sentence names zones that are spelled alike.
    """
    plain = unicodedata.normalize("NFKD", place).encode("ascii", "ignore").decode()  # São Paulo, Zürich
    spoken = " ".join(plain.lower().replace("_", " ").split())
    offset = re.fullmatch(r"(?:utc|gmt) ?([+-]) ?(\d{1,2})(?::?([0-5]\d))?", spoken)
    if offset and int(offset[2]) <= 14:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(ahead if offset[1] == "+" else -ahead)
    zones = _zones()
    for name in (spoken, spoken.partition(",")[0], spoken.removesuffix(" time")):
        if name in zones:
            return UTC if zones[name] == "UTC" else ZoneInfo(zones[name])
    alike = dict.fromkeys(zones[name] for name in difflib.get_close_matches(spoken.rpartition("/")[2], zones, n=3))
    meant = f"Did you mean {' or '.join(alike)}?" if alike else "Name a large city near it."
    raise ToolError(f"There is no time zone {place!r}. {meant}")


@cache
def _zones() -> dict[str, str]:
    """Spoken names in lower case -> IANA names: the whole name, its last part, and the places above."""
    zones: dict[str, str] = {}
    for name in sorted(available_timezones(), key=lambda name: (name.count("/"), name)):
        spoken = name.lower().replace("_", " ")
        zones[spoken] = name
        zones.setdefault(spoken.rpartition("/")[2], name)
    for name, places in _PLACES.items():
        zones.update(dict.fromkeys(places.split(", "), name))
    return zones
