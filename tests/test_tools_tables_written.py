"""Tables and queries as people and small models write them: what is understood, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_tools_tables import put, query

from umi_local.toolbox import ToolContext, ToolError, Workspace

BILLS = "bill,due,amount,paid\nrent,2026-02-01,900,yes\nphone,2026-02-10,30,\ngas,2026-03-05,80,no\n"
COSTS = "category,amount\nRent,900\nFood,30\nFood,20\nPower,50\n"


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    (tmp_path / "workspace").mkdir()
    return ToolContext(Workspace(tmp_path / "workspace"), tmp_path / "notes.md")


@pytest.mark.parametrize(
    ("table", "sql", "told"),
    [
        ("item,price\nlamp,€19.99\nchair,€5.00\nsofa,€120.00\n", "max(price) AS price FROM data", "price\n€120"),
        ("item,price\nlamp,€19.99\nsofa,€120\n", "sum(price) FROM data", "sum(price)\n€139.99"),
        ("item,price\nlamp,€19.99\nsofa,€120.00\n", "item FROM data WHERE price = '€19.99'", "item\nlamp"),
        ("kind,share\na,5%\nb,45%\nc,12%\n", "max(share) FROM data", 'max("share")\n45%'),
        ("a,w\nx,500 g\ny,1000 g\nz,75 g\n", "min(w) FROM data", "min(w)\n75 g"),
        (
            "name;sum\nx;1.234,50\ny;45,20\nz;-89,00\n",
            "max(sum), min(sum) FROM data",
            "max(sum) | min(sum)\n1234.5 | -89",
        ),
        ("town;people;area\nJena;110.502;114,77\nHof;45.173;58,02\n", "sum(people) AS n FROM data", "n\n155675"),
        ('town,people\nJena,"110,502"\nHof,"45,173"\n', "sum(people) AS n FROM data", "n\n155675"),
        ("a,b\nx,20\ny,n/a\nz,110\nw,-\n", "max(b) AS m, count(b) AS n FROM data", "m | n\n110 | 2"),
        (
            "n,what\n3 March 2026,dentist\n12 Nov 2026,party\n5 Jan 2026,tax\n",
            "what FROM data ORDER BY n LIMIT 1",
            "what\ntax",
        ),
        ("name,zip\na,01234\nb,99999\n", "zip FROM data WHERE zip = '01234'", "zip\n01234"),
        ("a,b\nx,2 kg\ny,500 g\n", "b FROM data", "b\n2 kg\n500 g"),
        ("a,b\nx,1st\ny,1st\n", "b FROM data", "b\n1st\n1st"),
        ("a,b\nx,10 am\ny,9 am\n", "b FROM data", "b\n10 am\n9 am"),
        ("a,b\nx,10 mW\ny,9 MW\n", "b FROM data", "b\n10 mW\n9 MW"),
        ("a,seat\nx,1A\ny,2A\n", "seat FROM data", "seat\n1A\n2A"),
        ("a,phone\nx,612 345 678\n", "phone FROM data", "phone\n612 345 678"),
        ("a,p\nx,1.234 €\ny,10.000 €\n", "sum(p) AS p FROM data", "p\n11234€"),
        ("n,share\n2,45%\n", "n * share AS x FROM data", "x\n90\nshare is in %."),
        ("d,n\n12-Jan-26,5\n03-Feb-26,7\n", "year(d) AS y FROM data LIMIT 1", "y\n2026"),
        ("d,n\n3 March 2026,5\n4 May 2026,7\n", "n FROM data WHERE d LIKE '%March%'", "n\n5"),
        ("d,n\nJan 5 2026,5\nApr 2 2026,7\n", "n FROM data WHERE d > '2026-01-31'", "n\n7"),
        ("part,title\n1.1.1,Intro\n1.1.2,Scope\n", "part FROM data LIMIT 1", "part\n1.1.1"),
        ("a, s, n\nx, open, 3\ny, shut, 4\nz, open, 5\n", "sum(n) AS n FROM data WHERE s = 'open'", "n\n8"),
        ("a,s\nx,open \ny,open\n", "s, count(*) AS n FROM data GROUP BY s", "s | n\nopen | 2"),
        ("a, paid\nx, yes\ny, no\n", "a FROM data WHERE paid = TRUE", "a\nx"),
        ("a, paid\nx, yes\ny, no\n", "sum(paid) AS n FROM data", "n\n1"),
        ("a, paid\nx, yes\ny, \nz, no\n", "a FROM data WHERE paid IS NULL", "a\ny"),
    ],
)
def test_amounts_and_dates_are_what_they_say(context: ToolContext, table: str, sql: str, told: str) -> None:
    assert query(context, f"SELECT {sql}", put(context, "t.csv", table)) == told


def test_a_last_line_of_totals_is_no_row_and_that_is_said(context: ToolContext) -> None:
    rows = "date,item,amount\n2026-01-01,Rent,900\n2026-01-05,Food,100\n"
    path = put(context, "t.csv", f"{rows}Total,,1000\n")
    note = "The last line, Total, is left out."
    assert query(context, "SELECT sum(amount) AS s, count(*) AS n FROM data", path) == f"s | n\n1000 | 2\n{note}"
    assert query(context, "SELECT item FROM data WHERE date >= '2026-01-05'", path) == f"item\nFood\n{note}"
    for rows, total in (("Olay,5,0\nTotal,7,0\n", 12), ("Olay,5,1\nBP,7,2\nTotal,3,3\n", 15)):
        brand = put(context, "brands.csv", f"brand,amount,id\n{rows}")
        assert query(context, "SELECT sum(amount) AS s FROM data", brand) == f"s\n{total}"


@pytest.mark.parametrize(
    ("table", "sql", "told"),
    [
        ("region,2023,2024\nNorth,5,6\nSouth,7,8\n", 'sum("2024") AS s FROM data', "s\n14"),
        (
            "Costs,,\nday,item,amount\n1,a,5\n2,b,6\n3,c,7\n",
            "sum(amount) AS s, count(*) AS n FROM data",
            "s | n\n18 | 3",
        ),
        ("sep=;\nName;Preis\nx;5\ny;6\n", "sum(Preis) AS s FROM data", "s\n11"),
        ("lamp,20\nchair,30\n", "count(*) AS n FROM data", "n\n2"),
        ("Ann,1985\nBob,1990\n", "count(*) AS n FROM data", "n\n2"),
        ("id,column1\na,b\nc,d\n", "column1 FROM data LIMIT 1", "column1\nb"),
        ("Name,Preis\nHäuser – gut,€5\n".encode("cp1252"), "* FROM data", "Name | Preis\nHäuser – gut | €5"),
        ("Name,Preis\nHäuser,5\n".encode("utf-16"), "* FROM data", "Name | Preis\nHäuser | 5"),
    ],
)
def test_headers_and_encodings_of_other_programs_are_found(
    context: ToolContext, table: str | bytes, sql: str, told: str
) -> None:
    assert query(context, f"SELECT {sql}", put(context, "t.csv", table)) == told


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT COUNT(*)", "count_star()\n4"),
        ("SELECT SUM(amount) WHERE category = 'Food'", "sum(amount)\n50"),
        ("SELECT 1 + 1 AS two", "two\n2"),
        ("SELECT 'amount' AS label, count(*) AS n FROM data", "label | n\namount | 4"),
        ("SELECT concat('category', ': ', category) AS c FROM data LIMIT 1", "c\ncategory: Rent"),
        ("SELECT count(*) AS n FROM data WHERE coalesce(nullif(category, 'Rent'), '') = ''", "n\n1"),
        ("SELECT count(*) AS n FROM data WHERE category <> upper(category)", "n\n4"),
        (
            "WITH m AS (SELECT max(amount) AS top FROM data) SELECT category FROM costs.csv, m WHERE amount = top",
            "category\nRent",
        ),
        ("```sql\nSELECT max(amount) AS m FROM data\n```", "m\n900"),
        ("SELECT count(DISTINCT 'category') AS n FROM data", "n\n3"),
        ("SELECT 'category', 'amount' FROM data LIMIT 1", "category | amount\nRent | 900"),
        ("SELECT amount FROM data WHERE 'category' = 'Rent'", "amount\n900"),
        ("SELECT count(*) AS n FROM data WHERE category IN ('category', 'Rent')", "n\n1"),
        ("SELECT sum(amount) AS s FROM data WHERE category = Food", "s\n50"),
        ('SELECT sum(amount) AS s FROM data WHERE category IN ("Food", "Rent")', "s\n950"),
        ("SELECT amount FROM data WHERE category IS 'Power'", "amount\n50"),
        ("SELECT TOP 1 category FROM data ORDER BY amount DESC", "category\nRent"),
        ("SELECT amount FROM data ORDER BY amount LIMIT 1, 2", "amount\n30\n50"),
        ("SELECT AVERAGE(amount) AS a, IIF(count(*) > 3, 'many', 'few') AS h FROM data", "a | h\n250 | many"),
        (
            "SELECT category, min(amount) AS m FROM data GROUP BY category HAVING m > 90 LIMIT 1",
            "category | m\nRent | 900\nWithout ORDER BY these are any rows, not the first or the largest.",
        ),
    ],
)
def test_sql_of_other_habits_is_understood(context: ToolContext, sql: str, told: str) -> None:
    assert query(context, sql, put(context, "costs.csv", COSTS)) == told


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("paid = ''", "phone"),
        ("paid = NULL", "phone"),
        ("paid <> ''", "rent gas"),
        ("paid != 'yes'", "phone gas"),
        ("due BETWEEN '2026-02-01' AND '2026-02-30'", "rent phone"),
        ("due LIKE '2026-02%'", "rent phone"),
        ("substr(due, 1, 7) = '2026-03'", "gas"),
        ("MONTH(due) = 'February'", "rent phone"),
        ("strftime('%m', due) = '2'", "rent phone"),
        ("due = '2026-02'", "rent phone"),
        ("due = '05.03.2026'", "gas"),
        ("due > '10 February 2026'", "gas"),
        ("due <> CURDATE() AND NVL(paid, 'open') = 'open'", "phone"),
    ],
)
def test_gaps_and_dates_are_asked_for_in_many_ways(context: ToolContext, condition: str, told: str) -> None:
    found = query(context, f"SELECT bill FROM data WHERE {condition}", put(context, "bills.csv", BILLS))
    assert found == "\n".join(["bill", *told.split()])


def test_a_query_that_speaks_of_case_minds_it_also_of_the_table_as_written(context: ToolContext) -> None:
    path = put(context, "t.csv", "item,price\nLamp,€19\nlamp,€5\n")
    sql = "SELECT price FROM data WHERE item <> upper(item) AND item = 'lamp' AND price = '€5'"
    assert query(context, sql, path) == "price\n€5"


def test_moments_are_compared_with_days_by_their_day(context: ToolContext) -> None:
    path = put(context, "t.csv", "moment,what\n2026-01-05 10:00,a\n2026-01-05 12:30,b\n2026-01-06 09:00,c\n")
    assert query(context, "SELECT what FROM data WHERE moment = '2026-01-05'", path) == "what\na\nb"
    between = "SELECT count(*) AS n FROM data WHERE moment BETWEEN '2026-01-05' AND '2026-01-06'"
    assert query(context, between, path) == "n\n3"
    assert query(context, "SELECT what FROM data WHERE moment > '2026-01-05 11:00'", path) == "what\nb\nc"


def test_a_column_may_lack_its_signs(context: ToolContext) -> None:
    path = put(context, "t.csv", "who,paid by,Qty.,Unit Price ($)\na,b,2,3\n")
    assert query(context, "SELECT paid_by, Qty * Unit_Price AS p FROM data", path) == "paid by | p\nb | 6"


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        (
            "SELECT category, MAX(amount) FROM data",
            "For the row with the largest: SELECT",
        ),
        ("SELECT category FROM data WHERE amount = MAX(amount)", "write ORDER BY its column DESC LIMIT 1"),
    ],
)
def test_who_asks_for_the_largest_in_vain_is_told_how(context: ToolContext, sql: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        query(context, sql, put(context, "costs.csv", COSTS))


@pytest.mark.parametrize(
    ("text", "sql", "told"),
    [
        # A look into the text of one column leaves the others what they are.
        (
            "date,price\n3 March 2026,$9.00\n5 March 2026,$100.00\n7 April 2026,$7.00\n",
            "SELECT max(price) AS m, sum(price) AS s FROM data WHERE date LIKE '%March%'",
            "m | s\n100 | 109\nprice is in $.",
        ),
        (
            "date,price\n3 March 2026,$9.00\n5 March 2026,$100.00\nTotal,$109.00\n",
            "SELECT price FROM data WHERE date LIKE '%March%' ORDER BY price DESC",
            "price\n$100\n$9\nThe last line, Total, is left out.",
        ),
        # Where the texts of all are asked for, that is said beside an order.
        (
            "item,price\nTea,$9.00\nPot,$100.00\n",
            "SELECT item FROM data WHERE price LIKE '$%' ORDER BY price DESC",
            "item\nTea\nPot\nCells are compared as the texts that the file has.",
        ),
        ("name,street\nAnna,Lower Road\n", "SELECT name FROM data WHERE street = 'lower road'", "name\nAnna"),
        (
            "name,upper limit\nAnna,5\n",
            "SELECT name FROM data WHERE name = 'anna' AND \"upper limit\" > 3",
            "name\nAnna",
        ),
        # A header that leaves its last columns without names is no title.
        ("city,\nParis,France\nRome,Italy\n", "SELECT count(*) AS n, max(city) AS m FROM data", "n | m\n2 | Rome"),
        ("name,,\nAnna,3,4\nBen,5,6\n", "SELECT count(name) AS n FROM data", "n\n2"),
        ("Takings in May,,\nname,price,n\nTea,9,1\n", "SELECT name, price FROM data", "name | price\nTea | 9"),
        ("Takings,,\nname,price,n\nTea,9,1\n", "SELECT name, price FROM data", "name | price\nTea | 9"),
        # The signs of those who lost something.
        ("item,gain\na,-$5\nb,$20\n", "SELECT max(gain) AS m, sum(gain) AS s FROM t", "m | s\n20 | 15\ngain is in $."),
        ("item,gain\na,($5)\nb,$20\n", "SELECT sum(gain) AS s FROM data", "s\n15\ngain is in $."),
        ("item,step\na,(5)\nb,(20)\n", "SELECT item FROM data WHERE step = '(5)'", "item\na"),
        # Days.
        ("d,n\n2026-03-03,1\n2026-05-04,2\n", "SELECT n FROM data WHERE d LIKE '%March%'", "n\n1"),
        (
            "d,note\n2026-05-01,x\n2026-06-01,March 5 2026\n",
            "SELECT note FROM data WHERE d = '1 May 2026' OR note = 'March 5 2026'",
            "note\nx\nMarch 5 2026",
        ),
        ("d,n\n2026-05-01,1\n2026-06-01,2\n", "SELECT n FROM data WHERE d IN ('1 May 2026', '2 May 2026')", "n\n1"),
        ("d,n\n2026-02-28,1\n2026-06-01,2\n", "SELECT n FROM t WHERE d BETWEEN '2026-02-01' AND '2026-02-30'", "n\n1"),
        (
            "t,n\n2026-03-01 10:00:00,1\n2026-03-02 10:00:00,2\n",
            "SELECT n FROM data WHERE t NOT BETWEEN '2026-03-01' AND '2026-03-01'",
            "n\n2",
        ),
        # Columns in the quotes of texts.
        (
            "a,b,c\nx,1,p\nx,2,p\ny,5,q\n",
            "SELECT 'a', sum(b) AS s FROM data GROUP BY 'a', 'c' ORDER BY 'a'",
            "a | s\nx | 3\ny | 5",
        ),
        # A total whose price is the average is one all the same.
        ("item,qty,price\nTea,1,4\nPot,2,5\nTotal,3,4.5\n", "SELECT sum(qty) AS s FROM data",
         "s\n3\nThe last line, Total, is left out."),
        ("item,qty,price\nTea,1,4\nPot,2,5\nCup,3,5\nTotal,6,4.8\n", "SELECT max(qty) AS m FROM data",
         "m\n6\nThe last line, Total, counts as a row."),
    ],
)  # fmt: skip
def test_what_a_query_says_of_one_column_changes_no_other(context: ToolContext, text: str, sql: str, told: str) -> None:
    assert query(context, sql, put(context, "t.csv", text)) == told


def test_a_month_is_named_by_three_letters_at_least(context: ToolContext) -> None:
    path = put(context, "t.csv", "d,n\n2026-03-03,1\n2026-05-04,2\n")
    assert query(context, "SELECT n FROM data WHERE month(d) = 'Mar'", path) == "n\n1"
    with pytest.raises(ToolError):
        query(context, "SELECT n FROM data WHERE month(d) = 'm'", path)


def test_of_a_very_wide_table_the_columns_that_are_not_shown_are_told(context: ToolContext) -> None:
    path = put(context, "wide.csv", ",".join(f"c{n}" for n in range(120)) + "\n" + ",".join(["1"] * 120) + "\n")
    told = query(context, "SELECT * FROM data", path)
    assert told.endswith("... and 20 more columns; SELECT the ones that are wanted by name.")
    assert query(context, "SELECT c119 FROM data", path) == "c119\n1"


@pytest.mark.parametrize(
    ("ends", "left_out"),
    [
        ("Total,10\nAverage,2.5\n", "lines, Total and Average, are"),
        ("Mean,2.5\n", "line, Mean, is"),
        ("Total,10\n", "line, Total, is"),
    ],
)
def test_totals_and_averages_at_the_end_are_no_rows(context: ToolContext, ends: str, left_out: str) -> None:
    path = put(context, "t.csv", f"name,n\nA,1\nB,2\nC,3\nD,4\n{ends}")
    assert query(context, "SELECT name FROM data ORDER BY n DESC LIMIT 1", path).startswith("name\nD\n")
    assert query(context, "SELECT sum(n) AS n FROM data", path) == f"n\n10\nThe last {left_out} left out."


@pytest.mark.parametrize(
    "table",
    [
        "A,1\nB,2\nC,3\nD,4\nAverage Joe,7\n",
        "A,1\nB,2\nC,3\nD,4\nTotal,9\nAverage,2.5\n",
        "Good,8\nBad,12\nAverage,10\n",
        "A,0.012\nB,0.002\nC,0.007\nAverage,0.004\n",
        "Red,30\nBlue,50\nGreen,40\nAverage Joes,40\n",
    ],
)
def test_what_is_called_like_an_average_and_is_none_stays(context: ToolContext, table: str) -> None:
    path = put(context, "t.csv", f"name,n\n{table}")
    assert "left out" not in query(context, "SELECT sum(n) AS n FROM data", path)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT sum(2024) AS n FROM data", "n\n14"),
        ("SELECT product, 2024 FROM data WHERE 2024 > 6", "product | 2024\nB | 8"),
        ("SELECT 2023, 2024 FROM data WHERE product = 'A'", "2023 | 2024\n5 | 6"),
        ("SELECT product FROM data ORDER BY 2024 DESC LIMIT 1", "product\nB"),
        ('SELECT product FROM data WHERE "2023" IN (5, 2024)', "product\nA"),
        ('SELECT product FROM data WHERE 2020 + "2023" BETWEEN 2023 AND 2026', "product\nA"),
    ],
)
def test_a_year_that_is_a_column_is_meant_as_one(context: ToolContext, sql: str, told: str) -> None:
    assert query(context, sql, put(context, "t.csv", "product,2023,2024\nA,5,6\nB,7,8\n")) == told


@pytest.mark.parametrize(
    ("where", "n"),
    [
        ("at IN ('2026-01-05', '2026-01-06')", 3),
        ("at NOT IN ('2026-01-05')", 6),
        ("at <> '2026-01-05'", 6),
        ("at != '2026-01-06'", 5),
    ],
)
def test_a_day_is_all_of_it_where_a_column_has_times(context: ToolContext, where: str, n: int) -> None:
    table = "at,n\n2026-01-05 10:00:00,1\n2026-01-06 11:00:00,2\n2026-01-07 12:00:00,4\n"
    assert query(context, f"SELECT sum(n) AS n FROM data WHERE {where}", put(context, "t.csv", table)) == f"n\n{n}"
