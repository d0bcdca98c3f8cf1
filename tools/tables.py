"""Tables in files, asked in SQL. The query runs in a child process (table_program) that is limited and may be killed.

DuckDB's own memory limit does not hold for strings and lists while they are made, and its interrupt does not reach
them: one `SELECT repeat('x', 4000000000)` would take the whole agent down.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from threading import Event
from typing import IO, Annotated, Any

from umi_local.toolbox import Effect, ToolContext, ToolError, tool
from umi_local.toolbox.sandbox import Limits, run_limited

from .arithmetic import plain_number
from .paths import existing_file, path_scope
from .table_schema import KINDS, named_tables

# The first query after an installation also waits for DuckDB's 40 MB to come from a cold disk: over 10 s were seen.
LIMITS = Limits(wall_seconds=30, cpu_seconds=20, memory_bytes=3 << 30)
MAX_SQL = 10_000  # characters
MAX_ROWS = 50
MAX_COLUMNS = 40  # that are named
_WORDS_OF_A_NAME = 4
_PROGRAM = Path(__file__).with_name("table_program")
_START = f"import sys; sys.path.append({str(_PROGRAM.parent)!r}); from table_program import program; program.run()"


@tool(effect=Effect.READS, scope=path_scope, narrow=named_tables)
def query_table(
    context: ToolContext,
    path: Annotated[str, "CSV, TSV, JSON or Parquet file"],
    sql: Annotated[str, "such as SELECT * FROM data ORDER BY price LIMIT 1"],
) -> str:
    """Query a table file with SQL: sum, count, filter, sort. The table is called data; DESCRIBE data lists columns."""
    file = existing_file(context, path)
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise ToolError(f"{path} is no table; query_table reads CSV, TSV, JSON, JSONL and Parquet files.")
    if file.stat().st_size == 0:
        raise ToolError(f"{path} is empty.")
    if len(sql) > MAX_SQL:
        raise ToolError(f"The query is too long: at most {MAX_SQL} characters.")
    names = list(dict.fromkeys((path.strip(), file.name, file.stem)))
    request = {"suffix": file.suffix.lower(), "kind": kind, "names": names, "sql": sql, "rows": MAX_ROWS}
    with context.workspace.open(file) as table:
        answer = _asked(request, table, context.stop)
    if "no column" in answer.get("error", "") and file.suffix.lower() == ".txt" and _prose(answer["columns"]):
        raise ToolError(f"{path} holds text and no table; read_file shows it.")
    if "error" in answer:
        raise ToolError(f"{answer['error']} {_columns(answer['columns'])}".strip())
    return _table(answer, sql)


def _asked(request: dict[str, Any], table: IO[bytes], stop: Event) -> dict[str, Any]:
    argv = [sys.executable, "-I", "-X", "utf8", "-c", _START, json.dumps(request)]
    result = run_limited(argv, limits=LIMITS, max_output=4_000_000, readable=[_PROGRAM], stdin=table, stop=stop)
    if result.timed_out:
        raise ToolError(f"The query took longer than {LIMITS.wall_seconds:g} seconds and was stopped.")
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError:  # killed by a limit before it could answer
        raise ToolError("The query needs too much memory or time; ask for less, or for fewer rows.") from None
    return answer


def _prose(columns: list[list[str]]) -> bool:
    """Whether what was taken for the names of columns is more likely the first line of a letter."""
    words = [len(name.split()) for name, _ in columns if not name.endswith("?")]
    return any(count > _WORDS_OF_A_NAME for count in words) or (len(columns) == 1 and sum(words) > 1)


def _columns(columns: list[list[str]]) -> str:
    named = ", ".join(f"{name} ({kind})" for name, kind in columns[:MAX_COLUMNS])
    more = f" and {len(columns) - MAX_COLUMNS} more" if len(columns) > MAX_COLUMNS else ""
    return f"The table is called data. Its columns are: {named}{more}." if columns else ""


def _table(answer: dict[str, Any], sql: str) -> str:
    rows: list[list[str | None]] = answer["rows"]
    vacant = all(cell in (None, "0") for row in rows for cell in row)
    hint = " ".join(f"{text} is in the column {column}." for text, column in answer.get("elsewhere", ()))
    if not hint:
        hint = " ".join(f"The column {name} holds {', '.join(few)}." for name, *few in answer.get("values", ()))
    if not hint and re.search(r"=\s*'", sql):
        hint = "Text is compared as a whole; ILIKE '%part%' finds a part of it."
    if not rows:
        return " ".join(filter(None, ("No rows match.", hint, *answer["notes"], _columns(answer["columns"]))))
    lines = [" | ".join(answer["header"])]
    units = [_unit_of(name, answer["units"]) for name in answer["header"]]
    lines += [" | ".join(map(_cell, row, answer["types"], units)) for row in rows]
    if answer["left"]:
        lines.append(f"... and {answer['left']} more rows.")
    if answer["unseen"]:
        lines.append(f"... and {answer['unseen']} more columns; SELECT the ones that are wanted by name.")
    if vacant and hint:
        lines.append(hint)
    lines += [f"{text} is {value} in the table." for text, value in answer.get("taken", ())]
    lines += answer["notes"]
    lines += [
        f"{name} is in {' '.join(filter(None, unit))}."
        for name, unit in answer["units"].items()
        if unit not in units and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)
    ]
    if _cut_at_random(sql, len(rows)):
        lines.append("Without ORDER BY these are any rows, not the first or the largest.")
    return "\n".join(lines)


def _cut_at_random(sql: str, rows: int) -> bool:
    """Whether a LIMIT took some of the groups, and nothing said which."""
    limit = re.search(r"\blimit\s+(\d+)", sql, re.IGNORECASE)
    ordered, grouped = (re.search(rf"\b{word} by\b", sql, re.IGNORECASE) for word in ("order", "group"))
    return bool(limit and grouped and not ordered and rows == int(limit[1]))


def _unit_of(header: str, units: dict[str, list[str]]) -> list[str]:
    """What stands before and behind the numbers of a column, or of the sum, largest and so on of one."""
    found = re.fullmatch(r'(?:(?:sum|min|max|avg|mean|median|round)\()*"?(.*?)"?(?:, \d+)?\)*', header, re.IGNORECASE)
    return next((unit for name, unit in units.items() if found and found[1].lower() == name.lower()), ["", ""])


def _cell(text: str | None, kind: str, unit: list[str]) -> str:
    if text is None:
        return "NULL"
    if kind in ("DOUBLE", "FLOAT") and math.isfinite(float(text)):
        before, after = unit
        blank = " " if after[:1].isalpha() else ""
        gap = " " if before[:1].isalpha() else ""
        return f"{before}{gap}{plain_number(float(text))}{blank}{after}"
    return text
