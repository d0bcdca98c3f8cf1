"""How a file becomes a table: a part of the program (program.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb

from . import cells, hints

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
_TITLED, _HEADED = "read_csv(?, skip=1)", "read_csv(?, header=true)"
# A first line with one cell alone of several, or by which Excel tells what parts them.
_TITLE = re.compile(rb"\s*(?:sep=.|[^,;\t\r\n]+(?:,+|;+|\t+))\s*")
_TRUTHS = "(?i)yes|no|true|false"
_SURELY_CODES = 20  # rows; of fewer, half of the words may well differ
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how such a file begins


def load(connection: duckdb.DuckDBPyConnection, path: str, kind: str) -> cells.Loaded:
    """Fill the table `data`.

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
        cells.understand(connection, loaded, semicolons)
    return loaded


def as_written(connection: duckdb.DuckDBPyConnection, loaded: cells.Loaded) -> bool:
    """Take the table as the file has it, where it was changed: a query may speak of its very texts."""
    if not loaded.changed:
        return False
    connection.execute("DROP TABLE data")
    connection.execute("CREATE TABLE data AS FROM written.data")
    mind_no_case(connection, loaded)
    loaded.changed, loaded.units, loaded.dates, loaded.notes = False, {}, [], []
    return True


def dates_as_written(connection: duckdb.DuckDBPyConnection, loaded: cells.Loaded, names: list[str]) -> None:
    """Take columns that were made dates as the texts that the file has: a query looks into them."""
    if not names:
        return
    texts = ", ".join(f"written.{hints.quoted(name)} AS {hints.quoted(name)}" for name in names)
    rows = "(SELECT count(*) FROM data)"  # without the last line where that is a total
    connection.execute(
        f"CREATE TABLE again AS SELECT main.* REPLACE ({texts}) FROM main.data AS main"
        f" POSITIONAL JOIN written.data AS written LIMIT {rows}"
    )
    connection.execute("DROP TABLE data")
    connection.execute("ALTER TABLE again RENAME TO data")
    loaded.dates = [name for name in loaded.dates if name not in names]
    mind_no_case(connection, loaded)


def as_truths(connection: duckdb.DuckDBPyConnection, loaded: cells.Loaded) -> bool:
    """Make truths of the columns of yes and no, for what adds or counts them."""
    _retype(connection, loaded.truths, "BOOLEAN")
    return bool(loaded.truths)


def _read(connection: duckdb.DuckDBPyConnection, path: str, kind: str) -> cells.Loaded:
    is_lone = kind == "csv" and _TITLE.fullmatch(_first_line(path)) is not None
    if is_lone and _is_title(connection, path):
        return _read_by(connection, _TITLED, path, kind)[0]
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
    headed = _headed(connection, path, lambda names: is_lone or _are_years(names)) if kind == "csv" else None
    return headed or _read_by(connection, readable, path, kind)[0]


def _is_title(connection: duckdb.DuckDBPyConnection, path: str) -> bool:
    """Whether the rest of the file is the better table: a header may leave its last columns without names, too."""
    try:
        below = connection.execute(f"DESCRIBE FROM {_TITLED}", [path]).fetchall()
    except duckdb.Error:
        return False
    if len(below) < 2 or _misread([name for name, *_ in below]):
        return False
    if re.search(rb"=|\w[ ]\w", _first_line(path)):
        return True
    try:
        whole = connection.execute(f"DESCRIBE FROM {_READERS['csv'][0]}", [path]).fetchall()
    except duckdb.Error:
        return True
    texts = [[kind for _, kind, *_ in table].count("VARCHAR") for table in (below, whole)]
    return _misread([name for name, *_ in whole]) or texts[0] < texts[1]


def _headed(connection: duckdb.DuckDBPyConnection, path: str, fits: Callable[[list[str]], bool]) -> cells.Loaded | None:
    """The table with its first line as header, where that is one that fits; else it is as it was."""
    try:
        found = [row[0] for row in connection.execute(f"DESCRIBE FROM {_HEADED}", [path]).fetchall()]
        return _read_by(connection, _HEADED, path, "csv")[0] if len(found) > 1 and fits(found) else None
    except duckdb.Error:
        return None


def _read_by(
    connection: duckdb.DuckDBPyConnection, reader: str, path: str, kind: str
) -> tuple[cells.Loaded, list[str]]:
    found = connection.execute(f"DESCRIBE FROM {reader}", [path]).fetchall()
    truths = [row[0] for row in found if row[1] == "BOOLEAN" and kind == "csv"]
    columns = _filled(connection, reader, path, truths)
    if truths and columns != [row[0] for row in found]:  # without its types the header may not be known as one
        truths = []
        columns = _filled(connection, reader, path, truths)
    if kind == "csv":  # those with blanks were not known as such
        told = [name for name in cells.texts_of(connection) if _all_match(connection, "data", name, _TRUTHS)]
        truths = list(dict.fromkeys((*truths, *told)))
    return cells.Loaded(reader, truths), columns


def _filled(connection: duckdb.DuckDBPyConnection, reader: str, path: str, texts: list[str]) -> list[str]:
    types = ", ".join(hints.quoted(name, "'") + ": 'VARCHAR'" for name in texts)
    read = f"{reader.removesuffix(')')}, types={{{types}}})" if texts else reader
    connection.execute("DROP TABLE IF EXISTS data")  # before the next one takes its memory
    selected = ""
    if reader in (*_READERS["csv"], _TITLED, _HEADED):  # DuckDB keeps the blank behind a comma, also where all have one
        kinds = connection.execute(f"DESCRIBE FROM {read}", [path]).fetchall()
        columns = [hints.quoted(name) for name, kind, *_ in kinds if kind == "VARCHAR"]
        trimmed = ", ".join(f"nullif(trim({column}), '') AS {column}" for column in columns)
        selected = f"SELECT * REPLACE ({trimmed}) " if trimmed else ""
    connection.execute(f"CREATE TABLE data AS {selected}FROM {read}", [path])
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
    as_text = f"{reader.removesuffix(')')}, all_varchar=true)".replace("?", hints.quoted(path, "'"))
    return [name for name in doubles if _all_match(connection, as_text, name, r"-?[0-9]{1,3}([.][0-9]{3})+")]


def _all_match(connection: duckdb.DuckDBPyConnection, table: str, name: str, pattern: str) -> bool:
    asked = f"SELECT bool_and(regexp_full_match({hints.quoted(name)}, '{pattern}')) FROM {table}"
    return bool((connection.execute(asked).fetchone() or (False,))[0])


def _first_line(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.readline(4000)


def mind_no_case(connection: duckdb.DuckDBPyConnection, loaded: cells.Loaded) -> None:
    """Nobody means another word by another case, but who asks for it, and of codes, in which it tells one from the
    other.
    """
    texts = []
    for name in cells.texts_of(connection):
        if name in loaded.cased:
            continue
        column = hints.quoted(name)
        asked = f"SELECT count(*), count(DISTINCT {column}), count(DISTINCT lower({column})) FROM data"
        rows, cased, folded = connection.execute(asked).fetchone() or (0, 0, 0)
        if rows <= cells.LARGE and (cased == folded or rows < _SURELY_CODES or cased < rows / 2):
            texts.append(name)
    _retype(connection, texts, "VARCHAR COLLATE NOCASE")


def _retype(connection: duckdb.DuckDBPyConnection, columns: list[str], kind: str) -> None:
    for name in columns:
        connection.execute(f"ALTER TABLE data ALTER {hints.quoted(name)} TYPE {kind}")
