"""Tables as files: what kinds there are, random rows for them, and what a question of one is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from pydantic import TypeAdapter

from umi_local.training.everyday.columns import MANNERS, plain
from umi_local.training.everyday.phrasing import Lines, data, lines_of
from umi_local.training.everyday.scene import Scene
from umi_local.training.everyday.values import pick, value

_NUMERIC = ("int", "dec", "money")
_MARKS = ("of yes;no", "of true;false", "of x;-")  # which say nothing without their column's name


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was written. Cells are texts. `label` is the column that names its rows, mostly the first."""

    schema: str
    path: str
    row: str
    rows: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    label: str

    def column(self, name: str) -> list[str]:
        """All cells of a column."""
        return [row[self.columns.index(name)] for row in self.cells]

    @property
    def numbers(self) -> list[str]:
        """The columns that can be added up."""
        others = ("year", "vintage", "joined", "queen_year", "room", "class", "table_no", "bed", "start_km", "end_km")
        return [
            name
            for name, kind in zip(self.columns, self.kinds, strict=True)
            if kind.split()[0] in _NUMERIC and plain(name) not in others and name != self.label
        ]

    @property
    def texts(self) -> list[str]:
        """The columns that hold texts."""
        others = (*_NUMERIC, "serial", "isodate", "time")
        return [name for name, kind in zip(self.columns, self.kinds, strict=True) if kind.split()[0] not in others]

    @property
    def categories(self) -> list[str]:
        """The columns whose few values recur."""
        repeated = ("of", "first", "weekday", "month", "project", "animal", "room", "colour", "weather", "country")
        kept = [
            name
            for name, kind in zip(self.columns, self.kinds, strict=True)
            if kind.split()[0] in repeated and kind not in _MARKS
        ]
        return [name for name in kept if name != self.label]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a table: the kind, the words for its slots, and the SQL.

    `words` names the kind of wording where it is not that of the kind, `wording` has one of its own; `column` is the
    one it is about, as written.
    """

    kind: str
    slots: Mapping[str, Any]
    sql: str
    words: str = ""
    column: str = ""
    wording: Lines = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        """How it may be asked."""
        return (self.wording or lines_of("tables", self.words or self.kind))["queries"]

    @property
    def answers(self) -> list[str]:
        """How it may be answered."""
        return (self.wording or lines_of("tables", self.kind))["answers"]


@cache
def schemas() -> Mapping[str, list[str]]:
    """What tables there are, by name."""
    return TypeAdapter(dict[str, list[str]]).validate_python(data("schemas")["schemas"])


def add_table(scene: Scene, name: str = "", kind: str = "csv") -> Table:
    """A new table in the scene with random rows."""
    rng = scene.rng
    while True:
        called = name or rng.choice(list(schemas()))
        schema = schemas()[called]
        path = _path(rng, rng.choice(schema[0].split(", ")), kind)
        if scene.stem_is_free(path):
            break
    row, rows = schema[1].split("/")
    columns = [entry.split(":", 1) for entry in schema[2:]]
    if len(columns) > 3 and rng.random() < 0.3:
        columns.pop(rng.randrange(2, len(columns)))
    kinds = [column[1] for column in columns]
    cells, label = _cells(rng, kinds), columns[0][0]
    if rng.random() < 0.2:
        columns, kinds, cells = _numbered(rng, columns, kinds, cells)
    written = rng.choices(list(MANNERS.values()), (50, 18, 8, 14, 10))[0] if kind == "csv" else str
    names = tuple(written(column[0]) for column in columns)
    table = Table(called, path, row, rows, names, tuple(kinds), cells, written(label))
    scene.add(path, _as_json(table) if kind == "json" else _as_csv(table, rng.choice(",,,,,,;")))
    return table


def _path(rng: Random, path: str, kind: str) -> str:
    stem = path.removesuffix(".csv")
    if rng.random() < 0.25:
        stem += rng.choice(("_2023", "_2024", "_2025", "_q1", "_spring", "_all", "_north", "_new", "-export", "_may"))
    if rng.random() < 0.3:
        stem = f"{pick(rng, 'folder')}/{stem}"
    return f"{stem}.{kind}"


def _cells(rng: Random, kinds: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    limit = 1000
    kind = kinds[0]
    if kind.startswith("of "):
        limit = len(kind.split(";"))
    count = min(rng.choice((5, 6, 8, 10, 12, 15, 20, 25, 30, 40)), limit)
    start = rng.randint(1, 4000)
    labels: list[str] = []
    for _ in range(600):
        label = str(start + len(labels)) if kind == "serial" else value(rng, kind)
        if label not in labels:
            labels.append(label)
        if len(labels) == count:
            break
    if kind == "isodate":
        labels.sort()
    few = {at: _few(rng, other) for at, other in enumerate(kinds) if other in ("first", "country", "project", "colour")}
    return tuple(
        (label, *(rng.choice(few[at]) if at in few else value(rng, other) for at, other in enumerate(kinds) if at))
        for label in labels
    )


def _numbered(
    rng: Random, columns: list[list[str]], kinds: list[str], cells: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[str], tuple[tuple[str, ...], ...]]:
    """The table with a column before the one that names its rows: what lists of a day or a program begin with."""
    name, kind = rng.choice((("id", "serial"), ("date", "isodate"), ("date", "isodate"), ("ref", "code")))
    if name in {column[0] for column in columns} or kind in kinds:
        return columns, kinds, tuple(map(tuple, cells))
    found = {value(rng, kind) for _ in cells} if kind != "serial" else {str(i) for i in range(1, len(cells) + 1)}
    values = sorted(found, key=lambda each: (len(each), each)) if kind == "serial" else sorted(found)
    numbered = tuple((values[i % len(values)], *row) for i, row in enumerate(cells))
    return [[name, kind], *columns], [kind, *kinds], numbered


def _few(rng: Random, kind: str) -> list[str]:
    """The few values that recur in a column."""
    return list(dict.fromkeys(value(rng, kind) for _ in range(rng.randint(3, 6))))


def _as_csv(table: Table, mark: str) -> str:
    rows = (table.columns, *table.cells)
    mark = "," if any(mark in cell for row in rows for cell in row) else mark
    return "\n".join(mark.join(row) for row in rows) + "\n"


def _as_json(table: Table) -> str:
    numeric = [kind.split()[0] in (*_NUMERIC, "serial") for kind in table.kinds]
    rows = [
        {
            name: json.loads(cell) if number else cell
            for name, cell, number in zip(table.columns, row, numeric, strict=True)
        }
        for row in table.cells
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def middling(rng: Random, table: Table, column: str) -> int:
    """A round threshold such that some of a column's values lie on either side."""
    found = sorted(float(cell) for cell in table.column(column))
    middle = found[rng.randrange(len(found) // 4, max(len(found) // 4 + 1, 3 * len(found) // 4))]
    return int(middle) if middle < 20 else int(middle) // 5 * 5
