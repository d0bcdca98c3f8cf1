"""How a file becomes a table: a part of the program in tables_child.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb
import tables_cells  # type: ignore[import-not-found]
import tables_hints  # type: ignore[import-not-found]

# The first that can read the file as a table is taken.
_READERS = {
    "csv": (
        "read_csv(?)",
        "read_csv(?, null_padding=true, sample_size=-1)",
        "read_csv(?, null_padding=true, sample_size=-1, encoding='latin-1')",
    ),
    "json": ("read_json_auto(?)",),
    "parquet": ("read_parquet(?)",),
}
_TITLED, _OF_YEARS = "read_csv(?, skip=1)", "read_csv(?, header=true)"
# A first line with one cell alone of several, or by which Excel tells what parts them.
_TITLE = re.compile(rb"\s*(?:sep=.|[^,;\t\r\n]+(?:,+|;+|\t+))\s*")
_SURELY_CODES = 20  # rows; of fewer, half of the words may well differ
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how such a file begins


def load(connection: duckdb.DuckDBPyConnection, path: str, kind: str, cased: bool) -> tables_cells.Loaded:
    """Fill the table `data`, whose texts mind their case where that is asked for (`cased`).

    Of a CSV file yes and no are read as the words that they are: an answer shows what stands in the file, ILIKE finds
    it, and DuckDB takes it for a truth all the same where one is compared.
    """
    if kind == "csv" and _first_line(path)[:2] in _UTF_16:
        path = _as_utf8(path) or path
    try:
        loaded = _read(connection, path, kind)
    except duckdb.Error:
        plain = _as_utf8(path) if kind == "csv" else None
        if plain is None:
            raise
        path = plain
        loaded = _read(connection, path, kind)
    if kind == "csv":
        first = _first_line(path)
        semicolons = b";" in first and b"," not in first
        if semicolons and (thousands := _points_of_thousands(connection, loaded.reader, path)):
            _filled(connection, loaded.reader, path, [*loaded.truths, *thousands])
        tables_cells.understand(connection, loaded, semicolons)
    loaded.cased = cased
    if not cased:
        _mind_no_case(connection)
    return loaded


def as_written(connection: duckdb.DuckDBPyConnection, loaded: tables_cells.Loaded) -> bool:
    """Take the table as the file has it, where it was changed: a query may speak of its very texts."""
    if not loaded.changed:
        return False
    connection.execute("DROP TABLE data")
    connection.execute("CREATE TABLE data AS FROM written.data")
    if not loaded.cased:
        _mind_no_case(connection)
    loaded.changed, loaded.units, loaded.notes = False, {}, []
    return True


def as_truths(connection: duckdb.DuckDBPyConnection, loaded: tables_cells.Loaded) -> bool:
    """Make truths of the columns of yes and no, for what adds or counts them."""
    _retype(connection, loaded.truths, "BOOLEAN")
    return bool(loaded.truths)


def _read(connection: duckdb.DuckDBPyConnection, path: str, kind: str) -> tables_cells.Loaded:
    has_title = kind == "csv" and _TITLE.fullmatch(_first_line(path))
    if has_title and (titled := _read_if(connection, _TITLED, path, lambda names: not _misread(names))):
        return titled
    failed: duckdb.Error | None = None
    readable = ""
    for reader in _READERS[kind]:
        try:
            loaded, columns = _read_by(connection, reader, path, kind)
        except duckdb.Error as error:
            failed = error
            continue
        readable = readable or reader
        if not _misread(columns):
            return loaded
    if not readable:
        assert failed
        raise failed
    years = _read_if(connection, _OF_YEARS, path, _are_years) if kind == "csv" else None
    return years or _read_by(connection, readable, path, kind)[0]


def _read_if(
    connection: duckdb.DuckDBPyConnection, reader: str, path: str, fits: Callable[[list[str]], bool]
) -> tables_cells.Loaded | None:
    """The table by another reader, where its header then is one that fits; else it is as it was."""
    try:
        found = [row[0] for row in connection.execute(f"DESCRIBE FROM {reader}", [path]).fetchall()]
        return _read_by(connection, reader, path, "csv")[0] if len(found) > 1 and fits(found) else None
    except duckdb.Error:
        return None


def _read_by(
    connection: duckdb.DuckDBPyConnection, reader: str, path: str, kind: str
) -> tuple[tables_cells.Loaded, list[str]]:
    found = connection.execute(f"DESCRIBE FROM {reader}", [path]).fetchall()
    truths = [row[0] for row in found if row[1] == "BOOLEAN" and kind == "csv"]
    columns = _filled(connection, reader, path, truths)
    if truths and columns != [row[0] for row in found]:  # without its types the header may not be known as one
        truths = []
        columns = _filled(connection, reader, path, truths)
    return tables_cells.Loaded(reader, truths), columns


def _filled(connection: duckdb.DuckDBPyConnection, reader: str, path: str, texts: list[str]) -> list[str]:
    types = ", ".join(tables_hints.quoted(name, "'") + ": 'VARCHAR'" for name in texts)
    read = f"{reader.removesuffix(')')}, types={{{types}}})" if texts else reader
    connection.execute("DROP TABLE IF EXISTS data")  # before the next one takes its memory
    connection.execute(f"CREATE TABLE data AS FROM {read}", [path])
    return [row[0] for row in connection.execute("DESCRIBE data").fetchall()]


def _misread(header: list[str]) -> bool:
    """Where rows differ in length, DuckDB skips rows until they fit, the header first; padding them keeps them."""
    lost = all(re.fullmatch(r"column\d+", name) for name in header)
    return lost or (len(header) == 1 and re.search(r"[,;\t|]", header[0]) is not None)


def _are_years(header: list[str]) -> bool:
    years = [re.fullmatch(r"(?:19|20)\d\d", name) is not None for name in header[1:]]
    return not re.match(r"\d", header[0]) and len(years) > 1 and all(years)


def _as_utf8(path: str) -> str | None:
    """The file's text anew where it is UTF-16 or of old Windows programs, which DuckDB does not read."""
    data = Path(path).read_bytes()
    with suppress(UnicodeDecodeError):
        data.decode("utf-8")
        return None
    encoding = "utf-16" if data[:2] in _UTF_16 else "cp1252"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    again = Path(path).with_name("again.csv")
    again.write_text(text, encoding="utf-8", newline="")
    return str(again)


