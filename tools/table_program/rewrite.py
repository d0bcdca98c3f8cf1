"""SQL as small models write it, put right: a part of the program (program.py).

What is certain is rewritten before a query runs (`prepared`), what may have been meant only after it has failed
(`repaired`). Texts in quotes stay as they are, but for columns in the wrong quotes and days beside a column of days.
"""

from __future__ import annotations

import re
from calendar import month_name, monthrange
from collections.abc import Callable, Sequence
from datetime import datetime

from . import hints

Columns = Sequence[Sequence[str]]  # name and type

_PHRASES = ("order by", "group by", "is null", "not null", "not in", "not like")  # never a column without quotes
_DATED = ("DATE", "TIMESTAMP")
_WRITTEN = ("%d.%m.%Y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%b %d %Y", "%d-%b-%Y")
# A year as what is added up, selected, compared or ordered by, where a column is called so.
_YEAR_COLUMNS = (
    r"(\b(?:count|sum|avg|min|max|median)\s*\(\s*(?:distinct\s+)?)({})(?=\s*\))",
    r"((?:\bselect\s+(?:distinct\s+)?|,\s*))({})(?=\s*(?:,[^()]*)?\bfrom\b)",
    r"(\b(?:where|and|or|not)\s+\(?)({})(?=\s*[=<>!])",
    r"(\border\s+by\s+)({})(?=\s*(?:,|;|$|\basc\b|\bdesc\b|\blimit\b))",
)
# Functions of other databases that DuckDB lacks.
MACROS = (
    "curdate() AS current_date",
    "nvl(a, b) AS coalesce(a, b)",
    "iif(a, b, c) AS CASE WHEN a THEN b ELSE c END",
    "average(a) AS avg(a)",
    "date_format(a, b) AS strftime(a, replace(replace(replace(b, '%M', '%B'), '%i', '%M'), '%e', '%-d'))",
)


def prepared(sql: str, columns: Columns, gaps: Sequence[str]) -> str:
    """The query with what it surely means; `gaps` are the columns of texts that are empty in some row."""
    sql = re.sub(r"^\s*```(?:sql)?\s*|\s*```\s*$", "", sql, flags=re.IGNORECASE)
    bare = _without_quoted(sql)
    if re.match(r"\s*select\b", bare, re.IGNORECASE) and not re.search(r"\bfrom\b", bare, re.IGNORECASE):
        names = [name for name, _ in columns]
        if re.search(r"\bcount\s*\(\s*\*|\bwhere\b", bare, re.IGNORECASE) or _named(bare, names):
            sql = _outside(sql, r"\s*(?=\b(?:where|group by|order by|having|limit)\b|;|$)", lambda _: " FROM data ", 1)
    sql = _as_columns(sql, {name.lower() for name, _ in columns})
    for year in (name for name, _ in columns if re.fullmatch(r"(?:19|20)\d\d", name)):
        for place in _YEAR_COLUMNS:
            sql = _outside(sql, place.format(year), lambda found: f'{found[1]}"{found[2]}"')
    for name, kind in columns:
        gap = _as_gap if kind == "VARCHAR" else _as_null
        sql = _outside(sql, rf"{_column(name)}\s*(=|<>|!=)\s*(''(?!')|null\b)", gap)
    for name in gaps:
        sql = _outside(sql, rf"{_column(name)}\s*(?:<>|!=)(?=\s*')", lambda found: f"{found[1]} IS DISTINCT FROM")
    sql = _outside(
        sql,
        r"(strftime\s*\([^()]*'%m'[^()]*\)\s*=\s*)'([1-9])'",  # two digits, always
        lambda found: f"{found[1]}'0{found[2]}'",
    )
    day = r"\s*'\d{4}-\d\d-\d\d'"
    for name, kind in columns:
        if kind.startswith("TIMESTAMP"):
            several = rf"between{day}\s+and{day}|in\s*\({day}(?:\s*,{day})*\s*\)"
            compared = rf"{_column(name)}(?=\s*(?:(?:=|<>|!=|<=|>){day}|(?:not\s+)?(?:{several})))"
            sql = _outside(sql, compared, lambda found: f"CAST({hints.quoted(found[1].strip(chr(34)))} AS DATE)")
    return sql


