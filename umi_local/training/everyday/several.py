"""Requests that take several steps: read and compute, search and read, two tables, two files, and made of two."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from umi_local.errors import ConfigError
from umi_local.toolbox import ToolError
from umi_local.toolbox.csv_header import in_sql
from umi_local.tools.dates import parse_date
from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.columns import plain, said
from umi_local.training.everyday.combined import list_read, read_note, read_write, search_read
from umi_local.training.everyday.files import mention, reading
from umi_local.training.everyday.notes import note_looked_up
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.tables import Table, add_table, table_mention
from umi_local.training.everyday.texts import Fact, Text, add_text
from umi_local.training.everyday.together import answer_kept, two_requests
from umi_local.training.everyday.units import conversion_move, converted_number, measure_pair
from umi_local.training.everyday.values import money, pick

_FACT_UNIT = re.compile(r"(-?\d+(?:\.\d+)?) (\S+)")


def several(scene: Scene) -> Ask:
    """A request of two or more steps."""
    kinds = (
        _sum_convert,
        _sum_calculate,
        _sum_calculate,
        _read_calculate,
        _read_calculate,
        _read_rise,
        _read_add,
        note_looked_up,
        note_looked_up,
        _read_date,
        _read_convert,
        search_read,
        search_read,
        list_read,
        read_note,
        read_note,
        read_write,
        _compare,
        _two_tables,
        _sum_units,
        answer_kept,
        answer_kept,
        answer_kept,
        two_requests,
        two_requests,
    )
    return scene.rng.choice(kinds)(scene)


def _summed_table(scene: Scene, columns: Sequence[str]) -> tuple[Table, str]:
    """A table with one of these columns, or with any number column if none is named."""
    while True:
        table = add_table(scene)
        fitting = [name for name in table.numbers if plain(name) in columns or not columns]
        if fitting:
            return table, scene.rng.choice(fitting)


def _sum_of(table: Table, column: str) -> Move:
    return Move("query_table", {"path": table.path, "sql": f"SELECT sum({in_sql(column)}) FROM data"})


def _sum_convert(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "sum_convert")
    units = {entry.split()[0]: entry.split()[1:] for entry in lines_of("several", "units_of_columns")["pairs"]}
    table, column = _summed_table(scene, list(units))
    source, target = units[plain(column)]
    spoken = said(rng, column)
    query = ask(rng, lines["queries"], c=spoken, f=table_mention(rng, table.path), s=source, t=target)

    def then(seen: Sequence[str]) -> Move:
        return conversion_move(seen[-1].splitlines()[-1], source, target)

    def close(seen: Sequence[str]) -> str:
        total, result = seen[0].splitlines()[-1], converted_number(seen[-1], target)
        return say(rng, lines["answers"], c=spoken, v=total, r=result, s=source, t=target)

    return Ask("several", query, [_sum_of(table, column), then], close)


def _sum_calculate(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "sum_calculate")
    table, column = _summed_table(scene, ())
    percent, count = rng.choice((5, 8, 10, 12, 15, 19, 20, 25, 30)), rng.randint(2, 12)
    template = rng.choice(lines["queries"])
    spoken = said(rng, column)
    query = ask(rng, [template], c=spoken, f=table_mention(rng, table.path), p=percent, n=count)

    def expression(total: str) -> str:
        if "{n}" in template:
            return f"{total} / {count}"
        if "% off" in template:
            return f"{total} - {percent}%"
        return f"{percent}% of {total}" if "% of" in template else f"{total} + {percent}%"

    def then(seen: Sequence[str]) -> Move:
        return sum_move(expression(seen[-1].splitlines()[-1]))

    def close(seen: Sequence[str]) -> str:
        total, result = seen[0].splitlines()[-1], seen[-1].rpartition(" = ")[2]
        return say(rng, lines["answers"], v=total, r=result, c=spoken)

    return Ask("several", query, [_sum_of(table, column), then], close)


def _read_calculate(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "read_calculate")
    slots = {"n": rng.randint(3, 60), "t": pick(rng, "things"), "x": money(rng, 1, 40), "first": pick(rng, "first")}
    line = say(rng, lines["lines"], **slots)
    text = add_text(scene, size=3, also=[Fact(upper_first(line), "", "", "")])
    query = ask(rng, lines["queries"], t=slots["t"], f=mention(rng, text.path))

    def close(seen: Sequence[str]) -> str:
        return upper_first(say(rng, lines["answers"], r=seen[-1].rpartition(" = ")[2], **slots))

    return Ask("several", query, [reading(text.path), sum_move(f"{slots['n']} * {slots['x']}")], close)


def _read_rise(scene: Scene) -> Ask:
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


def _read_add(scene: Scene) -> Ask:
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


def _read_date(scene: Scene) -> Ask:
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


def _read_convert(scene: Scene) -> Ask:
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


def _compare(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "compare")
    thing, count = pick(rng, "things"), rng.randint(5, 80)
    prices = [money(rng, 30, 900) for _ in range(2)]
    while prices[0] == prices[1]:
        prices[1] = money(rng, 30, 900)
    paths = []
    for price in prices:
        line = say(rng, lines["lines"], n=count, t=thing, x=price)
        paths.append(add_text(scene, "letter", 2, [Fact(line, "", "", "")]).path)
    query = ask(rng, lines["queries"], a=paths[0], b=paths[1], t=thing)
    low, high = sorted(prices, key=float)
    answer = say(rng, lines["answers"], w=paths[prices.index(low)], low=low, high=high)
    return Ask("several", query, [reading(path) for path in paths], lambda _: answer)


def _two_tables(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "two_tables")
    one, other = add_table(scene).path, add_table(scene).path
    query = ask(rng, lines["queries"], a=one, b=other)
    moves = [Move("query_table", {"path": path, "sql": "SELECT count(*) FROM data"}) for path in (one, other)]

    def close(seen: Sequence[str]) -> str:
        x, y = (int(text.splitlines()[-1]) for text in seen)
        answer = say(rng, lines["answers"], x=x, y=y, a=one, b=other)
        if re.search(r"which|longer|compare", query, re.IGNORECASE):
            answer += " " + say(rng, lines["same" if x == y else "more"], w=one if x > y else other)
        return answer

    return Ask("several", query, moves, close)


def _sum_units(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "sum_units")
    source, target = measure_pair(rng, rng.choice(("length", "mass", "volume")))
    count, value = rng.randint(2, 30), rng.choice((f"{rng.uniform(1, 30):.1f}", str(rng.randint(2, 90))))
    query = ask(rng, lines["queries"], first=pick(rng, "first"), x=value, s=source, t=target, n=count)

    def then(seen: Sequence[str]) -> Move:
        return conversion_move(seen[-1].rpartition(" = ")[2], source, target)

    def close(seen: Sequence[str]) -> str:
        total, result = seen[0].rpartition(" = ")[2], converted_number(seen[-1], target)
        return say(rng, lines["answers"], v=total, r=result, s=source, t=target)

    return Ask("several", query, [sum_move(f"{count} * {value}"), then], close)
