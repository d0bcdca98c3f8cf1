"""What a CSV table's text tells of its columns and cells without a database."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress

_PLAIN = re.compile(r"[^\W\d]\w*")
# What DuckDB takes for a word of its own unless it stands in quotes.
_RESERVED = frozenset([
    "all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof", "asymmetric", "at",
    "authorization", "binary", "both", "by", "case", "cast", "check", "collate", "collation", "column",
    "concurrently", "constraint", "create", "cross", "default", "deferrable", "desc", "describe", "distinct",
    "do", "else", "end", "except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "glob",
    "group", "having", "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join",
    "lambda", "lateral", "leading", "left", "like", "limit", "natural", "not", "notnull", "null", "offset",
    "on", "only", "or", "order", "outer", "overlaps", "pivot", "pivot_longer", "pivot_wider", "placing",
    "positional", "primary", "qualify", "references", "returning", "right", "select", "semi", "show", "similar",
    "some", "summarize", "symmetric", "table", "tablesample", "then", "to", "trailing", "true", "union",
    "unique", "unpack", "unpivot", "user", "using", "variadic", "verbose", "when", "where", "window", "with",
])  # fmt: skip
_ANSWERS = frozenset({"true", "false", "yes", "no"})  # what a row may hold and no column is called


def columns(beginning: bytes, cut: bool) -> tuple[list[str], bool]:
    """The columns that a table's first line names, as SQL writes them, and whether these are all of them. None are
    told where that line looks like a row, a title or no text, or where the next line has another number of cells.

    Args:
        beginning: the file's first bytes.
        cut: whether the file goes on after them; a name that may be cut is left out.
    """
    text = _decoded(beginning, cut)
    header, *rest = re.split(r"\r\n|\r|\n", text, maxsplit=2)
    whole = bool(rest) or not cut
    mark = _mark(header)
    cells = _cells(header, mark)
    names = cells if whole else cells[:-1]
    second = rest[0] if len(rest) > 1 or (rest and not cut) else ""
    if "\0" in text or (second.strip() and len(_cells(second, mark)) not in (0, len(cells))):
        return [], whole
    return ([in_sql(name) for name in names] if _are_names(names) else []), whole


def answered(table: bytes) -> list[str]:
    """The columns, as SQL writes them, that say yes or no in every row; none of a table that cannot be read here."""
    text = _decoded(table, cut=False)
    mark = _mark(re.split(r"\r\n|\r|\n", text, maxsplit=1)[0])
    lines = io.StringIO(text, newline="")
    try:
        read = csv.reader(lines, delimiter=mark, skipinitialspace=True, strict=True)
        header, *rows = [row for row in read if row] or [[]]
    except csv.Error:
        return []
    if not rows or any(len(row) != len(header) for row in rows):
        return []
    said = [{cell.strip().lower() for cell in column} for column in zip(*rows, strict=True)]
    return [in_sql(name.strip()) for name, cells in zip(header, said, strict=True) if cells <= _ANSWERS]


def in_sql(name: str) -> str:
    """A column as SQL names it: in quotes unless it is one plain word that SQL has no use for."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


def _decoded(beginning: bytes, cut: bool) -> str:
    """UTF-8, or else of old Windows programs, as query_table reads it; a character that is cut is left out."""
    try:
        return beginning.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if cut and error.start > len(beginning) - 4:
            return beginning[: error.start].decode("utf-8-sig")
        with suppress(UnicodeDecodeError):
            return beginning.decode("cp1252")
        return beginning.decode("latin-1")


def _mark(header: str) -> str:
    """What stands between the cells of a line."""
    return max(",;\t|", key=re.sub(r'"[^"]*"', "", header).count)


def _cells(line: str, mark: str) -> list[str]:
    """The cells of a line; none where a quoted one goes on behind it."""
    if line.count('"') % 2:
        return []
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip()], delimiter=mark, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _are_names(cells: Sequence[str]) -> bool:
    lowered = [cell.lower() for cell in cells]
    apart = len(set(lowered)) == len(lowered) and not _ANSWERS & set(lowered)
    return apart and all(re.match(r"[^\W\d]", cell) for cell in cells)
