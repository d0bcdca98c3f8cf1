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

sys.path.append(str(Path(__file__).parent))  # -I leaves it out
import tables_hints  # type: ignore[import-not-found]

MAX_CELL = 200  # characters
MAX_COLUMNS = 100
_PHRASES = ("order by", "group by", "is null", "not null", "not in", "not like")  # never a column without quotes
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "memory_limit": "1GB",
    "temp_directory": "",
    "python_enable_replacements": False,
}
# The first that can read the file is taken.
_READERS = {
    "csv": (
        "read_csv(?)",
        "read_csv(?, null_padding=true, sample_size=-1)",
        "read_csv(?, null_padding=true, sample_size=-1, encoding='latin-1')",
    ),
    "json": ("read_json_auto(?)",),
    "parquet": ("read_parquet(?)",),
}


def main(request: dict[str, Any]) -> dict[str, Any]:
    connection = duckdb.connect(config=_CONFIG)
    columns: list[list[str]] = []
    try:
        truths = load(connection, _plain_path(request["suffix"]), request["kind"])
        columns = [[row[0], row[1]] for row in connection.execute("DESCRIBE data").fetchall()]
        name_views(connection, request["names"])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        answer = query_tolerantly(connection, request, [name for name, _ in columns], truths)
        if _vacant(answer):
            sql, taken = tables_hints.in_number(connection, request["sql"], columns)
            if taken:
                other = query_tolerantly(connection, {**request, "sql": sql}, [name for name, _ in columns], truths)
                answer = answer if _vacant(other) else {**other, "taken": taken}
        if _vacant(answer):
            answer["elsewhere"] = tables_hints.elsewhere(connection, request["sql"], columns)
            answer["values"] = tables_hints.few_values(connection, request["sql"], columns)
    except duckdb.Error as error:
        return {"error": shortened(error), "columns": columns}
    return {**answer, "columns": columns}


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


def load(connection: duckdb.DuckDBPyConnection, path: str, kind: str) -> list[str]:
    """Fill the table. Of a CSV file yes and no are read as the words that they are: an answer shows what stands in the
    file, ILIKE finds it, and DuckDB takes it for a truth all the same where one is compared. Gives those columns."""
    readers = _READERS[kind]
    for reader in readers:
        try:
            found = connection.execute(f"DESCRIBE FROM {reader}", [path]).fetchall()
            truths = [row[0] for row in found if row[1] == "BOOLEAN" and kind == "csv"]
            columns = _filled(connection, reader, path, truths)
            if truths and columns != [row[0] for row in found]:  # without its types the header may not be known as one
                truths = []
                columns = _filled(connection, reader, path, truths)
        except duckdb.Error:
            if reader == readers[-1]:
                raise
        else:
            if not _misread(columns):
                return truths
    return []


def _filled(connection: duckdb.DuckDBPyConnection, reader: str, path: str, texts: list[str]) -> list[str]:
    types = ", ".join(tables_hints.quoted(name, "'") + ": 'VARCHAR'" for name in texts)
    read = f"{reader.removesuffix(')')}, types={{{types}}})" if texts else reader
    connection.execute("DROP TABLE IF EXISTS data")  # before the next one takes its memory
    connection.execute(f"CREATE TABLE data AS FROM {read}", [path])
    _retype(connection, texts, "VARCHAR COLLATE NOCASE")  # as truths do not mind their case either
    return [row[0] for row in connection.execute("DESCRIBE data").fetchall()]


def _retype(connection: duckdb.DuckDBPyConnection, columns: list[str], kind: str) -> None:
    for name in columns:
        connection.execute(f"ALTER TABLE data ALTER {tables_hints.quoted(name)} TYPE {kind}")


def _misread(header: list[str]) -> bool:
    """Where rows differ in length, DuckDB skips rows until they fit, the header first; padding them keeps them."""
    lost = all(re.fullmatch(r"column\d+", name) for name in header)
    return lost or (len(header) == 1 and re.search(r"[,;\t|]", header[0]) is not None)


def name_views(connection: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    for name in names:
        if name.lower() != "data":
            connection.execute(f"CREATE OR REPLACE VIEW {tables_hints.quoted(name)} AS FROM data")


def query_tolerantly(
    connection: duckdb.DuckDBPyConnection, request: dict[str, Any], columns: list[str], truths: list[str]
) -> dict[str, Any]:
    try:
        return _repaired_query(connection, request, columns)
    except duckdb.Error as failed:
        if not truths:
            raise
        _retype(connection, truths, "BOOLEAN")  # what adds or counts them wants truths
        try:
            return _repaired_query(connection, request, columns)
        except duckdb.Error:
            raise failed from None


def _repaired_query(
    connection: duckdb.DuckDBPyConnection, request: dict[str, Any], columns: list[str]
) -> dict[str, Any]:
    try:
        return query(connection, request["sql"], request["rows"])
    except duckdb.Error:
        repaired = repair(request["sql"], request["names"], columns)
        if repaired == request["sql"]:
            raise
        return query(connection, repaired, request["rows"])


def repair(sql: str, names: list[str], columns: list[str]) -> str:
    """Usual slips: the file's path or the word table as the table's name, a text in double quotes, a name of several
    words in none.
    """
    known = "|".join(re.escape(name) for name in sorted([*names, "table", "csv", "file"], key=len, reverse=True))
    sql = re.sub(rf"\b(from|join)\s+[\"'`]?(?:{known})[\"'`]?(?![\w.])", r"\1 data", sql, flags=re.IGNORECASE)
    lowered = {column.lower() for column in columns}

    def as_text(found: re.Match[str]) -> str:
        return found[0] if found[2].lower() in lowered else f"{found[1]}'{found[2]}'"

    sql = re.sub(r"((?:[=<>]|\bi?like)\s*)\"([^\"']*)\"", as_text, sql, flags=re.IGNORECASE)
    # Longest first; what stands in quotes already is passed over whole.
    several = (name for name in columns if re.fullmatch(r"\w+(?: \w+)+", name) and name.lower() not in _PHRASES)
    odd = sorted(several, key=len, reverse=True)
    if not odd:
        return sql
    bare = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in odd)
    return re.sub(
        rf"'[^']*'|\"[^\"]*\"|({bare})",
        lambda found: f'"{found[1]}"' if found[1] else found[0],
        sql,
        flags=re.IGNORECASE,
    )


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
    return {"header": header, "types": types, "rows": rows, "left": left}


def _short(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= MAX_CELL else line[:MAX_CELL] + "..."


def shortened(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.OutOfMemoryException):
        return "The query needs too much memory; ask for less, or for fewer rows."
    missing = re.search(r'column "([^"]*)" not found', str(error))
    if missing:
        return f"There is no column {missing[1]}."
    lines = str(error).strip().splitlines()
    told = lines[:3] if "CSV Error on Line" in lines[0] else lines[:1]  # of a bad row also what it is and should be
    return "; ".join(line.rstrip(" .!") for line in told) + "."


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