def as_text(sql: str, name: str) -> bool:
    """Whether a query looks into the text of a column: date LIKE '%March%'."""
    column = _column(name)
    return (
        re.search(rf"{column}\s+(?:not\s+)?i?like\b|\b(?:substr|substring|left|right)\s*\(\s*{column}", sql, re.I)
        is not None
    )


def sorts(sql: str) -> bool:
    """Whether a query asks what is more and what less."""
    pattern = r"\border\s+by\b|\b(?:max|min|between)\b|(?<!<)>|<(?!>)"
    return re.search(pattern, _without_quoted(sql), re.IGNORECASE) is not None


def minds_case(sql: str, name: str) -> bool:
    """Whether a query asks for a column's very case: name = upper(name)."""
    column, changed = _column(name), r"(?:upper|lower|ucase|lcase)\s*\(\s*"
    same = rf"{column}\s*(?:=|<>|!=)\s*{changed}{column}|{changed}{column}\s*\)\s*(?:=|<>|!=)\s*{column}"
    return re.search(rf"{same}|{column}\s+collate\b", sql, re.IGNORECASE) is not None


def _as_gap(found: re.Match[str]) -> str:
    column = found[1]
    return f"({column} IS NULL OR {column} = '')" if found[2] == "=" else f"({column} IS NOT NULL AND {column} <> '')"


def _as_null(found: re.Match[str]) -> str:
    return f"{found[1]} IS {'' if found[2] == '=' else 'NOT '}NULL"


def repaired(sql: str, names: Sequence[str], columns: Columns, message: str) -> str:
    """What a query that failed may have meant; `message` is why it did.

    The file's path or the word table as the table's name, a text in double quotes or in none, a name of several words
    in none, a column spelled without its signs, months and days in other forms, the clauses of other databases.
    """
    known = "|".join(re.escape(name) for name in sorted([*names, "table", "csv", "file"], key=len, reverse=True))
    sql = re.sub(rf"\b(from|join)\s+[\"'`]?(?:{known})[\"'`]?(?![\w.])", r"\1 data", sql, flags=re.IGNORECASE)
    sql = _outside(sql, r"\blimit\s+(\d+)\s*,\s*(\d+)", lambda found: f"LIMIT {found[2]} OFFSET {found[1]}")
    if top := re.match(r"\s*select\s+top\s+\(?(\d+)\)?\s", sql, re.IGNORECASE):
        sql = f"SELECT {sql[top.end() :].rstrip('; ')} LIMIT {top[1]}"
    lowered = {name.lower() for name, _ in columns}

    def in_quotes(found: re.Match[str]) -> str:
        return found[0] if found[2].lower() in lowered else f"{found[1]}'{found[2]}'"

    sql = _one_by_one(r"((?:[=<>]|\bi?like|\bin\s*\((?:\s*'[^']*'\s*,)*)\s*)\"([^\"']*)\"", in_quotes, sql)
    sql = _outside(sql, r"\bis\s+(?=')", lambda _: "= ")
    missing = re.search(r'column "([^"]*)" not found', message)
    if missing and missing[1].lower() not in lowered:
        sql = _in_place_of(missing[1], sql, [name for name, _ in columns])
    for name, kind in columns:
        if kind.startswith(_DATED):
            sql = _dates_of(sql, name)
    return _names(sql, [name for name, _ in columns])


def shortened(message: str) -> str:
    """DuckDB's error in one line, with what to write where that is certain."""
    if missing := re.search(r'column "([^"]*)" not found', message):
        return f"There is no column {missing[1]}."
    if grouped := re.search(r'column "([^"]*)" must appear in the GROUP BY clause', message):
        return (
            f"{grouped[1]} stands beside a sum, largest or the like. For each {grouped[1]}: GROUP BY {grouped[1]}."
            " For the row with the largest: SELECT * FROM data ORDER BY its column DESC LIMIT 1."
        )
    if "WHERE clause cannot contain aggregates" in message:
        return "WHERE knows no largest or sum. For the row with the largest write ORDER BY its column DESC LIMIT 1."
    lines = message.strip().splitlines()
    told = lines[:3] if "CSV Error on Line" in lines[0] else lines[:1]  # of a bad row also what it is and should be
    return "; ".join(line.rstrip(" .!") for line in told) + "."


