"""Questions of tables in everyday words that seldom name a column, written for each kind of table with their SQL."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from pydantic import BaseModel, ConfigDict, TypeAdapter

from umi_local.toolbox.csv_text import in_sql
from umi_local.training.everyday.columns import plain
from umi_local.training.everyday.phrasing import data
from umi_local.training.everyday.table_files import Question, Table, middling

_SLOT = re.compile(r"\{(\w+)\}")


class Asked(BaseModel):
    """A question of one kind of table. `w` is the column of which it takes a value, `n` that of which it takes a
    threshold; in the SQL, the columns are in braces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: str
    queries: list[str]
    answers: list[str]
    w: str = ""
    n: str = ""

    @property
    def columns(self) -> set[str]:
        """The columns that the table must have."""
        return (set(_SLOT.findall(self.sql)) | {self.w, self.n}) - {"w", "n", ""}

    def fits(self, table: Table) -> bool:
        """Whether the table has them all."""
        return self.columns <= set(map(plain, table.columns))

    def of(self, rng: Random, table: Table) -> Question:
        """The question of a table that it fits."""
        written = {plain(name): name for name in table.columns}
        slots: dict[str, str] = {}
        if self.w:
            slots["w"] = rng.choice(table.column(written[self.w]))
        if self.n:
            slots["n"] = str(middling(rng, table, written[self.n]))
        named = {name: in_sql(written[name]) for name in self.columns}
        sql = _SLOT.sub(lambda found: named.get(found[1]) or slots[found[1]].replace("'", "''"), self.sql)
        return Question("asked", slots, sql, wording={"queries": self.queries, "answers": self.answers})


@cache
def asked() -> dict[str, list[Asked]]:
    """The questions by the name of their schema.

    Raises:
        ValidationError: the data file holds something else.
    """
    return TypeAdapter(dict[str, list[Asked]]).validate_python(data("asked"))


def asked_of(rng: Random, table: Table) -> Question | None:
    """One of the questions that this table can answer; None where there is none."""
    fitting = [question for question in asked().get(table.schema, []) if question.fits(table)]
    return rng.choice(fitting).of(rng, table) if fitting else None
