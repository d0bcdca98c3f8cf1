"""What may be asked of a table, each kind with its SQL."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from umi_local.toolbox.csv_text import in_sql
from umi_local.training.everyday.columns import plain
from umi_local.training.everyday.phrasing import lines_of
from umi_local.training.everyday.table_files import Question, Table, middling

Maker = Callable[[Random, Table], Question]

_DATA = "FROM data"
# A number of things and what each of them costs.
_WORTH = (("quantity", "price"), ("stock", "unit_price"), ("bottles", "price"), ("participants", "fee"))


def _slots(table: Table, **more: object) -> dict[str, object]:
    return {"row": table.row, "rows": table.rows, "l": table.label, **more}


def _where(rng: Random, table: Table) -> tuple[str, str, str]:
    """A category, one of its values, and the condition in SQL. Case is left open: people do not mind it."""
    column = rng.choice(table.categories)
    wanted = rng.choice(table.column(column))
    return column, wanted, f"WHERE {in_sql(column)} ILIKE '{wanted}'"


def _count(_: Random, table: Table) -> Question:
    return Question("count", _slots(table), f"SELECT count(*) {_DATA}")


def _sum(rng: Random, table: Table) -> Question:
    known = {plain(name): name for name in table.numbers}
    worth = [pair for pair in _WORTH if known.keys() >= set(pair)]
    if worth and rng.random() < 0.4:
        c, d = (known[name] for name in rng.choice(worth))
        return Question("worth", _slots(table, c=c, d=d), f"SELECT sum({in_sql(c)} * {in_sql(d)}) {_DATA}")
    c = rng.choice(table.numbers)
    return Question("sum", _slots(table, c=c), f"SELECT sum({in_sql(c)}) {_DATA}")


def _avg(rng: Random, table: Table) -> Question:
    c = rng.choice(table.numbers)
    return Question("avg", _slots(table, c=c), f"SELECT round(avg({in_sql(c)}), 2) {_DATA}")


def _extreme(kind: str, order: str) -> Maker:
    def make(rng: Random, table: Table) -> Question:
        c, label = _without_tie(rng, table), table.label
        what = "*" if rng.random() < 0.5 or label != table.columns[0] else f"{in_sql(label)}, {in_sql(c)}"
        sql = f"SELECT {what} {_DATA} ORDER BY {in_sql(c)}{order} LIMIT 1"
        said = lines_of("tables", "superlatives").get(plain(c))
        if not said or rng.random() < 0.45:
            return Question(kind, _slots(table, c=c), sql)
        most, least = rng.choice(said).split(" / ")
        return Question(kind, _slots(table, c=c, s=most if order else least), sql, "superlative")

    return make


def _without_tie(rng: Random, table: Table) -> str:
    """A number column whose largest and smallest values stand once, if there is one."""
    clear = [c for c in table.numbers if all(_once(table, c, best) for best in (max, min))]
    return rng.choice(clear or table.numbers)


def _once(table: Table, column: str, best: Callable[[list[float]], float]) -> bool:
    found = [float(cell) for cell in table.column(column)]
    return found.count(best(found)) == 1


def _top(rng: Random, table: Table) -> Question:
    c, label, n = _without_tie(rng, table), table.label, rng.randint(2, min(5, len(table.cells) - 1))
    sql = f"SELECT {in_sql(label)}, {in_sql(c)} {_DATA} ORDER BY {in_sql(c)} DESC LIMIT {n}"
    return Question("top", _slots(table, c=c, n=n), sql)


def _where_count(rng: Random, table: Table) -> Question:
    k, w, where = _where(rng, table)
    return Question("where_count", _slots(table, k=k, w=w), f"SELECT count(*) {_DATA} {where}")


def _where_of(kind: str, function: str) -> Maker:
    def make(rng: Random, table: Table) -> Question:
        c = rng.choice(table.numbers)
        k, w, where = _where(rng, table)
        return Question(kind, _slots(table, c=c, k=k, w=w), f"SELECT {function.format(in_sql(c))} {_DATA} {where}")

    return make


def _limit(kind: str, sign: str) -> Maker:
    def make(rng: Random, table: Table) -> Question:
        c = rng.choice(table.numbers)
        n = middling(rng, table, c)
        return Question(kind, _slots(table, c=c, n=n), f"SELECT count(*) {_DATA} WHERE {in_sql(c)} {sign} {n}")

    return make


def _by_sum(rng: Random, table: Table) -> Question:
    c, k = rng.choice(table.numbers), rng.choice(table.categories)
    kept, added = in_sql(k), f"sum({in_sql(c)})"
    sql = f"SELECT {kept}, {added} {_DATA} GROUP BY {kept} ORDER BY {added} DESC, {kept}"
    return Question("by_sum", _slots(table, c=c, k=k), sql)


def _by_count(rng: Random, table: Table) -> Question:
    k = rng.choice(table.categories)
    kept = in_sql(k)
    sql = f"SELECT {kept}, count(*) {_DATA} GROUP BY {kept} ORDER BY count(*) DESC, {kept}"
    return Question("by_count", _slots(table, k=k), sql)


def _by_most(rng: Random, table: Table) -> Question:
    c, k = rng.choice(table.numbers), rng.choice(table.categories)
    kept, added = in_sql(k), f"sum({in_sql(c)})"
    sql = f"SELECT {kept}, {added} {_DATA} GROUP BY {kept} ORDER BY {added} DESC LIMIT 1"
    return Question("by_most", _slots(table, c=c, k=k), sql)


def _distinct(rng: Random, table: Table) -> Question:
    k = rng.choice(table.categories)
    return Question("distinct", _slots(table, k=k), f"SELECT DISTINCT {in_sql(k)} {_DATA} ORDER BY {in_sql(k)}")


def _value(rng: Random, table: Table) -> Question:
    c, label = rng.choice(table.numbers), table.label
    x = rng.choice(table.column(label))
    kind, quoted = table.kinds[table.columns.index(label)].split()[0], x.replace("'", "''")
    wheres = {"serial": f"= {x}", "int": f"= {x}", "isodate": f"= '{x}'", "code": f"= '{x}'"}
    where = in_sql(label) + " " + wheres.get(kind, f"ILIKE '{quoted}'")
    return Question("value", _slots(table, c=c, x=x), f"SELECT {in_sql(c)} {_DATA} WHERE {where}")


def _which(rng: Random, table: Table) -> Question:
    k, w, where = _where(rng, table)
    label = in_sql(table.label)
    return Question("which", _slots(table, k=k, w=w), f"SELECT {label} {_DATA} {where} ORDER BY {label}")


# Each kind: whether it needs a number column, whether it needs a category, and how it is made.
MAKERS: dict[str, tuple[bool, bool, Maker]] = {
    "count": (False, False, _count),
    "sum": (True, False, _sum),
    "avg": (True, False, _avg),
    "most": (True, False, _extreme("most", " DESC")),
    "least": (True, False, _extreme("least", "")),
    "top": (True, False, _top),
    "where_count": (False, True, _where_count),
    "where_sum": (True, True, _where_of("where_sum", "sum({})")),
    "where_avg": (True, True, _where_of("where_avg", "round(avg({}), 2)")),
    "above": (True, False, _limit("above", ">")),
    "below": (True, False, _limit("below", "<")),
    "by_sum": (True, True, _by_sum),
    "by_count": (False, True, _by_count),
    "by_most": (True, True, _by_most),
    "distinct": (False, True, _distinct),
    "value": (True, False, _value),
    "which": (False, True, _which),
}
