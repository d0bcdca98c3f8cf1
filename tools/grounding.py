"""Closer schemas from what was said: dates that stand in the request, and percentages that stay percentages.

A small model miscopies: 3 June becomes 06-30, 1941 becomes 2021, and of 7.5% the sign gets lost. Where a plan shows
such a slip for certain, the call is held to what was said. Whatever may be meant otherwise is left open: to overrule
a plan that was right is worse than to let a slip pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from umi_local.toolbox import ToolContext, ToolError

from .written_dates import MONTHS, parse_date

_LOOKED_AT = 8000  # characters
_ISO = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_MONTH = rf"(?:{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in MONTHS)}|sept)\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:1[89]|20|21)\d\d(?!\d)"
_WEEKDAY = r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
_WRITTEN = re.compile(
    rf"(?:{_WEEKDAY},? (?:the )?)?(?P<date>{_ISO.pattern}|(?<![\d./-])\d{{1,2}}[./-]\d{{1,2}}[./-]{_YEAR}"
    rf"|(?<![\d./-])(?:{_DAY} (?:of )?\b{_MONTH}|\b{_MONTH} (?:the )?{_DAY}),? {_YEAR})",
    re.IGNORECASE,
)
# What may mean a day beside those that are written out with day, month and year.
_OTHER_DAYS = re.compile(
    "|".join(
        (
            rf"{_WEEKDAY}|\b{_MONTH}|\b{_YEAR}",
            r"\d(?:st|nd|rd|th)\b|\d ?[-–/]|\bto (?:the )?\d|'\d\d\b",
            r"christmas|xmas|easter|solstice|valentine|hallowe|thanksgiving|ramadan|diwali|\bnew year",
            r"holiday|birthday|anniversar|\b(?:eve|tomorrow|yesterday|next|last|this|coming|past|ago|another)\b",
            r"\b(?:later|earlier|longer|shorter|sooner|start|beginning|middle|end|turns?|day)\b",
        )
    ),
    re.IGNORECASE,
)
_AMOUNTS = {unit: {"type": "integer"} for unit in ("days", "weeks", "months", "years")}

_NUMERAL = r"\d+(?:\.\d+)?"
_PERCENT = re.compile(rf"(?<![\w.,/-])({_NUMERAL}) ?(?:%(?!-)|per ?cent\b|pct\b)", re.IGNORECASE)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")  # fmt: skip
_IN_WORDS = re.compile(rf"(?<![-\w])({'|'.join(_NUMBERS)})(?= (?:per ?cent|pct)\b)", re.IGNORECASE)
_DIGITS = "0123456789."
_COUNT = rf"(?<![\w.,/-])(\d{{1,4}}|an?|{'|'.join(_NUMBERS)}) (day|week|month|year)s?"
_AMOUNT = re.compile(rf"{_COUNT}\b", re.IGNORECASE)
# Before a day that is told: "5 days before delivery" may be counted from the other end.
_BEFORE = re.compile(
    rf"{_COUNT} (?:before|prior to|ahead of) (?:the )?(?=\d|{_WEEKDAY}|{_MONTH}|today|tomorrow|yesterday)",
    re.IGNORECASE,
)
_NOT_BEFORE = re.compile(r"\b(?:after|later|from now|following|hence|as of|plus|add)\b", re.IGNORECASE)


def said_dates(context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The schema of a count between days where a plan miscopied one of them; None where it may be right."""
    planned = _ISO.findall(plan)
    days, today = _days(said), context.clock().date().isoformat()
    if len(planned) != 2 or not days:
        return None
    slipped = [day for day in planned if day not in days and day != today]
    left = sorted(days - set(planned))
    if len(slipped) != 1 or len(left) != 1 or not _alike(slipped[0], left[0]):
        return None
    start, end = (left[0] if day == slipped[0] else day for day in planned)
    properties = {"start": {"enum": [start]}, "end": {"enum": [end]}}
    return {"type": "object", "properties": properties, "required": ["start", "end"]}


