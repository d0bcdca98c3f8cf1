"""Dates as people write them."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, time, timedelta

from umi_local.toolbox import ToolError

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY, _MONTH = r"(?P<day{0}>\d{{1,2}})(?:st|nd|rd|th)?", r"(?P<month{0}>[a-z]{{3,9}})"
_SPOKEN = re.compile(
    r"(?:the\s+)?"
    rf"(?:{_DAY.format(1)}\s+(?:of\s+)?{_MONTH.format(1)}|{_MONTH.format(2)}\s+(?:the\s+)?{_DAY.format(2)})"
    r"(?:\s+(?P<year>\d{4}))?(?:\s+at)?"
)
_NUMERIC = re.compile(r"(\d{1,4})[-/. ]+(\d{1,2})[-/. ]+(\d{1,4})")
_TIME = re.compile(r"\b\d{1,2}(:\d{2}){1,2}(\.\d+)?\s*([ap]m)?(z|[+-]\d{2}:?\d{2})?|\b\d{1,2}\s*[ap]m\b|\(.*\)")
_TIME_AT_END = re.compile(
    r"(?:[\st,]|\bat )\s*(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?)?\s*(?P<half>[ap]m)?"
    r"\s*(?P<zone>z|[+-]\d\d:?\d\d)?$"
)
_WEEKDAY = re.compile(rf"^(?:{'|'.join(_WEEKDAYS)})[a-z]*,? (?=.*\d)")
# Days from today, and days of every year.
_NAMED = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1, "day after tomorrow": 2, "day before yesterday": -2}
_FEASTS = {"christmas": (12, 25), "christmas day": (12, 25), "christmas eve": (12, 24), "new year's eve": (12, 31),
           "new year's day": (1, 1)}  # fmt: skip
_AMOUNT = r"(\d{1,4}|an?|one) (day|week|month|year)s?"
_LATER = re.compile(rf"in {_AMOUNT}|{_AMOUNT} (?:from (?:now|today)|later)|(?:today|now) ?\+ ?{_AMOUNT}")
_EARLIER = re.compile(rf"{_AMOUNT} (?:ago|before (?:now|today))|(?:today|now) ?- ?{_AMOUNT}")
_LAST_OF_MONTH = re.compile(r"(?:the )?(?:end|last day) of ([a-z]{3,9})(?: (\d{4}))?")
_NTH = re.compile(r"(?:the )?(first|second|third|fourth|last) ([a-z]{6,9}) (?:of|in) ([a-z]{3,9})(?: (\d{4}))?")


def parse_date(text: str, today: date | None = None) -> date:
    """A calendar day from ISO form, a spoken form (3 March 2026, March 3rd, in 2 weeks), or today, tomorrow, yesterday.

    A spoken form without a year is in that of `today`, which is the system's if it is not given. 03/04/2026 could be
    March or April and is refused.

    Raises:
        ToolError: it is no date, no single date, or no day of the calendar.
    """
    today = today or date.today()
    plain = text.strip(" '\"“”.")
    whole = " ".join(plain.lower().replace("’", "'").split())
    spoken = _WEEKDAY.sub("", whole)
    try:
        return (
            _named(whole.removeprefix("the "), today) or _iso(spoken) or _numeric(spoken) or _spoken(spoken, today.year)
        )
    except ValueError:
        raise ToolError(f"{text!r} is not a date. Write it as YYYY-MM-DD, such as 2026-03-31.") from None


def time_of_day(text: str) -> time | None:
    """The time at the end of a moment, such as 2026-03-31 9:00, 31 March 2026 5:30 pm or 2026-03-31T09:00Z; None where
    none is told, or one that no clock shows.
    """
    plain = text.strip(" '\"“”.").lower()
    found = _TIME_AT_END.search(plain)
    if not found or not (found["minute"] or found["half"]):
        return None
    hour, half = int(found["hour"]), found["half"]
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0) if 1 <= hour <= 12 else 99
    zone = (found["zone"] or "").replace("z", "+00:00")
    try:
        return time.fromisoformat(f"{hour:02}:{found['minute'] or '00'}:{found['second'] or '00'}{zone}")
    except ValueError:
        return None


def plus_months(day: date, months: int) -> date:
    """The same day some months on, or the last of that month where it is shorter: 31 January + 1 is 28 February."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _named(text: str, today: date) -> date | None:
    """A day told by its distance from today, or by its place in a month or a year."""
    if text in _NAMED:
        return today + timedelta(days=_NAMED[text])
    if text in _FEASTS:
        feast = date(today.year, *_FEASTS[text])
        return feast if feast >= today else feast.replace(year=today.year + 1)
    for pattern, sign in ((_LATER, 1), (_EARLIER, -1)):
        if found := pattern.fullmatch(text):
            count, unit = (part for part in found.groups() if part)
            number = sign * (int(count) if count.isdecimal() else 1)
            if unit in ("month", "year"):
                return plus_months(today, number * (12 if unit == "year" else 1))
            return today + timedelta(days=number * (7 if unit == "week" else 1))
    if found := _LAST_OF_MONTH.fullmatch(text):
        year, month = int(found[2] or today.year), _month(found[1])
        return date(year, month, monthrange(year, month)[1])
    if found := _NTH.fullmatch(text):
        return _nth_weekday(found[1], found[2], int(found[4] or today.year), _month(found[3]))
    return None


def _nth_weekday(which: str, weekday: str, year: int, month: int) -> date:
    wanted, last = _WEEKDAYS.index(weekday[:3]), monthrange(year, month)[1]
    days = [day for day in range(1, last + 1) if date(year, month, day).weekday() == wanted]
    return date(year, month, days[("first", "second", "third", "fourth").index(which) if which != "last" else -1])


def _month(name: str) -> int:
    """The number of a month by its name or the first letters of it; 0 for none."""
    return next((number for number, full in enumerate(MONTHS, 1) if full.startswith(name)), 0)


def _day(year: int, month: int, day: int) -> date:
    """A day of the calendar. Raises ToolError where its month is shorter, and ValueError where it is none at all."""
    if 1 <= month <= 12 and 1 <= year <= 9999 and monthrange(year, month)[1] < day <= 31:
        last = date(year, month, monthrange(year, month)[1])
        raise ToolError(
            f"{MONTHS[month - 1].title()} {year} has no day {day}. If its last day is meant, write {last} (YYYY-MM-DD)."
        )
    return date(year, month, day)


def _iso(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text.upper()).date()
    except ValueError:
        return None


def _numeric(text: str) -> date | None:
    found = _NUMERIC.fullmatch(_TIME.sub("", text).removesuffix(" at ").strip(" t,"))
    if not found:
        return None
    first, middle, last = found.groups()
    if len(first) == 4:
        return _day(int(first), int(middle), int(last))
    if len(last) != 4:
        raise ValueError
    one, two, year = int(first), int(middle), int(last)
    if one <= 12 and two <= 12 and one != two:
        raise ToolError(
            f"{text!r} could be {date(year, one, two)} or {date(year, two, one)}. Write the date as YYYY-MM-DD."
        )
    return _day(year, two, one) if two <= 12 else _day(year, one, two)


def _spoken(text: str, this_year: int) -> date:
    words = " ".join(re.sub(r"[-,./]", " ", _TIME.sub("", text)).split())
    found = _SPOKEN.fullmatch(re.sub(r"^(\d{4}) (.*)$", r"\2 \1", words))  # 2026 May 4
    if not found:
        raise ValueError
    year = int(found["year"]) if found["year"] else this_year
    return _day(year, _month(found["month1"] or found["month2"]), int(found["day1"] or found["day2"]))
