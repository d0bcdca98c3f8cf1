"""The closer schema of query_table: SQL in which only the columns of the tables that a plan names occur.

A small model takes the words of a question for columns, also where it has been told what the columns are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from umi_local.toolbox import ToolContext, ToolError

from .paths import named_in, path_scope

KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
         ".parquet": "parquet"}  # fmt: skip
_LONGEST_HEADER = 4000  # bytes
_ABSENCE = re.compile(r"empty|blank|missing|null|fill", re.IGNORECASE)
_ENDINGS = "|".join(ending.removeprefix(".") for ending in KINDS if ending != ".txt")
_UNSAFE = frozenset("\\\ufffd")  # what JSON or the pattern would have to spell in another way
_WORDS = (
    "SELECT", "DISTINCT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "BETWEEN", "I?LIKE",
    "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "OFFSET", "ASC", "DESC", "DATE", "CASE", "WHEN", "THEN", "ELSE", "END",
)  # fmt: skip
_FUNCTIONS = (
    "count", "sum", "avg", "min", "max", "median", "round", "abs", "length", "lower", "upper", "trim", "year", "month",
    "day", "quarter", "dayname", "monthname", "strftime", "coalesce", "stddev",
)  # fmt: skip


def named_tables(context: ToolContext, plan: str, said: str) -> Mapping[str, Any] | None:
    """The schema of a query about the tables that a plan names; None where another one may be meant, where one may
    not be looked at, or where its first line does not surely tell the columns.
    """
    columns: dict[str, list[str]] = {}
    for path, file in named_in(context.workspace, plan, _ENDINGS).items():
        columns[path] = []  # of one table that cannot be looked at, all are left open
        with suppress(ToolError):
            if (
                file
                and KINDS.get(file.suffix.lower()) == "csv"
                and context.permitted(path_scope(context, {"path": path}))
            ):
                names, whole = context.workspace.columns(file, _LONGEST_HEADER)
                columns[path] = names if whole and len(names) > 1 else []  # a single one may be a title
    if not columns or not all(columns.values()):
        return None
    names = sorted(set(chain(*columns.values())))
    if any(set(name) & _UNSAFE for name in names):
        return None
    answered = set() if _ABSENCE.search(said) else _answered(context, columns)
    properties = {"path": {"enum": list(columns)}, "sql": {"type": "string", "pattern": _sql_of(names, answered)}}
    return {"type": "object", "properties": properties, "required": ["path", "sql"]}


def _answered(context: ToolContext, columns: Mapping[str, Sequence[str]]) -> set[str]:
    """The columns that say yes or no in every row of every table that has them."""
    answers: dict[str, set[str]] = {}
    for path in columns:
        answers[path] = set()
        with suppress(ToolError):
            answers[path] |= set(context.workspace.answered(context.workspace.file(path)))
    return {
        name
        for name in set(chain(*answers.values()))
        if all(name in answers[path] for path, names in columns.items() if name in names)
    }


def _sql_of(columns: Sequence[str], answered: Collection[str] = ()) -> str:
    """A regular expression for queries in which these columns and no others occur. Those that are answered in every row
    are not themselves asked for NULL: a small model takes it for "not yet", and "No rows match" for the answer.
    """
    names = _alternatives(columns)
    known = rf"{names}|data|[0-9]+(?:\.[0-9]+)?"
    text = r"'(?:[^'\"\\\\]|'')*'"
    functions = "|".join((*_FUNCTIONS, *map(str.upper, _FUNCTIONS)))
    between = r"[ (),*=<>!+/%-]{1,6}"
    # What is asked for: a value, or functions that open one in the other and the value in them. A text in their place
    # is a column that is not there: avg('price').
    value = rf"(?:{known}|{text}|(?:(?:{functions})\()+(?:\*|CASE|(?:DISTINCT )?(?:{known})))"
    truth = "[ )]{0,3}(?:=|!=|<>|IS|IS NOT|THEN|ELSE) ?(?:TRUE|FALSE)"  # never where a column is to come
    words, absent = [*_WORDS, "IS", "NULL"], "NULL"
    if answered:
        others = _alternatives([name for name in columns if name not in answered])
        absent = rf"(?:THEN|ELSE) NULL|(?:{others}) IS (?:NOT )?NULL" if others else "(?:THEN|ELSE) NULL"
        words = [*_WORDS, absent]
        truth = rf"(?:{truth}|\) IS (?:NOT )?NULL)"
    middle = rf"(?:{between}(?:{value}|{'|'.join(words)})|{truth})*"
    last = rf"(?:{between}(?:{value}|ASC|DESC|{absent}|END)|{truth})"
    return rf"^(?:DESCRIBE data|SELECT (?:DISTINCT )?\(?(?:\*|CASE|{value}){middle}{last}[ )]*)$"


def _alternatives(columns: Sequence[str]) -> str:
    """The columns in a regular expression. A name of several words may also stand without its quotes, as the tool takes
    it: where a model does not think of the quote, every other continuation is a wrong one.
    """
    bare = [name.strip('"') for name in columns if re.fullmatch(r'"[^\W\d]\w*(?: \w+)+"', name)]
    return "|".join(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", name) for name in (*columns, *bare))
