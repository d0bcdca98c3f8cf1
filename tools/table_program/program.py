"""The program that query_table starts in the child process: load a file into DuckDB, lock DuckDB in, run one query.

It takes a request in JSON as its only argument and the file as its standard input, and prints an answer in JSON. The
order matters: the file is read before the database loses all access to files and network, and the query is first
looked at after that.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb

from . import cells, hints, loading, rewrite

MAX_CELL = 200  # characters
MAX_COLUMNS = 100
_REPAIRS = 5
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "memory_limit": "1GB",
    "temp_directory": "",
    "python_enable_replacements": False,
}


def main(request: dict[str, Any]) -> dict[str, Any]:
    connection = duckdb.connect(config=_CONFIG)
    columns: list[list[str]] = []
    try:
        loaded = loading.load(connection, _plain_path(request["suffix"]), request["kind"])
        loaded.cased = [name for name, _ in _columns(connection) if rewrite.minds_case(request["sql"], name)]
        loading.mind_no_case(connection, loaded)
        columns = _columns(connection)
        name_views(connection, request["names"])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        request["sql"] = rewrite.prepared(request["sql"], columns, _gaps(connection, columns))
        answer = query_tolerantly(connection, request, loaded)
        if _vacant(answer):
            meant, taken = hints.in_number(connection, request["sql"], columns)
            if taken:
                other = query_tolerantly(connection, {**request, "sql": meant}, loaded)
                answer = answer if _vacant(other) else {**other, "taken": taken}
        if _vacant(answer):
            answer["elsewhere"] = hints.elsewhere(connection, request["sql"], columns)
            answer["values"] = hints.few_values(connection, request["sql"], columns)
    except duckdb.Error as error:
        return {"error": shortened(error), "columns": columns}
    return {**answer, "columns": columns, "units": loaded.units, "notes": loaded.notes}


def _columns(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    return [[row[0], row[1]] for row in connection.execute("DESCRIBE data").fetchall()]


def _gaps(connection: duckdb.DuckDBPyConnection, columns: list[list[str]]) -> list[str]:
    """The columns of texts that are empty in some row, found in one pass."""
    texts = [name for name, kind in columns if kind == "VARCHAR"][:MAX_COLUMNS]
    asked = ", ".join(f"count({hints.quoted(name)}) < count(*)" for name in texts)
    found = connection.execute(f"SELECT {asked} FROM data").fetchone() if texts else None
    return [name for name, gap in zip(texts, found or (), strict=True) if gap]


def _vacant(answer: dict[str, Any]) -> bool:
    """Whether a query found nothing, or nothing but zeros."""
    return not any(cell not in (None, "0") for row in answer.get("rows", ["?"]) for cell in row)


def _plain_path(suffix: str) -> str:
    """The table, which is our standard input, under a name in the current folder; a copy where inputs have no names."""
    plain = Path("source" + suffix)
    for own in map(Path, ("/proc/self/fd/0", "/dev/fd/0")):
        if own.exists():
            plain.symlink_to(own)
            return str(plain)
    with plain.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return str(plain)


def name_views(connection: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    for name in names:
        if name.lower() != "data":
            connection.execute(f"CREATE OR REPLACE VIEW {hints.quoted(name)} AS FROM data")
    for macro in rewrite.MACROS:
        connection.execute(f"CREATE MACRO {macro}")


def query_tolerantly(
    connection: duckdb.DuckDBPyConnection, request: dict[str, Any], loaded: cells.Loaded
) -> dict[str, Any]:
    """What a query gives: of the table as understood, else with truths for yes and no, else as the file has it."""
    loading.dates_as_written(connection, loaded, [n for n in loaded.dates if rewrite.as_text(request["sql"], n)])
    try:
        return _repaired_query(connection, request)
    except duckdb.Error as failed:
        for otherwise in (loading.as_truths, loading.as_written):
            if otherwise(connection, loaded):
                try:
                    answer = _repaired_query(connection, request)
                except duckdb.Error:
                    continue
                if otherwise is loading.as_written and rewrite.sorts(request["sql"]):
                    loaded.notes.append("Cells are compared as the texts that the file has.")
                return answer
        raise failed from None


def _repaired_query(connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> dict[str, Any]:
    sql, failed = request["sql"], None
    for _ in range(_REPAIRS):  # one error is told at a time
        try:
            return query(connection, sql, request["rows"])
        except duckdb.Error as error:
            failed = failed or error
            meant = rewrite.repaired(sql, request["names"], _columns(connection), str(error))
            if meant == sql:
                break
            sql = meant
    assert failed
    raise failed


def query(connection: duckdb.DuckDBPyConnection, sql: str, limit: int) -> dict[str, Any]:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return {"error": "Only a single SELECT, WITH, DESCRIBE, SHOW or SUMMARIZE is possible: files stay as they are."}
    asked = "(" + re.sub(r";\s*(--[^\n]*)?$", "", statements[0].query.strip()) + "\n)"
    fields = connection.execute(f"DESCRIBE SELECT * FROM {asked}").fetchall()
    described = [name for name, *_ in fields[:3]] == ["column_name", "column_type", "null"]
    width = 2 if described else MAX_COLUMNS  # keys and defaults say nothing of a file
    # As text, so that no cell needs a Python type: times with a zone would need a library that is not there.
    found = connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {asked} LIMIT {limit + 1}").fetchall()
    left = 0
    if len(found) > limit:
        count = connection.execute(f"SELECT count(*) FROM {asked}").fetchone()
        left = (count[0] if count else 0) - limit
    rows = [[None if cell is None else _short(cell) for cell in row[:width]] for row in found[:limit]]
    header, types = [name for name, *_ in fields[:width]], [kind for _, kind, *_ in fields[:width]]
    unseen = 0 if described else len(fields) - len(header)
    return {"header": header, "types": types, "rows": rows, "left": left, "unseen": unseen}


def _short(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= MAX_CELL else line[:MAX_CELL] + "..."


def shortened(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.OutOfMemoryException):
        return "The query needs too much memory; ask for less, or for fewer rows."
    return rewrite.shortened(str(error))


def run() -> None:
    print(json.dumps(main(json.loads(sys.argv[1]))))
