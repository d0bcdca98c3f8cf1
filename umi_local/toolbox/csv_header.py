"""The first line of a CSV table, as far as it tells the columns without a database."""

from __future__ import annotations

import csv
import re

_PLAIN = re.compile(r"[^\W\d]\w*")


def columns(text: str, cut: bool) -> list[str]:
    """The columns that a table's first line names, as SQL writes them; none where that line looks like a row.

    Args:
        text: the beginning of the file.
        cut: whether the file goes on after it; a name that may be cut is left out.
    """
    header, line_break, _ = text.partition("\n")
    mark = max(",;\t|", key=header.count)
    cells = next(csv.reader([header.strip()], delimiter=mark, skipinitialspace=True), [])
    names = [" ".join(cell.split()) for cell in (cells[:-1] if cut and not line_break else cells)]
    if len(set(names)) < len(names) or not all(re.match(r"[^\W\d]", name) for name in names):
        return []
    return [in_sql(name) for name in names]


def in_sql(name: str) -> str:
    """A column as SQL names it: in quotes unless it is one plain word."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
