"""Requests that reckon with what a file says: its prices, its dates, its measures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from umi_local.errors import ConfigError
from umi_local.toolbox import ToolError
from umi_local.tools.written_dates import parse_date
from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.files import mention, reading
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.texts import Fact, Text, add_text
from umi_local.training.everyday.units import conversion_move, converted_number
from umi_local.training.everyday.values import money, pick

_FACT_UNIT = re.compile(r"(-?\d+(?:\.\d+)?) (\S+)")


def read_calculate(scene: Scene) -> Ask:
    """So many things at a price each."""
    rng, lines = scene.rng, lines_of("several", "read_calculate")
    slots = {"n": rng.randint(3, 60), "t": pick(rng, "things"), "x": money(rng, 1, 40), "first": pick(rng, "first")}
    line = say(rng, lines["lines"], **slots)
    text = add_text(scene, size=3, also=[Fact(upper_first(line), "", "", "")])
    query = ask(rng, lines["queries"], t=slots["t"], f=mention(rng, text.path))

    def close(seen: Sequence[str]) -> str:
        return upper_first(say(rng, lines["answers"], r=seen[-1].rpartition(" = ")[2], **slots))

    return Ask("several", query, [reading(text.path), sum_move(f"{slots['n']} * {slots['x']}")], close)


def read_reckon(scene: Scene) -> Ask:
    """A price that stands in a file, with a share on top or off, so many times, or split."""
    rng, lines = scene.rng, lines_of("several", "read_reckon")
    what, price = rng.choice(lines["what"]), money(rng, 12, 4000)
    line = upper_first(say(rng, lines["lines"], w=what, x=price))
    beside = rng.choice([one for one in lines["what"] if one != what])
    other = upper_first(say(rng, lines["lines"], w=beside, x=money(rng, 12, 4000)))
    text = add_text(scene, size=3, also=[Fact(line, "", "", ""), Fact(other, "", "", "")])
    percent, count = rng.choice((3, 5, 7, 8, 10, 12, 15, 17.5, 19, 20, 21, 25, 30)), rng.randint(2, 12)
    way = rng.choice(("plus", "off", "times", "split"))
    expressions = {
        "plus": f"{price} + {percent}%",
        "off": f"{price} - {percent}%",
        "times": f"{price} * {count}",
        "split": f"{price} / {count}",
    }
    query = ask(rng, lines[way], w=what, f=mention(rng, text.path), p=percent, n=count)

    def close(seen: Sequence[str]) -> str:
        result = f"{float(seen[-1].rpartition(' = ')[2]):.2f}"  # it is money
        return upper_first(say(rng, lines["answers"], r=result, x=price, w=what))

    return Ask("several", query, [reading(text.path), sum_move(expressions[way])], close)


def read_rise(scene: Scene) -> Ask:
    """A file says what something costs before and after; asked is the difference over some time."""
    rng, lines = scene.rng, lines_of("several", "read_rise")
    what, before = rng.choice(lines["what"]), round(rng.uniform(8, 900), rng.choice((0, 0, 2)))
    after = round(before * rng.uniform(1.02, 1.3) + 1, 2 if before % 1 else 0)
    months = rng.choice((2, 3, 6, 12, 12, 12, 24))
    old, new = (f"{price:.2f}" if before % 1 else f"{price:.0f}" for price in (before, after))
    line = upper_first(say(rng, lines["lines"], w=what, x=old, y=new))
    text = add_text(scene, size=3, also=[Fact(line, "", "", "")])
    span = rng.choice(("a year", "one year", "12 months", "a whole year")) if months == 12 else f"{months} months"
    query = ask(rng, lines["queries"], w=what, f=mention(rng, text.path), n=span)

    def close(seen: Sequence[str]) -> str:
        result = seen[-1].rpartition(" = ")[2]
        return upper_first(say(rng, lines["answers"], r=result, n=span, x=old, y=new, w=what))

    return Ask("several", query, [reading(text.path), sum_move(f"({new} - {old}) * {months}")], close)


def read_add(scene: Scene) -> Ask:
    """A day so long after one that stands in a file."""
    rng, lines = scene.rng, lines_of("several", "read_add")
    text, fact = _fact(scene, _is_a_date)
    unit, count = rng.choice(("days", "weeks", "months")), rng.randint(2, 14)
    query = ask(rng, lines["queries"], k=fact.key, f=mention(rng, text.path), n=f"{count} {unit}")
    adding = Move("add_to_date", {"date": _as_date(fact.value), unit: count})

    def close(seen: Sequence[str]) -> str:
        day = seen[-1].rpartition(" = ")[2]
        return upper_first(say(rng, lines["answers"], r=day, k=fact.key, v=fact.value, n=f"{count} {unit}"))

    return Ask("several", query, [reading(text.path), adding], close)


def _fact(scene: Scene, fits: Callable[[Fact], bool]) -> tuple[Text, Fact]:
    """A file with a keyed fact that fits."""
    for _ in range(60):
        text = add_text(scene)
        found = [fact for fact in text.facts if fact.key and fits(fact)]
        if found:
            return text, scene.rng.choice(found)
        (scene.root / "workspace" / text.path).unlink()
    raise ConfigError("No theme has a fact of that kind.", "See themes.toml.")


def read_date(scene: Scene) -> Ask:
    """The days between today and one that stands in a file."""
    rng, lines = scene.rng, lines_of("several", "read_date")
    text, fact = _fact(scene, _is_a_date)
    query = ask(rng, lines["queries"], k=fact.key, f=mention(rng, text.path))
    counting = Move("date_difference", {"start": "today", "end": _as_date(fact.value)})

    def close(seen: Sequence[str]) -> str:
        count = re.split(r" \(|, ", seen[-1])[0].removeprefix("-")
        when = "today" if count == "0 days" else "past" if "the second date is earlier" in seen[-1] else "future"
        return upper_first(say(rng, lines[f"answers_{when}"], n=count, k=fact.key, v=fact.value))

    return Ask("several", query, [reading(text.path), counting], close)


def _is_a_date(fact: Fact) -> bool:
    """Whether a fact is one whole date and nothing beside it."""
    return bool(re.search(r"\d{4}", fact.value)) and not fact.rest and _as_date(fact.value) != ""


def _as_date(text: str) -> str:
    """The date in ISO form; nothing if it is none."""
    try:
        return parse_date(text).isoformat()
    except ToolError:
        return ""


def read_convert(scene: Scene) -> Ask:
    """A measure that stands in a file, in another unit."""
    rng, lines = scene.rng, lines_of("several", "read_convert")
    units = {entry.split()[0]: entry.split()[1:] for entry in lines_of("several", "units_of_facts")["pairs"]}

    def fits(fact: Fact) -> bool:
        found = _FACT_UNIT.fullmatch(fact.value)
        return bool(found and found[2] in units)

    text, fact = _fact(scene, fits)
    value, unit = fact.value.split()
    source, target = units[unit]
    query = ask(rng, lines["queries"], k=fact.key, f=mention(rng, text.path), t=target)

    def close(seen: Sequence[str]) -> str:
        result = converted_number(seen[-1], target)
        return say(rng, lines["answers"], r=result, k=fact.key, v=value, s=source, t=target)

    return Ask("several", query, [reading(text.path), conversion_move(value, source, target)], close)
