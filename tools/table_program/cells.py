"""Cells as people write them, which DuckDB keeps as text: a part of the program (program.py).

€19.99, 45%, 1.234,50 and n/a become numbers, 3 March 2026 a date, and a last line of totals no row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from . import hints

_SAMPLE, _MOST = 50, 20_000  # different texts of a column that are looked at first, and in all
_NONE = {"", "-", "–", "—", "n/a", "na", "none", "null", "?"}  # cells that hold no number
_AMOUNT = re.compile(
    r"(?P<bracket>\()?[-−]?(?P<before>[€$£¥]|(?:EUR|USD|GBP|CHF)\s)?\s*[-−]?(?P<number>\d+(?:[.,' \u00a0\u202f]\d+)*)"
    r"(?P<blank>\s*)(?P<after>[^\d\s.,:;/()'-][^\d\s.,:;()'-]{0,7})?(?(bracket)\))",
    re.ASCII,
)
_CURRENCIES = {"€", "$", "£", "¥", "eur", "usd", "gbp", "chf"}
_LETTERS = set("gmlhst")  # units of one letter that may stand right behind a number; 12A is a seat
_NO_UNITS = {"st", "nd", "rd", "th", "am", "pm", "uhr", "x"}
# Years of two digits before those of four, which would take 26 for the year 26.
_DATES = ("%Y-%m-%d", "%d %B %y", "%d %b %y", "%d-%b-%y", "%d.%m.%y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y",
          "%B %d %Y", "%b %d %Y", "%d. %B %Y", "%d-%b-%Y", "%d.%m.%Y")  # fmt: skip
_VERSION = r"[0-9]+[.][0-9]+[.][0-9]\s*$"  # 1.2.3 is no day of the year 3
LARGE = 200_000  # rows, from which reading every cell takes longer than who asks would wait
_SURELY_ROWS = 3  # above a total; fewer numbers add up to one by chance
_TOTAL = r"(grand |sub)?(total|totals|sum|summe|gesamt)\b.*"
_MEAN = r"(average|mean|avg|durchschnitt|mittelwert)s?(:| (of|per|for) .*)?"
_NUMBERS = ("BIGINT", "INTEGER", "DOUBLE", "HUGEINT", "DECIMAL")


@dataclass
class Loaded:
    """What was made of the table. `truths` are columns of yes and no; `units` what stands before and behind the
    numbers of a column; `notes` sentences for the reader. `changed` says whether `written.data` has it as it was;
    `dates` are columns that were made dates, `cased` columns whose texts mind their case.
    """

    reader: str
    truths: list[str] = field(default_factory=list)
    units: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changed: bool = False
    dates: list[str] = field(default_factory=list)
    cased: list[str] = field(default_factory=list)


def understand(connection: duckdb.DuckDBPyConnection, loaded: Loaded, semicolons: bool) -> None:
    """Take the cells of the table `data` for what they say. `semicolons` part them, so that commas may part decimals.

    Of a table that is large, or does not fit into the memory twice, they stay as they are.
    """
    rows = (connection.execute("SELECT count(*) FROM data").fetchone() or (0,))[0]
    if rows > LARGE:
        return
    connection.execute("CREATE SCHEMA written")
    try:
        connection.execute("CREATE TABLE written.data AS FROM data")
    except duckdb.OutOfMemoryException:
        return
    changed = _numbers(connection, loaded, semicolons)
    if total := _without_total(connection, loaded):
        _numbers(connection, loaded, semicolons)
    dates = _dates(connection, loaded)
    loaded.changed = bool(changed or total or dates)
    if not loaded.changed:
        connection.execute("DROP TABLE written.data")


def _numbers(connection: duckdb.DuckDBPyConnection, loaded: Loaded, semicolons: bool) -> bool:
    """Make numbers of the columns of texts in which every cell is one, with the same sign or unit throughout."""
    changed = False
    for name in texts_of(connection):
        column = hints.quoted(name)
        for most in (_SAMPLE, _MOST):
            found = connection.execute(f"SELECT DISTINCT {column} FROM data LIMIT {most + 1}").fetchall()
            form = _form([text for (text,) in found if text is not None], semicolons)
            if form is None or len(found) <= most:
                break
        if name in loaded.truths or form is None or len(found) > _MOST:
            continue
        before, after, mark = form
        digits = f"regexp_extract({column}, '[0-9][0-9.,'' \u00a0\u202f]*')"
        for sign in set(".,' \u00a0\u202f") - {mark}:
            digits = f"replace({digits}, {hints.quoted(sign, chr(39))}, '')"
        value = f"TRY_CAST(replace({digits}, '{mark}', '.') AS DOUBLE)"
        signed = f"CASE WHEN regexp_matches({column}, '^[^0-9]*[-−(]') THEN -{value} ELSE {value} END"
        connection.execute(f"ALTER TABLE data ALTER {column} TYPE DOUBLE USING {signed}")
        changed = True
        if before or after:
            loaded.units[name] = (before, after)
    return changed


def _form(texts: Sequence[str], semicolons: bool) -> tuple[str, str, str] | None:
    """What stands before and behind the numbers of a column and which sign parts their decimals; None where a cell is
    no number, or they are codes.
    """
    found = [_AMOUNT.fullmatch(text.strip()) for text in texts if text.strip().lower() not in _NONE]
    amounts = [each for each in found if each]
    if not amounts or len(amounts) < len(found) or all(each["bracket"] for each in amounts):
        return None  # brackets around some are the minus of bookkeepers, around all a manner of counting
    units = {((each["before"] or "").strip(), _unit(each["after"] or "")) for each in amounts}
    if len(units) > 1 or any(after in _NO_UNITS for _, after in units):
        return None
    before, after = next(iter(units))
    if len(after) == 1 and after.isalpha() and after not in _LETTERS and not all(each["blank"] for each in amounts):
        return None
    numbers = [each["number"] for each in amounts]
    if not before and not after and any(re.search(r"[' \u00a0\u202f]", number) for number in numbers):
        return None  # telephone numbers
    if {before.lower(), after} & _CURRENCIES and all(re.fullmatch(r"\d{1,3}([.,]\d{3})*", n) for n in numbers):
        commas = any("," in number for number in numbers)  # no currency has three decimals
        return (before, amounts[0]["after"] or "", "." if commas else ",")
    mark = _mark(numbers, semicolons)
    return (before, amounts[0]["after"] or "", mark) if mark else None


def _unit(after: str) -> str:
    """A unit for comparing: mW and MW are two, bag and Bags one."""
    return (
        after.lower().removesuffix("s") if len(after) > 3 else after.lower() if after.lower() in _CURRENCIES else after
    )


def _mark(numbers: Sequence[str], semicolons: bool) -> str:
    """The sign that parts the decimals of a column's numbers; empty where they are no numbers, as 007 and 1.2.3."""
    if any(re.match(r"0\d", number) for number in numbers):
        return ""
    for mark, thousands in ((",", ".' \u00a0\u202f"), (".", ",' \u00a0\u202f")):
        pattern = rf"\d+(?:[{re.escape(mark)}]\d+)?|\d{{1,3}}(?:[{thousands}]\d{{3}})+(?:[{re.escape(mark)}]\d+)?"
        fits = all(re.fullmatch(pattern, number) for number in numbers)
        # 1,250 is a thousand and more, where commas do not part decimals elsewhere in the column or the file.
        surely = semicolons or any(re.search(rf"[{mark}](?!\d{{3}}$)", number) for number in numbers)
        if fits and (mark == "." or surely):
            return mark
    return ""