def said_date(context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The same for the one day from which others are counted; and what lies before it is counted backwards."""
    planned, days = _ISO.findall(plan), sorted(_days(said))
    slipped = len(planned) == len(days) == 1 and planned[0][:4] == days[0][:4] and _alike(planned[0], days[0])
    before = _said_before(plan, said)
    if not slipped and not before:
        return None  # the same day of another year may be the one that is asked about
    properties = {"date": {"enum": days} if slipped else {"type": "string"}, **_AMOUNTS, **before}
    return {"type": "object", "properties": properties, "required": ["date", *before]}


def _said_before(plan: str, said: str) -> Mapping[str, Any]:
    """The amount that a request wants before a day, as what is to be added, where it speaks of no other amount."""
    said = said[:_LOOKED_AT]
    found, planned = _BEFORE.findall(said), {_counted(*each) for each in _AMOUNT.findall(plan)}
    if len(found) != 1 or len(_AMOUNT.findall(said)) != 1 or _NOT_BEFORE.search(said):
        return {}
    number, unit = _counted(*found[0])
    return {f"{unit}s": {"enum": [-number]}} if planned <= {(number, unit)} else {}


def _counted(number: str, unit: str) -> tuple[int, str]:
    number = number.lower()
    count = _NUMBERS.index(number) + 1 if number in _NUMBERS else int(number) if number.isdecimal() else 1
    return count, unit.lower()


def _days(said: str) -> set[str]:
    """The days that were written out whole, in ISO form; none where a day may have been told in another way."""
    days: set[str] = set()
    if len(said) > _LOOKED_AT:
        return days

    def taken(match: re.Match[str]) -> str:
        with suppress(ToolError):
            days.add(parse_date(match["date"]).isoformat())
            return ""
        return match[0]

    rest = _WRITTEN.sub(taken, " ".join(said.split()))
    return set() if _OTHER_DAYS.search(rest) else days


def _alike(one: str, other: str) -> bool:
    """Whether two days differ in their year, their month or their day alone: what a slip looks like."""
    return sum(a != b for a, b in zip(one.split("-"), other.split("-"), strict=True)) == 1


def said_percentages(_context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The schema of a sum in which a percentage is one, where a plan has it bare in `(1 + ...)` or `(1 - ...)`."""
    said = _IN_WORDS.sub(lambda found: str(_NUMBERS.index(found[0].lower()) + 1), said[:_LOOKED_AT])
    forgotten = [
        number
        for number in sorted(set(_PERCENT.findall(said)))
        if re.search(rf"(?<![\d.])1 ?[+-] ?{re.escape(number)}\)", plan)
        and len(re.findall(rf"(?<![\d.]){re.escape(number)}(?!\d|\.\d)", plan)) == 1
    ]
    if not forgotten:
        return None
    number = rf"(?:{_none_of(forgotten)}|(?:{'|'.join(map(re.escape, forgotten))}) ?%)"
    between = r"""[^0-9._"\\]"""
    pattern = rf"^(?:{number})?(?:{between}+{number})*{between}*$"
    properties = {"expression": {"type": "string", "pattern": pattern}}
    return {"type": "object", "properties": properties, "required": ["expression"]}


def _none_of(numbers: Sequence[str], begun: str = "") -> str:
    """A regular expression for what may follow on `begun` in numerals other than these, 4.20 for 4.2 among them; the
    engine knows no negation, so it is spelled out digit by digit."""
    following = {number[0] for number in numbers} | ({"0"} if not begun else set())
    others = "".join(digit for digit in _DIGITS if digit not in following)
    ways = [f"[{others}][{_DIGITS}]*"] if others else []
    for digit in sorted(following):
        rests = [number[1:] for number in numbers if number[0] == digit]
        longer = _none_of([rest for rest in rests if rest], begun + digit) if any(rests) else _more(begun + digit)
        if not begun and digit == "0" and not any(rests):
            longer = rf"\.[{_DIGITS}]*"  # 015 would be 15
        ways.append(re.escape(digit) + (longer if "" in rests else f"(?:{longer})?"))
    return f"(?:{'|'.join(ways)})"


def _more(number: str) -> str:
    """What makes another number of it."""
    after_point = f"0*[1-9][{_DIGITS}]*"
    return after_point if "." in number else rf"(?:[0-9][{_DIGITS}]*|\.{after_point})"
