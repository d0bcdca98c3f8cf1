"""What a table query that found nothing may have meant: a part of the program (program.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb

_COLUMNS = 100  # of texts, in which a text is looked for
_LOOKED_UP = 3  # texts of a query
_FEW, _SHORT = 6, 40  # values that are told of a column, and the characters of each
_FEW_TOLD = 2  # columns of which they are


def elsewhere(connection: duckdb.DuckDBPyConnection, sql: str, columns: list[list[str]]) -> list[list[str]]:
    """The texts of a query that found nothing, each with a column that has it, where the query names no such column."""
    texts = [name for name, kind in columns if kind == "VARCHAR"][:_COLUMNS]
    found = []
    for text in list(dict.fromkeys(re.findall(r"'%?([^'%]+)%?'", sql)))[:_LOOKED_UP]:
        holding = _holding(connection, texts, text)
        if holding and not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) for name in holding):
            found.append([text, holding[0]])
    return found


def few_values(connection: duckdb.DuckDBPyConnection, sql: str, columns: list[list[str]]) -> list[list[str]]:
    """Of a query that found nothing: each column of few words that it compared with another word, or took for empty,
    and these words. Who asks for the members with `paid IS NULL` sees that it holds Yes and No.
    """
    told = {name: values for name, values, _ in _compared(connection, sql, columns)}
    return [[name, *sorted(values)] for name, values in told.items()][:_FEW_TOLD]


def in_number(
    connection: duckdb.DuckDBPyConnection, sql: str, columns: list[list[str]]
) -> tuple[str, list[tuple[str, str]]]:
    """A query that found nothing with its words in the number in which their columns of few words have them, sopranos
    as Soprano, and these words.
    """
    taken: list[tuple[str, str]] = []
    for _, values, found in reversed(list(_compared(connection, sql, columns))):
        text = (found[4] or "").strip("'%")
        same = [value for value in values if text and _plurals(text) & _plurals(value)]
        if len(same) == 1:
            start, end = found.span(4)
            sql = sql[:start] + sql[start:end].replace(text, same[0].replace("'", "''")) + sql[end:]
            taken.insert(0, (text, same[0]))
    return sql, taken


def _plurals(word: str) -> set[str]:
    """A word and what it may be with an English plural's ending."""
    word = word.lower()
    return {word, f"{word}s", f"{word}es", re.sub(r"y$", "ies", word)}


def _compared(
    connection: duckdb.DuckDBPyConnection, sql: str, columns: list[list[str]]
) -> Iterator[tuple[str, list[str], re.Match[str]]]:
    """The columns of few words that a query compares with another word: the name, the words, and where it does.
    Of the match, group 3 is the comparison and 4 the literal; both are None where it is `IS NULL`.
    """
    named = sorted((name for name, _ in columns if name.lower() in sql.lower()), key=len, reverse=True)
    if not named:
        return
    names, literal = "|".join(map(re.escape, named)), r"'(?:[^']|'')*'"
    column = rf"\"({names})\"|(?<![\w.\"])({names})(?!\w)"
    compared = rf"(?:{column})\s*(?:(=|i?like)\s*({literal})|is\s+null)|{literal}"
    # Described anew: a query may have made truths of words.
    now = connection.execute("DESCRIBE data").fetchall()
    texts = {name.lower(): name for name, kind, *_ in now if kind == "VARCHAR"}
    for found in re.finditer(compared, sql, re.IGNORECASE):
        name = texts.get((found[1] or found[2] or "").lower())
        if name is None:
            continue
        asked = f"SELECT DISTINCT {quoted(name)}::VARCHAR FROM data LIMIT {_FEW + 2}"
        values = [value for (value,) in connection.execute(asked).fetchall()]
        few = [value for value in values if value is not None]
        plain = all(value and "," not in value and len(value) <= _SHORT for value in few)
        if few and plain and len(few) <= _FEW and not _among(connection, found, values):
            yield name, few, found


def _among(connection: duckdb.DuckDBPyConnection, compared: re.Match[str], values: list[str | None]) -> bool:
    """Whether one of the values is what a column was compared with; only upper and lower case may differ."""
    if not compared[4]:
        return None in values
    text = compared[4][1:-1].replace("''", "'")
    if compared[3] == "=":
        return text.lower() in [value.lower() for value in values if value is not None]
    found = connection.execute("SELECT bool_or(v ILIKE $2) FROM (SELECT unnest($1) AS v)", [values, text]).fetchone()
    return bool(found and found[0])


def _holding(connection: duckdb.DuckDBPyConnection, columns: list[str], text: str) -> list[str]:
    """Those of the columns that have the text in some row, found in one pass over the table."""
    if not columns:
        return []
    # As texts, also those that a query has made truths of.
    asked = ", ".join(f"bool_or({quoted(name)}::VARCHAR ILIKE $1)" for name in columns)
    found = connection.execute(f"SELECT {asked} FROM data", [text]).fetchone() or ()
    return [name for name, has in zip(columns, found, strict=True) if has]


def quoted(name: str, mark: str = '"') -> str:
    """A name or, with another mark, a text as SQL writes it."""
    return mark + name.replace(mark, 2 * mark) + mark
