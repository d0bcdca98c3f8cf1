"""Dates as people write them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from umi_local.toolbox import ToolError

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
_DAY, _MONTH = r"(?P<day{0}>\d{{1,2}})(?:st|nd|rd|th)?", r"(?P<month{0}>[a-z]{{3,9}})"
_SPOKEN = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+)?(?:the\s+)?"
    rf"(?:{_DAY.format(1)}\s+(?:of\s+)?{_MONTH.format(1)}|{_MONTH.format(2)}\s+(?:the\s+)?{_DAY.format(2)})"
    r"(?:\s+(?P<year>\d{4}))?(?:\s+at)?"
)
_NUMERIC = re.compile(r"(\d{1,4})[-/. ]+(\d{1,2})[-/. ]+(\d{1,4})")
_TIME = re.compile(r"\b\d{1,2}(:\d{2}){1,2}(\.\d+)?\s*([ap]m)?(z|[+-]\d{2}:?\d{2})?|\b\d{1,2}\s*[ap]m\b|\(.*\)")


def parse_date(text: str, today: date | None = None) -> date:
    """A calendar day from ISO form, a spoken form (3 March 2026, March 3rd), or today, tomorrow, yesterday.

    A spoken form without a year is in that of `today`, which is the system's if it is not given. 03/04/2026 could be
    March or April and is refused.

    Raises:
        ToolError: it is no date, no single date, or no day of the calendar.
    """
    today = today or date.today()
    spoken = " ".join(text.lower().split())
    if spoken in ("today", "now", "tomorrow", "yesterday"):
        return today + timedelta(days={"tomorrow": 1, "yesterday": -1}.get(spoken, 0))
    try:
        return _iso(text.strip()) or _numeric(text) or _spoken(spoken, today.year)
    except ValueError:
        raise ToolError(f"{text!r} is not a date. Write it as YYYY-MM-DD, such as 2026-03-31.") from None


def _iso(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _numeric(text: str) -> date | None:
    found = _NUMERIC.fullmatch(_TIME.sub("", text.lower()).strip(" t,"))
    if not found:
        return None
    first, middle, last = found.groups()
    if len(first) == 4:
        return date(int(first), int(middle), int(last))
    if len(last) != 4:
        raise ValueError
    one, two, year = int(first), int(middle), int(last)
    if one <= 12 and two <= 12 and one != two:
        raise ToolError(
            f"{text!r} could be {date(year, one, two)} or {date(year, two, one)}. Write the date as YYYY-MM-DD."
        )
    return date(year, two, one) if two <= 12 else date(year, one, two)


def _spoken(text: str, this_year: int) -> date:
    found = _SPOKEN.fullmatch(" ".join(re.sub(r"[-,./]", " ", _TIME.sub("", text)).split()))
    if not found:
        raise ValueError
    name = found["month1"] or found["month2"]
    month = next((number for number, full in enumerate(MONTHS, 1) if full.startswith(name)), 0)
    year = int(found["year"]) if found["year"] else this_year
    return date(year, month, int(found["day1"] or found["day2"]))
