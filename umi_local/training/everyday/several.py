"""Requests that take several steps: read and compute, search and read, two tables, two files, and made of two."""

from __future__ import annotations

import re
from collections.abc import Sequence

from umi_local.toolbox.csv_text import in_sql
from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.columns import plain, said
from umi_local.training.everyday.combined import list_read, read_note, read_write, search_read
from umi_local.training.everyday.files import reading
from umi_local.training.everyday.notes import note_looked_up
from umi_local.training.everyday.phrasing import ask, lines_of, say
from umi_local.training.everyday.reckoned import (
    read_add,
    read_calculate,
    read_convert,
    read_date,
    read_reckon,
    read_rise,
)
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.table_files import Table, add_table
from umi_local.training.everyday.tables import table_mention
from umi_local.training.everyday.texts import Fact, add_text
from umi_local.training.everyday.together import answer_kept, two_requests
from umi_local.training.everyday.units import conversion_move, converted_number, measure_pair
from umi_local.training.everyday.values import money, pick

# Columns whose sum can be shared out, or have a share put on top.
_SHARED_OUT = ("amount", "cost", "total", "bill", "fee", "price", "postage", "ticket_price", "deposit", "kilos",
               "hours", "salary", "kwh", "bottles", "stock", "quantity", "honey_kg", "spent", "labour")  # fmt: skip


def several(scene: Scene) -> Ask:
    """A request of two or more steps."""
    kinds = (
        _sum_convert,
        _extreme_convert,
        _sum_calculate,
        _sum_calculate,
        read_calculate,
        read_calculate,
        read_reckon,
        read_reckon,
        read_rise,
        read_add,
        note_looked_up,
        note_looked_up,
        read_date,
        read_convert,
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
    """A table with one of these columns."""
    while True:
        table = add_table(scene)
        fitting = [name for name in table.numbers if plain(name) in columns]
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


def _extreme_convert(scene: Scene) -> Ask:
    """The largest or the smallest number of a column in another unit."""
    rng, lines = scene.rng, lines_of("several", "extreme_convert")
    units = {entry.split()[0]: entry.split()[1:] for entry in lines_of("several", "units_of_columns")["pairs"]}
    table, column = _summed_table(scene, list(units))
    source, target = units[plain(column)]
    end, function = rng.choice((("most", "max"), ("least", "min")))
    query = ask(rng, lines[end], c=said(rng, column), f=table_mention(rng, table.path), s=source, t=target)
    move = Move("query_table", {"path": table.path, "sql": f"SELECT {function}({in_sql(column)}) FROM data"})

    def then(seen: Sequence[str]) -> Move:
        return conversion_move(seen[-1].splitlines()[-1], source, target)

    def close(seen: Sequence[str]) -> str:
        found, result = seen[0].splitlines()[-1], converted_number(seen[-1], target)
        return say(rng, lines["answers"], v=found, r=result, s=source, t=target)

    return Ask("several", query, [move, then], close)


def _sum_calculate(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("several", "sum_calculate")
    table, column = _summed_table(scene, _SHARED_OUT)
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