def _points_of_thousands(connection: duckdb.DuckDBPyConnection, reader: str, path: str) -> list[str]:
    """The columns of 110.502 and 45.173 that were taken for decimals, where decimals are parted by commas."""
    described = connection.execute("DESCRIBE data").fetchall()
    texts = [name for name, kind, *_ in described if kind == "VARCHAR"]
    doubles = [name for name, kind, *_ in described if kind == "DOUBLE"]
    if not doubles or not any(_all_match(connection, "data", name, r"-?[0-9.]+,[0-9]{1,2}") for name in texts):
        return []
    as_text = f"{reader.removesuffix(')')}, all_varchar=true)".replace("?", tables_hints.quoted(path, "'"))
    return [name for name in doubles if _all_match(connection, as_text, name, r"-?[0-9]{1,3}([.][0-9]{3})+")]


def _all_match(connection: duckdb.DuckDBPyConnection, table: str, name: str, pattern: str) -> bool:
    asked = f"SELECT bool_and(regexp_full_match({tables_hints.quoted(name)}, '{pattern}')) FROM {table}"
    return bool((connection.execute(asked).fetchone() or (False,))[0])


def _first_line(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.readline(4000)


def _mind_no_case(connection: duckdb.DuckDBPyConnection) -> None:
    """Nobody means another word by another case, but of codes, in which it tells one from the other."""
    texts = []
    for name in tables_cells.texts_of(connection):
        column = tables_hints.quoted(name)
        asked = f"SELECT count(*), count(DISTINCT {column}), count(DISTINCT lower({column})) FROM data"
        rows, cased, folded = connection.execute(asked).fetchone() or (0, 0, 0)
        if rows <= tables_cells.LARGE and (cased == folded or rows < _SURELY_CODES or cased < rows / 2):
            texts.append(name)
    _retype(connection, texts, "VARCHAR COLLATE NOCASE")


def _retype(connection: duckdb.DuckDBPyConnection, columns: list[str], kind: str) -> None:
    for name in columns:
        connection.execute(f"ALTER TABLE data ALTER {tables_hints.quoted(name)} TYPE {kind}")
