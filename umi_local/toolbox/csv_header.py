"""The first line of a CSV table, as far as it tells the columns without a database."""

from __future__ import annotations

import csv
import re

_PLAIN = re.compile(r"[^\W\d]\w*")
# What SQL takes for its own words unless it stands in quotes (DuckDB's reserved ones).
_RESERVED = frozenset([
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast",
    "check", "collate", "column", "constraint", "create", "default", "deferrable", "desc", "describe",
    "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "from", "group", "having",
    "in", "initially", "intersect", "into", "lambda", "lateral", "leading", "limit", "not", "null", "offset",
    "on", "only", "or", "order", "pivot", "placing", "primary", "qualify", "references", "returning", "select",
    "show", "some", "summarize", "symmetric", "table", "then", "to", "trailing", "true", "union", "unique",
    "unpivot", "user", "using", "variadic", "when", "where", "window", "with",
])  # fmt: skip


def columns(text: str, cut: bool) -> list[str]:
    """The columns that a table's first line names, as SQL writes them; none where that line looks like a row or like
    no table.

    Args:
        text: the beginning of the file.
        cut: whether the file goes on after it; a name that may be cut is left out.
    """
    header, *rest = re.split(r"\r\n|\r|\n", text, maxsplit=1)
    if header.count('"') % 2 or "\0" in text:  # a line break inside a name; no text
        return []
    bare = re.sub(r'"[^"]*"', "", header)
    mark = max(",;\t|", key=bare.count)
    try:
        cells = next(csv.reader([header.strip()], delimiter=mark, skipinitialspace=True), [])
    except csv.Error:
        return []
    names = [cell.strip() for cell in (cells[:-1] if cut and not rest else cells)]
    if len({name.lower() for name in names}) < len(names) or not all(re.match(r"[^\W\d]", name) for name in names):
        return []
    return [in_sql(name) for name in names]


def in_sql(name: str) -> str:
    """A column as SQL names it: in quotes unless it is one plain word that SQL has no use for."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'