def _outside(sql: str, pattern: str, made: Callable[[re.Match[str]], str], count: int = 0) -> str:
    """Replace what fits a pattern outside of quotes; the pattern itself may begin with or reach over a quoted part."""
    whole = re.compile(rf"(?P<_found>{_shifted(pattern)})|'(?:[^']|'')*'|\"[^\"]*\"", re.IGNORECASE)
    done = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal done
        if found["_found"] is None or (count and done >= count):
            return found[0]
        done += 1
        inner = re.compile(pattern, re.IGNORECASE).match(found.string, found.start())
        return made(inner) if inner else found[0]

    return whole.sub(replaced, sql)


def _one_by_one(pattern: str, made: Callable[[re.Match[str]], str], sql: str) -> str:
    """Replace what fits as long as that changes something: what stands behind in a list fits only then."""
    for _ in range(9):
        again = re.sub(pattern, made, sql, flags=re.IGNORECASE)
        if again == sql:
            break
        sql = again
    return sql


def _shifted(pattern: str) -> str:
    """A pattern's groups without numbers, so that it can stand inside of another."""
    return re.sub(r"(?<!\\)\((?!\?)", "(?:", pattern)


def _without_quoted(sql: str) -> str:
    return re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", "''", sql)


def _named(bare: str, names: Sequence[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", bare, re.IGNORECASE) for name in names)


def _column(name: str) -> str:
    """A pattern for a column with or without quotes, as a group."""
    plain = re.escape(name)
    return rf"(\"{plain}\"|(?<![\w.\"']){plain}(?![\w\"']))"


def _as_columns(sql: str, lowered: set[str]) -> str:
    """Columns in single quotes: as what is counted or added, as all that is selected, as what is grouped or ordered by,
    and to the left of a comparison.
    """

    def named(found: re.Match[str]) -> str:
        return f'{found[1]}"{found[2]}"' if found[2].lower() in lowered else found[0]

    text = r"'((?:[^']|'')*)'"
    for before, behind in (
        (r"\b(?:count|sum|avg|min|max|median)\s*\(\s*(?:distinct\s+)?", r"\s*\)"),
        (r"\b(?:where|and|or|on|not)\s+\(?", r"\s*(?:=|<|>|!=|(?:not\s+)?(?:i?like|in|between)\b|is\b)"),
        (r"\b(?:group|order)\s+by\s+(?:(?:\"[^\"]*\"|\w+)(?:\s+(?:asc|desc))?\s*,\s*)*", r"(?=\W|$)"),
    ):
        sql = _one_by_one(rf"({before}){text}(?={behind})", named, sql)
    select, behind, grouped = ([*re.split(r"(\bgroup\s+by\b)", sql, maxsplit=1, flags=re.IGNORECASE), "", ""])[:3]
    for name in re.findall(r'"([^"]*)"', grouped):
        item = rf"((?:\bselect|,)\s*(?:distinct\s+)?)'{re.escape(name)}'(?=\s*(?:,|\bfrom\b|\bas\b))"
        select = re.sub(item, rf'\1"{name}"', select, count=1, flags=re.IGNORECASE)
    sql = select + behind + grouped
    listed = re.match(r"\s*select\s+(?:distinct\s+)?((?:'[^']*'\s*,\s*)*'[^']*')\s+from\b", sql, re.IGNORECASE)
    if listed and not re.search(r"\bunion\b", sql, re.IGNORECASE):
        names = re.findall(r"'([^']*)'", listed[1])
        if all(name.lower() in lowered for name in names):
            return sql[: listed.start(1)] + listed[1].replace("'", '"') + sql[listed.end(1) :]
    return sql


def _in_place_of(word: str, sql: str, columns: Sequence[str]) -> str:
    """A word that is no column: the one that is spelled so without its signs, or a text where one is compared."""
    meant = [name for name in columns if _signless(name) == _signless(word)]
    plain = rf"(?:\"{re.escape(word)}\"|(?<![\w.\"']){re.escape(word)}(?![\w\"'.]|\s*\())"
    if len(meant) == 1:
        return _outside(sql, plain, lambda _: hints.quoted(meant[0]))
    return _outside(sql, rf"(=|<>|!=)\s*{plain}", lambda found: f"{found[1]} '{word}'")


def _dates_of(sql: str, name: str) -> str:
    """Comparisons of a column of dates as other databases or people write them."""
    column = _column(name)
    sql = _outside(
        sql,
        rf"{column}\s+(not\s+)?i?like\s*'%?([^'%]*[a-z][^'%]*)%?'",  # a month in words
        lambda found: f"strftime({found[1]}, '%-d %B %Y') {found[2] or ''}ILIKE '%{found[3]}%'",
    )
    sql = _outside(sql, rf"{column}(?=\s+(?:not\s+)?i?like\b)", lambda found: f"CAST({found[1]} AS VARCHAR)")
    sql = _outside(
        sql,
        rf"\b(substr|substring|left)\s*\(\s*{column}",
        lambda found: f"{found[1]}(CAST({found[2]} AS VARCHAR)",
    )
    sql = _outside(
        sql,
        rf"\bmonth\s*\(\s*{column}\s*\)\s*=\s*'([a-z]+)'",
        lambda found: f"month({found[1]}) = {_month(found[2])}" if _month(found[2]) else found[0],
    )
    sql = _outside(
        sql, rf"{column}\s*=\s*'(\d{{4}}-\d\d)'", lambda found: f"strftime({found[1]}, '%Y-%m') = '{found[2]}'"
    )
    day = r"(?:date\s*)?'[^']*'"
    compared = rf"{column}(?:\s+as\s+\w+)?\s*\)*\s*(?:[=<>!]+\s*{day}|(?:not\s+)?between\s+{day}\s+and\s+{day}"
    return _outside(sql, rf"{compared}|(?:not\s+)?in\s*\(\s*{day}(?:\s*,\s*{day})*)", lambda found: _days(found[0]))


def _days(compared: str) -> str:
    """A comparison with its days in ISO form, and the last one that is meant within its month."""
    iso = re.sub(r"'([^']{6,30})'", lambda found: f"'{_day(found[1])}'", compared)
    return re.sub(
        r"(<=\s*(?:date\s*)?|\band\s+(?:date\s*)?)'(\d{4}-\d\d-\d\d)'",
        lambda found: f"{found[1]}'{_in_month(found[2])}'",
        iso,
        flags=re.IGNORECASE,
    )


def _in_month(text: str) -> str:
    """A day that its month lacks as the month's last: until 30 February."""
    year, month, day = map(int, text.split("-"))
    if 1 <= month <= 12 and year and day > monthrange(year, month)[1]:
        return f"{year:04}-{month:02}-{monthrange(year, month)[1]:02}"
    return text


def _month(name: str) -> int:
    """The number of a month by its name or the beginning of it; 0 where it is none."""
    known = [full.lower() for full in month_name]
    return next((number for number, full in enumerate(known) if len(name) >= 3 and full.startswith(name.lower())), 0)


def _day(text: str) -> str:
    """A date in words or with points in ISO form; else as it was."""
    for form in _WRITTEN:
        try:
            return datetime.strptime(text.strip(), form).strftime("%Y-%m-%d")
        except ValueError:
            continue
    return text


def _names(sql: str, columns: Sequence[str]) -> str:
    """Names of several words that stand in no quotes."""
    # Longest first; what stands in quotes already is passed over whole.
    several = [name for name in columns if re.fullmatch(r"\w+(?: \w+)+", name) and name.lower() not in _PHRASES]
    for name in sorted(several, key=len, reverse=True):
        sql = _outside(sql, rf"(?<!\w){re.escape(name)}(?!\w)", lambda found: hints.quoted(found[0]))
    return sql


def _signless(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
