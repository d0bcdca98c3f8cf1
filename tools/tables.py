"""Tables in files, asked in SQL. The query runs in a child process (tables_child.py) that is limited and may be killed.

DuckDB's own memory limit does not hold for strings and lists while they are made, and its interrupt does not reach
them: one `SELECT repeat('x', 4000000000)` would take the whole agent down.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any

from umi_local.toolbox import Effect, ToolContext, ToolError, tool
from umi_local.toolbox.sandbox import Limits, run_limited

from .arithmetic import plain_number
from .files import path_scope

# The first query after an installation also waits for DuckDB's 40 MB to come from a cold disk: over 10 s were seen.
LIMITS = Limits(wall_seconds=30, cpu_seconds=20, memory_bytes=3 << 30)
MAX_SQL = 10_000  # characters
MAX_ROWS = 50
_LONGEST_HEADER = 4000  # bytes
_LOOKED_AT = 4000  # characters of a plan
MAX_COLUMNS = 40
_KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
          ".parquet": "parquet"}  # fmt: skip


def named_tables(context: ToolContext, text: str) -> Mapping[str, Any] | None:
    """The schema of a query about the tables that a text names: SQL in which no other columns than theirs occur.

    A small model takes the words of a question for columns, also where it has been told what the columns are.
    """
    columns: dict[str, list[str]] = {}
    for found in _TABLE.finditer(text[:_LOOKED_AT]):
        before, path = found["before"], found["path"]
        columns[path] = []  # of one table that cannot be looked at, all are left open
        with suppress(ToolError):
            if before and context.workspace.resolve(f"{before} {path}").exists():
                continue  # the name began with the word before it
            file = context.workspace.file(path)
            if _KINDS[file.suffix.lower()] == "csv" and context.permitted(path_scope(context, {"path": path})):
                names, whole = context.workspace.columns(file, _LONGEST_HEADER)
                columns[path] = names if whole and len(names) > 1 else []  # a single one may be a title
    if not columns or not all(columns.values()):
        return None
    names = sorted(set(chain(*columns.values())))
    if any(set(name) & _UNSAFE for name in names):
        return None
    properties = {"path": {"enum": list(columns)}, "sql": {"type": "string", "pattern": _sql_of(names)}}
    return {"type": "object", "properties": properties, "required": ["path", "sql"]}


def _sql_of(columns: Sequence[str]) -> str:
    """A regular expression for queries in which these columns and no others occur."""
    names = "|".join(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", name) for name in columns)
    operand = rf"{names}|data|[0-9]+(?:\.[0-9]+)?|'(?:[^'\"\\\\]|'')*'"
    functions = "|".join((*_FUNCTIONS, *map(str.upper, _FUNCTIONS)))
    between = r"[ (),*=<>!+/%-]"
    words = rf"(?:(?:{'|'.join(_WORDS)}|{operand}){between}{{1,6}}|(?:{functions})\({between}{{0,4}})*"
    last = rf"(?:{operand}|ASC|DESC|NULL|TRUE|FALSE|END)[ )]*"
    return rf"^(?:DESCRIBE data|SELECT{between}{{1,6}}{words}{last})$"


_ENDINGS = "|".join(ending.removeprefix(".") for ending in _KINDS if ending != ".txt")
_TABLE = re.compile(
    rf"(?:(?<![\w./-])(?P<before>[\w./-]{{1,100}}) )?(?<![\w./-])(?P<path>[\w./-]{{0,200}}\w\.(?:{_ENDINGS}))(?!\.?\w)",
    re.IGNORECASE,
)
_UNSAFE = frozenset("\\\ufffd\x00")
_WORDS = (
    "SELECT", "DISTINCT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE", "BETWEEN", "I?LIKE",
    "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "OFFSET", "ASC", "DESC", "DATE", "CASE", "WHEN", "THEN", "ELSE", "END",
)  # fmt: skip
_FUNCTIONS = (
    "count", "sum", "avg", "min", "max", "median", "round", "abs", "length", "lower", "upper", "trim", "year", "month",
    "day", "quarter", "dayname", "monthname", "strftime", "coalesce", "stddev",
)  # fmt: skip


@tool(effect=Effect.READS, scope=path_scope, narrow=named_tables)
def query_table(
    context: ToolContext,
    path: Annotated[str, "CSV, TSV, JSON or Parquet file"],
    sql: Annotated[str, "such as SELECT * FROM data ORDER BY price LIMIT 1"],
) -> str:
    """Query a table file with SQL: sum, count, filter, sort. The table is called data; DESCRIBE data lists columns."""
    file = context.workspace.file(path)
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        raise ToolError(f"{path} is no table; query_table reads CSV, TSV, JSON, JSONL and Parquet files.")
    if file.stat().st_size == 0:
        raise ToolError(f"{path} is empty.")
    if len(sql) > MAX_SQL:
        raise ToolError(f"The query is too long: at most {MAX_SQL} characters.")
    names = list(dict.fromkeys((path.strip(), file.name, file.stem)))
    request = {"suffix": file.suffix.lower(), "kind": kind, "names": names, "sql": sql, "rows": MAX_ROWS}
    with context.workspace.open(file) as table:
        answer = _asked(request, table)
    if "error" in answer:
        raise ToolError(f"{answer['error']} {_columns(answer['columns'])}".strip())
    return _table(answer, sql)


def _asked(request: dict[str, Any], table: IO[bytes]) -> dict[str, Any]:
    child = Path(__file__).with_name("tables_child.py")
    argv = [sys.executable, "-I", "-X", "utf8", str(child), json.dumps(request)]
    result = run_limited(argv, limits=LIMITS, max_output=4_000_000, readable=[child], stdin=table)
    if result.timed_out:
        raise ToolError(f"The query took longer than {LIMITS.wall_seconds:g} seconds and was stopped.")
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError:  # killed by a limit before it could answer
        raise ToolError("The query needs too much memory or time; ask for less, or for fewer rows.") from None
    return answer


def _columns(columns: list[list[str]]) -> str:
    named = ", ".join(f"{name} ({kind})" for name, kind in columns[:MAX_COLUMNS])
    more = f" and {len(columns) - MAX_COLUMNS} more" if len(columns) > MAX_COLUMNS else ""
    return f"The table is called data. Its columns are: {named}{more}." if columns else ""


def _table(answer: dict[str, Any], sql: str) -> str:
    rows: list[list[str | None]] = answer["rows"]
    # The commonest slip of a small model is a text in the wrong case, which SQL answers with silence.
    vacant = all(cell in (None, "0") for row in rows for cell in row)
    hint = "Text is compared exactly; ILIKE ignores upper and lower case." if re.search(r"=\s*'", sql) else ""
    if not rows:
        return " ".join(filter(None, ("No rows match.", hint, _columns(answer["columns"]))))
    lines = [" | ".join(answer["header"])]
    lines += [" | ".join(map(_cell, row, answer["types"])) for row in rows]
    if answer["left"]:
        lines.append(f"... and {answer['left']} more rows.")
    return "\n".join([*lines, hint] if vacant and hint else lines)


def _cell(text: str | None, kind: str) -> str:
    if text is None:
        return "NULL"
    if kind in ("DOUBLE", "FLOAT") and math.isfinite(float(text)):
        return plain_number(float(text))
    return text