def _dates(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> bool:
    """Make dates of the columns of texts in which every cell is one."""
    changed = False
    for name in texts_of(connection):
        column = hints.quoted(name)
        read = f"try_strptime(trim({column}), [{', '.join(map(repr, _DATES))}])"
        read = f"CASE WHEN NOT regexp_matches({column}, '{_VERSION}') THEN {read} END"
        for part in (f"(FROM data LIMIT {_SAMPLE})", "data"):
            counted = f"SELECT count({column}), count({read}) FROM {part}"
            texts, dates = connection.execute(counted).fetchone() or (0, 0)
            if not texts or dates < texts:
                break
        else:
            connection.execute(f"ALTER TABLE data ALTER {column} TYPE DATE USING {read}::DATE")
            loaded.dates.append(name)
            changed = True
    return changed


def _without_total(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> bool:
    """Take away the last row where it says of itself that it is a total and is some column's, and an average of which
    the same is true, with a total above it or without one; note what was done.
    """
    last = connection.execute("SELECT rowid, * FROM data ORDER BY rowid DESC LIMIT 2").fetchall()
    names = [_label(values) for _, *values in last]
    if not last:
        return False
    if re.fullmatch(_MEAN, names[0], re.IGNORECASE):
        both = bool(len(last) > 1 and re.fullmatch(_TOTAL, names[1], re.IGNORECASE))
        ends = last[: 2 if both else 1]
        first = ends[-1][0]
        # Of few rows one that is called Average may be just that: poor, average, good.
        gone = (both or first >= _SURELY_ROWS) and all(_sums_up(connection, first, values)[0] for _, *values in ends)
    elif re.fullmatch(_TOTAL, names[0], re.IGNORECASE):
        ends, first = last[:1], last[0][0]
        gone, has_sum = _sums_up(connection, first, last[0][1:])
        gone = gone and has_sum
        if has_sum and not gone and first >= _SURELY_ROWS:
            loaded.notes.append(f"The last line, {names[0]}, counts as a row.")
    else:
        return False
    if gone:
        connection.execute(f"DELETE FROM data WHERE rowid >= {first}")
        told = " and ".join(reversed(names[: len(ends)]))
        loaded.notes.append(
            f"The last line{'s' if len(ends) > 1 else ''}, {told}, {'are' if len(ends) > 1 else 'is'} left out."
        )
    return gone


def _label(values: Sequence[object]) -> str:
    return next((value for value in values if isinstance(value, str)), "").strip()


def _sums_up(connection: duckdb.DuckDBPyConnection, first: int, values: Sequence[object]) -> tuple[bool, bool]:
    """Whether the numbers of a row are sums or means of all rows before the row `first`, one of them not of zeros; and
    whether any is such a sum.
    """
    described = connection.execute("DESCRIBE data").fetchall()
    sums, means = [], []
    for (name, kind, *_), value in zip(described, values, strict=True):
        if value is None or not kind.startswith(_NUMBERS):
            continue
        number, column = float(str(value)), hints.quoted(name)
        asked = f"SELECT coalesce(sum({column}), 0), coalesce(avg({column}), 0) FROM data WHERE rowid < {first}"
        above, mean = connection.execute(asked).fetchone() or (0, 0)
        sums.append((abs(float(above) - number) < 0.01, number))
        digits = len(str(value).partition(".")[2])
        means.append((abs(float(mean) - number) <= 0.51 * 10**-digits, number))  # rounded to so many
    has_sum = any(fits and number for fits, number in sums)
    has_any = has_sum or any(fits and number for fits, number in means)
    return has_any and all(one or other for (one, _), (other, _) in zip(sums, means, strict=True)), has_sum


def texts_of(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns of texts."""
    return [name for name, kind, *_ in connection.execute("DESCRIBE data").fetchall() if kind == "VARCHAR"]
