"""Requests for the clock and the calendar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from random import Random

from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.values import day, pick, spoken_day

_UNITS = {"days": (1, 200), "weeks": (1, 30), "months": (1, 30), "years": (1, 12)}
# Between two days: what they are a multiple of, and how often they may hold it.
_SPANS = {"queries": (1, (3, 900)), "weeks": (7, (2, 60)), "ages": (1, (1500, 20_000))}
_OCCASIONS = ("time", "date", "weekday", "month", "year", "both")
_LEFT_OVER = {"days": 12, "weeks": 3, "months": 11}  # beside a larger unit
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def current_time(scene: Scene) -> Ask:
    """What the clock says, here or elsewhere."""
    rng, lines = scene.rng, lines_of("dates", "clock")
    if rng.random() < 0.4:
        city = pick(rng, "zonecity")
        wanted = rng.choice(("city", "city", "city", "city_date"))
        query = ask(rng, lines[wanted], z=city, first=pick(rng, "first"))
    else:
        city, wanted = "", rng.choice(_OCCASIONS)
        query = ask(rng, lines["here" if wanted == "time" else wanted])
    move = Move("current_time", {"timezone": city} if city else {})

    def close(seen: Sequence[str]) -> str:
        slots = {**clock_parts(seen[-1]), "z": city}
        if wanted == "weekday" and re.search("weekend|is today a ", query, re.IGNORECASE):
            return _yes_or_no(query, slots["weekday"])
        return say(rng, lines[f"a_{wanted}"], **slots)

    return Ask("current_time", query, [move], close, facts={"city": city, "wanted": wanted})


def clock_parts(observation: str) -> dict[str, str]:
    """Weekday, date, time, month and year of what current_time says."""
    weekday, day_text, clock = observation.split(", ")[:3]
    _, month, year = day_text.split()
    return {"weekday": weekday, "date": day_text, "time": clock.split()[0], "month": month, "year": year}


def _yes_or_no(query: str, weekday: str) -> str:
    if "weekend" in query.lower():
        ends = weekday in ("Saturday", "Sunday")
        return f"Yes, today is {weekday}." if ends else f"No, today is {weekday}, so it is not the weekend yet."
    asked = weekday.lower() in query.lower()
    return f"Yes, today is {weekday}." if asked else f"No, today is {weekday}."


def date_difference(scene: Scene) -> Ask:
    """How far two days are apart; one of them may be today."""
    rng, lines = scene.rng, lines_of("dates", "difference")
    way = rng.choices(("queries", "weeks", "until", "since", "ages"), (5, 1, 3, 3, 2))[0]
    today = scene.now.date()
    if way in ("queries", "weeks", "ages"):
        first = day(rng, 1930, 2019) if way == "ages" else day(rng, 2015, 2029)
        last = first + timedelta(days=_SPANS[way][0] * rng.randint(*_SPANS[way][1]))
        a, b, x, y = written(rng, first), written(rng, last), first.isoformat(), last.isoformat()
    else:
        last = today + timedelta(days=rng.randint(2, 400) if way == "until" else -rng.randint(2, 3000))
        a, b = "today", written(rng, last)
        x, y = ("today", last.isoformat()) if way == "until" else (last.isoformat(), "today")
    query = ask(rng, lines[way], a=a, b=b, first=pick(rng, "first"))
    return difference(rng, way, query, (x, y), b)


def difference(rng: Random, way: str, query: str, dates: tuple[str, str], named: str) -> Ask:
    """The request with its one step and its answer."""
    lines = lines_of("dates", "difference")
    x, y = dates
    move = Move("date_difference", {"start": x, "end": y})

    def close(seen: Sequence[str]) -> str:
        count, *also = re.match(r"(-?\d+ days?)(?: \(([^)]*)\))?", seen[-1]).groups()  # type: ignore[union-attr]
        weeks = (also[0] or count).split(", or ")[0]
        told = f"{count}, or {also[0].split(', or ')[-1]}" if also[0] and rng.random() < 0.25 else count
        if (way == "ages" or re.search(r"\bhow old\b", query, re.IGNORECASE)) and also[0]:
            age = also[0].split(", or ")[-1]
            told = age if way == "ages" else f"{age} ({count})"
        kind = "answers" if way == "queries" else f"answers_{way}"
        return upper_first(say(rng, lines[kind], n=told, w=weeks, b=named, x=x, y=y))

    return Ask("date_difference", query, [move], close, facts={"start": x, "end": y})


def add_to_date(scene: Scene) -> Ask:
    """The day some time before or after another, which may be today."""
    rng = scene.rng
    way = rng.choices(("queries", "before", "today", "ago"), (5, 3, 3, 1))[0]
    start = "" if way in ("today", "ago") else day(rng, 2018, 2028).isoformat()
    return moved(rng, way, start, amounts(rng))


def moved(rng: Random, way: str, start: str, span: Mapping[str, int], query: str = "") -> Ask:
    """The request with its one step and its answer; without a query one is made. `span` has how many of which unit."""
    lines = lines_of("dates", "add")
    shown = rng.choice((" and ", " and ", " ", ", ")).join(spelled(rng, *part) for part in span.items())
    sign = -1 if way in ("before", "ago") else 1
    named = written(rng, date.fromisoformat(start)) if start else "today"
    query = query or ask(rng, lines[way], n=shown, a=named, first=pick(rng, "first"))
    move = Move("add_to_date", {"date": start or "today", **{unit: sign * count for unit, count in span.items()}})

    def close(seen: Sequence[str]) -> str:
        result, iso = seen[-1].rpartition(" = ")[2].rstrip(")").split(" (")
        weekday, day_text = result.split(", ")
        ways = (result, f"{weekday}, {iso}", result, iso, day_text)
        asked_weekday = re.search(r"week|\bday\b", query)
        told = rng.choice(ways[:2] if asked_weekday else ways)
        return say(rng, lines["answers_past" if way == "ago" else "answers"], r=told)

    return Ask("add_to_date", query, [move], close, facts={"start": start, "way": way})


def amounts(rng: Random) -> dict[str, int]:
    """How many of which unit, mostly of one, the larger unit first."""
    if rng.random() < 0.75:
        unit, count = amount(rng)
        return {unit: count}
    large, small = rng.choice((("weeks", "days"), ("years", "months"), ("months", "days"), ("months", "weeks")))
    return {large: rng.randint(1, _UNITS[large][1] // 2), small: rng.randint(1, _LEFT_OVER[small])}


def amount(rng: Random) -> tuple[str, int]:
    """Days, weeks, months or years, and how many."""
    unit = rng.choices(list(_UNITS), (4, 3, 3, 2))[0]
    low, high = _UNITS[unit]
    common = {"days": (10, 14, 30, 45, 60, 90, 100, 120), "months": (3, 6, 18, 24), "weeks": (2, 3, 4, 6, 8, 12)}
    return unit, rng.choice(common[unit]) if unit in common and rng.random() < 0.5 else rng.randint(low, high)


def spelled(rng: Random, unit: str, count: int) -> str:
    """An amount of time as people write it."""
    number = _WORDS[count] if count <= 10 and rng.random() < 0.4 else str(count)
    return f"{number} {unit if count > 1 else unit[:-1]}"


def written(rng: Random, when: date) -> str:
    """A date as people write it, with its year."""
    return when.isoformat() if rng.random() < 0.5 else spoken_day(rng, when)
