"""Closer schemas from what was said: dates that stand in the conversation, and percentages that stay percentages.

A small model miscopies: 3 June becomes 06-30, 1941 becomes 2021, and of 7.5% the sign gets lost. What a plan writes is
compared with what the user and the tools said; where it slipped, the call is held to what was said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from umi_local.toolbox import ToolContext, ToolError

from .written_dates import parse_date

_LOOKED_AT = 8000  # characters of what was said last
_ISO = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_MONTH = rf"(?:{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in _MONTHS)}|sept)\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_WEEKDAY = r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
_WRITTEN = re.compile(
    rf"(?:{_WEEKDAY},? (?:the )?)?(?P<date>{_ISO.pattern}|(?<![\d./-])\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{4}}(?!\d)"
    rf"|(?<!\d)(?:{_DAY} (?:of )?\b{_MONTH}|\b{_MONTH} (?:the )?{_DAY}(?!\d))(?P<year>,? \d{{4}}(?!\d))?)",
    re.IGNORECASE,
)
# What may mean a day without being written as one: where any of it was said, the plan's date may well be right.
_OTHER_DAYS = re.compile(
    rf"{_WEEKDAY}|\b{_MONTH}|\d[./-]\d|christmas|xmas|easter|holiday|solstice|valentine|hallowe|thanksgiving|ramadan|diwali"
    r"|\b(?:eve|tomorrow|yesterday|next|last|this|coming|past)\b|\bnew year|\b(?:weeks?|months?|years?) (?:ago|before)",
    re.IGNORECASE,
)
_AMOUNTS = {unit: {"type": "integer"} for unit in ("days", "weeks", "months", "years")}

_NUMERAL = r"\d+(?:\.\d+)?"
_PERCENT = re.compile(rf"(?<![\d.,])({_NUMERAL}) ?(?:%|per ?cent\b|pct\b)", re.IGNORECASE)
_LONE_NUMERAL = re.compile(rf"(?<![\d.,])({_NUMERAL})(?!\d|[.,]\d| ?%| ?per ?cent\b| ?pct\b)", re.IGNORECASE)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")  # fmt: skip
_IN_WORDS = re.compile(rf"\b({'|'.join(_NUMBERS)})(?= (?:per ?cent|pct)\b)", re.IGNORECASE)
_DIGITS = "0123456789."


def said_dates(context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The schema of a count between days where a plan names one that nobody spoke of; None where it may be right."""
    days = _grounded(context, plan, said)
    if not days:
        return None
    start, end = ([days[0]], [days[1]]) if len(days) == 2 else ([days[0], "today"],) * 2
    return {
        "type": "object",
        "properties": {"start": {"enum": start}, "end": {"enum": end}},
        "required": ["start", "end"],
    }


def said_date(context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The same for the one day from which others are counted."""
    days = _grounded(context, plan, said)
    if not days:
        return None
    return {"type": "object", "properties": {"date": {"enum": days[:1]}, **_AMOUNTS}, "required": ["date"]}


def _grounded(context: ToolContext, plan: str, said: str) -> Sequence[str]:
    """The plan's days in their order, with one that was said in place of each that was not; empty where none slipped,
    or where a day may have been told in another way."""
    planned = list(dict.fromkeys(_ISO.findall(plan)))
    days, rest = _days(" ".join(said[-_LOOKED_AT:].split()), context.clock().date().year)
    if not set(planned) - days or _OTHER_DAYS.search(rest):
        return ()
    found: list[str] = []
    for day in planned:
        left = sorted(days - set(planned) - set(found))
        found += [day] if day in days else difflib.get_close_matches(day, left, n=1, cutoff=0)
    return found if len(found) == len(planned) <= 2 else ()


def _days(said: str, year: int) -> tuple[set[str], str]:
    """Days that were written out, in ISO form, without a year in this one and its neighbours; and what is left."""
    days: set[str] = set()

    def taken(match: re.Match[str]) -> str:
        text = match["date"]
        complete = re.search(r"\d{4}", text)
        found: set[str] = set()
        for each in (text,) if complete else (f"{text} {year + more}" for more in (-1, 0, 1)):
            with suppress(ToolError):
                found.add(parse_date(each).isoformat())
        days.update(found)
        return "" if found else match[0]

    return days, _WRITTEN.sub(taken, said)


def said_percentages(_context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The schema of a sum in which a number that was said as a percentage is one, where a plan forgot the sign."""
    said = _IN_WORDS.sub(lambda found: str(_NUMBERS.index(found[0].lower()) + 1), " ".join(said[-_LOOKED_AT:].split()))
    percentages = set(_PERCENT.findall(said)) - set(_LONE_NUMERAL.findall(said))
    bare = set(_LONE_NUMERAL.findall(plan))
    if not percentages & bare or "100" in bare:  # 15 * 60 / 100 is a percentage, too
        return None
    forgotten = sorted(percentages & bare)
    number = rf"(?:{_none_of(forgotten)}|(?:{'|'.join(map(re.escape, forgotten))}) ?%)"
    between = r"""[^0-9."\\]"""
    pattern = rf"^(?:{number})?(?:{between}+{number})*{between}*$"
    return {
        "type": "object",
        "properties": {"expression": {"type": "string", "pattern": pattern}},
        "required": ["expression"],
    }


def _none_of(numbers: Sequence[str], begun: str = "") -> str:
    """A regular expression for what may follow on `begun` in numerals other than these, 4.20 for 4.2 among them; the
    engine knows no negation, so it is spelled out digit by digit."""
    following = {number[0] for number in numbers}
    others = "".join(digit for digit in _DIGITS if digit not in following)
    ways = [f"[{others}][{_DIGITS}]*"] if others else []
    for digit in sorted(following):
        rests = [number[1:] for number in numbers if number[0] == digit]
        longer = _none_of([rest for rest in rests if rest], begun + digit) if any(rests) else _more(begun + digit)
        ways.append(re.escape(digit) + (longer if "" in rests else f"(?:{longer})?"))
    return f"(?:{'|'.join(ways)})"


def _more(number: str) -> str:
    """What makes another number of it."""
    after_point = f"0*[1-9][{_DIGITS}]*"
    return after_point if "." in number else rf"(?:[0-9][{_DIGITS}]*|\.{after_point})"
