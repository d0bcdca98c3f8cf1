"""Tables in files: the queries that work, those that are helped, and those that must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest
from llguidance import LLMatcher, LLTokenizer

from umi_local.toolbox import Approval, LocalToolbox, ToolContext, ToolError, Workspace, policy_of
from umi_local.toolbox.csv_text import in_sql
from umi_local.tools.table_schema import named_tables
from umi_local.tools.tables import query_table

COLUMNS = "The table is called data. Its columns are: item (VARCHAR), price (DOUBLE), sold on (DATE)."


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    root = tmp_path / "workspace"
    (root / "old").mkdir(parents=True)
    (root / "sales.csv").write_text(
        "item,price,sold on\nlamp,19.5,2024-01-05\nchair,49,2024-01-06\nlamp,20.5,2024-02-01\n", encoding="utf-8"
    )
    (root / "other.csv").write_text("a\n1\n", encoding="utf-8")
    (tmp_path / "outside.csv").write_text("secret\nopen-sesame\n", encoding="utf-8")
    return ToolContext(Workspace(root), tmp_path / "notes.md")


def query(context: ToolContext, sql: str, path: str = "sales.csv") -> str:
    text: str = query_table.call(context, query_table.validate({"path": path, "sql": sql}))
    return text


def put(context: ToolContext, name: str, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    (context.workspace.root / name).write_bytes(data)
    return name


def test_rows_come_as_a_small_table_with_a_header(context: ToolContext) -> None:
    told = query(context, "SELECT item, sum(price) AS total FROM data GROUP BY item ORDER BY total;")
    assert told == "item | total\nlamp | 40\nchair | 49"


@pytest.mark.parametrize(
    "name", ["data", "DATA", "sales", "sales.csv", '"sales.csv"', "'sales.csv'", "`sales`", "table"]
)
def test_the_table_answers_to_several_names(context: ToolContext, name: str) -> None:
    assert query(context, f"SELECT count(*) AS n FROM {name}") == "n\n3"


def test_a_path_with_a_folder_and_a_dash_may_stand_for_the_table(context: ToolContext) -> None:
    path = put(context, "old/sales-2023.csv", "v\n5\n7\n")
    assert query(context, "SELECT sum(v) AS s FROM old/sales-2023.csv", path) == "s\n12"
    assert query(context, "SELECT sum(v) AS s FROM sales-2023", path) == "s\n12"


def test_a_column_of_several_words_may_stand_without_quotes(context: ToolContext) -> None:
    assert (
        query(context, "SELECT sold on FROM data WHERE item ILIKE 'sold on chair' OR price = 49")
        == "sold on\n2024-01-06"
    )
    assert query(context, 'SELECT "sold on" FROM sales.csv LIMIT 1') == "sold on\n2024-01-05"


@pytest.mark.parametrize(
    ("sql", "fits"),
    [
        ("SELECT item, sum(price) FROM data GROUP BY item ORDER BY sum(price) DESC LIMIT 1", True),
        ("SELECT count(*) FROM data WHERE item ILIKE '%lamp%' AND price >= 19.5", True),
        ("SELECT * FROM data WHERE \"sold on\" BETWEEN '2024-01-01' AND '2024-01-31'", True),
        ("SELECT product FROM data", False),
        ("SELECT price_each FROM data", False),
        ("SELECT sold on FROM data WHERE sold on > '2024-01-05'", True),
        ("SELECT item FROM data WHERE FALSE ILIKE 'lamp'", False),
        ("SELECT item, price > 20 = TRUE FROM data WHERE price IS NOT NULL AND (price > 20) IS FALSE", True),
        ("SELECT count(*) FROM data WHERE ", False),
        ("SELECT sum(count) FROM data", False),
        ("SELECT round(avg('price'), 2) FROM data", False),
        ("SELECT coalesce(item, 'none') FROM data", True),
        ("SELECT sum(ORDER BY 2 DESC LIMIT 1) FROM data", False),
        ("SELECT WHERE price > 1 FROM data", False),
        (
            "SELECT round(avg(price), 2), max(price) - min(price) FROM data WHERE NOT (item = 'it''s' OR price < -1)",
            True,
        ),
        ("SELECT count(DISTINCT item) FROM data", True),
        ("SELECT item FROM data WHERE price = (SELECT max(price) FROM data)", True),
        ("SELECT sum(CASE WHEN price > 20 THEN 1 ELSE 0 END) FROM data", True),
        ('SELECT DISTINCT year("sold on") FROM data ORDER BY year("sold on")', True),
    ],
)
def test_a_table_that_is_spoken_of_narrows_sql_to_its_columns(context: ToolContext, sql: str, fits: bool) -> None:
    schema = named_tables(context, "What does the lamp in `sales.csv` cost?", "")
    assert schema is not None
    properties = schema["properties"]
    assert properties["path"] == {"enum": ["sales.csv"]}
    assert bool(re.fullmatch(properties["sql"]["pattern"], sql)) is fits


@pytest.mark.parametrize(
    ("table", "answered"),
    [
        ("item,paid\nlamp,Yes\nchair,No\n", True),
        ("item,paid\r\nlamp,true\r\n\r\n", True),
        ('item;paid\n"lamp; old"; no\n', True),
        ("item,paid\nlamp,\nchair,No\n", False),
        ('item, paid\nlamp, ""\nchair, "No"\n', False),
        ("item,paid\nlamp,Yes\nchair\n", False),
        ("item,paid\nlamp,yes please\nchair,No\n", False),
        ('item,paid\nlamp,"open\n', False),
        pytest.param("item,paid\n" + "lamp,Yes\n" * 30_000, False, id="too long to look through"),
        pytest.param(f"item,paid\n{'x' * 140_000},Yes\n", False, id="a long cell"),
    ],
)
def test_a_column_of_yes_and_no_is_not_asked_for_null(context: ToolContext, table: str, answered: bool) -> None:
    schema = named_tables(context, put(context, "fees.csv", table), "")
    assert schema is not None
    pattern = schema["properties"]["sql"]["pattern"]
    for asked in (
        "SELECT item FROM data WHERE paid = 'No' AND (item = 'lamp') IS FALSE",
        "SELECT count(*) FROM data WHERE item IS NULL OR (paid <> 'x' AND item IS NOT NULL)",
        "SELECT sum(CASE WHEN paid = 'No' THEN 1 ELSE NULL END) FROM data WHERE item IS NULL",
        "SELECT item, count(*) FROM data WHERE (item) IS NOT NULL AND lower(item) IS NOT NULL",
    ):
        assert re.fullmatch(pattern, asked)
    for asked in ("SELECT item FROM data WHERE paid IS NULL", "SELECT item FROM data WHERE paid IS NOT NULL LIMIT 3"):
        assert bool(re.fullmatch(pattern, asked)) is not answered
    asked_for_gaps = named_tables(context, "fees.csv", "Where did somebody leave paid empty in fees.csv?")
    assert asked_for_gaps is not None
    assert re.fullmatch(asked_for_gaps["properties"]["sql"]["pattern"], "SELECT item FROM data WHERE paid IS NULL")


def test_of_two_tables_both_must_be_answered(context: ToolContext) -> None:
    put(context, "one.csv", "name,paid,ok\nAnn,yes,yes\n")
    put(context, "two.csv", "name,paid\nBob,\n")
    schema = named_tables(context, "one.csv and two.csv", "")
    assert schema is not None
    pattern = schema["properties"]["sql"]["pattern"]
    assert re.fullmatch(pattern, "SELECT name FROM data WHERE paid IS NULL")
    assert not re.fullmatch(pattern, "SELECT name FROM data WHERE ok IS NULL")
    put(context, "old one.csv", "other,columns\n1,2\n")
    assert named_tables(context, "Compare one.csv with old one.csv", "") is None


def test_several_tables_share_one_form_and_what_is_no_table_here_none(context: ToolContext) -> None:
    put(context, "old/costs.csv", "a,b\n1,2\n")
    both = named_tables(context, "Compare sales.csv with old/costs.csv", "")
    assert both is not None
    assert both["properties"]["path"] == {"enum": ["sales.csv", "old/costs.csv"]}
    assert named_tables(context, "other.csv, whose only column may be a title", "") is None
    assert named_tables(context, "sales, ghost.csv and ../outside.csv", "") is None
    put(context, "empty.csv", "")
    put(context, "wide.csv", ",".join(f"column_{i}" for i in range(2000)) + "\n1\n")
    assert named_tables(context, "empty.csv", "") is None
    assert named_tables(context, "wide.csv", "") is None
    put(context, "bare.csv", "1,Ann,2024-01-01\n2,Bob,2024-02-01\n")
    assert named_tables(context, "bare.csv", "") is None


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("item,Preis (€)", "x,1"), ("Temp °C;growth – net", "1;2"), ("a<b,c>d", "1,2"), ("order,group,left", "1,2,3"),
        ("Größe,Straße", "1,x"), ("size [cm],w^2 {x}", "1,2"), ("item\tprice each", "x\t2"), ('"a, b";"c"', "1;2"),
        ("Net $,x|y", "1,2"), ("it's,t-u", "1,2"), ("at,full", "1,2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_column_that_a_header_names_can_be_written_and_asked_for(
    context: ToolContext, header: str, row: str, encoding: str
) -> None:
    path = put(context, "odd.csv", f"{header}\r\n{row}\r\n".encode(encoding))
    schema = named_tables(context, path, "")
    assert schema is not None
    grammar = LLMatcher.grammar_from_lark(f"start: %json {json.dumps({'additionalProperties': False, **schema})}\n")
    columns, _ = context.workspace.columns(context.workspace.file(path))
    assert len(columns) > 1
    for column in columns:
        sql = f"SELECT {column} FROM data"
        call = json.dumps({"path": path, "sql": sql}, ensure_ascii=False, separators=(",", ":")).encode()
        matcher = LLMatcher(LLTokenizer("byte"), grammar)
        assert matcher.validate_tokens(list(call)) == len(call), matcher.get_error()
        assert "|" not in query(context, sql, path).splitlines()[1]


@pytest.mark.parametrize(
    "content",
    [
        "50% off?,x\n1,2\n", 'say "x,y\n1,2\n', "a|b\\d,e\n1,2\n", "Net$,#no\n1,2\n", "one\n1\n", "name,Name\n1,2\n",
        "Report, January\nname,age,city\nAnn,1,Rome\n", "true,Ann\nfalse,Bob\n", "name,qty\na,1,x\n",
        '"Net\nprice",item,qty\n1,2,3\n', "item,price\rx,1\r\0", "",
    ],
)  # fmt: skip
def test_a_first_line_that_may_be_something_else_narrows_nothing(context: ToolContext, content: str) -> None:
    path = put(context, "odd.csv", content)
    assert named_tables(context, path, "") is None
    assert "odd.csv" in context.workspace.overview()


def test_latin_1_is_read_as_the_database_reads_it(context: ToolContext) -> None:
    path = put(context, "old.csv", "Größe;Straße\n1;x\n".encode("latin-1"))
    assert context.workspace.columns(context.workspace.file(path)) == (["Größe", "Straße"], True)
    euros = put(context, "euros.csv", "Preis €;n\n1;2\n".encode("cp1252"))
    assert context.workspace.columns(context.workspace.file(euros)) == (['"Preis €"', "n"], True)
    assert query(context, "SELECT Größe FROM data", path) == "Größe\n1"


def test_no_word_of_sql_is_told_as_a_column_without_quotes() -> None:
    connection = duckdb.connect()
    for (word,) in connection.execute("SELECT DISTINCT keyword_name FROM duckdb_keywords()").fetchall():
        assert connection.execute(f'SELECT {in_sql(word)} FROM (SELECT 7 AS "{word}")').fetchall() == [(7,)], word


def test_a_query_about_a_letter_is_told_what_reads_it(context: ToolContext) -> None:
    put(context, "letter.txt", "Dear tenant,\nthe rent will be 940 from May on, 35 more than now.\n")
    with pytest.raises(ToolError, match=r"letter\.txt holds text and no table; read_file shows it"):
        query(context, "SELECT sum(rent) FROM data", "letter.txt")
    for table in ("item,price\nlamp,3\n", "item\nlamp\n", "How old are you this very day?\tname\n3\tAnn\n"):
        put(context, "list.txt", table)
        with pytest.raises(ToolError, match="columns are: "):
            query(context, "SELECT sum(rent) FROM data", "list.txt")


@pytest.mark.parametrize(
    "text",
    [
        "Query `old sales.csv` for price",
        "Compare stock.json with sales.csv",
        "ghost.csv and sales.csv",
        "sales.csv.gz",
        "../.. sales.csv",
        "latest.csv",
    ],
)
def test_where_another_table_may_be_meant_nothing_is_narrowed(context: ToolContext, text: str) -> None:
    put(context, "old sales.csv", "a,b\n1,2\n")
    put(context, "stock.json", '[{"a": 1}]')
    put(context, "2026.dat", "a,b\n1,2\n")
    (context.workspace.root / "latest.csv").symlink_to("2026.dat")
    assert named_tables(context, text, "") is None
    assert named_tables(context, "Use query_table to query sales.csv. Next: caller.", "") is not None


def test_of_a_table_that_a_rule_denies_nothing_is_told(context: ToolContext) -> None:
    tools = (query_table,)
    assert "query_table" in LocalToolbox(tools, context).narrowed("sales.csv", "")
    denied = Approval(policy_of(deny=["query_table(path=sales*)"]))
    assert LocalToolbox(tools, context, denied).narrowed("sales.csv", "") == {}


def test_a_text_in_double_quotes_is_taken_for_a_text(context: ToolContext) -> None:
    assert query(context, 'SELECT price FROM data WHERE item = "chair"') == "price\n49"


def test_a_column_in_double_quotes_stays_a_column(context: ToolContext) -> None:
    assert query(context, 'SELECT "sold on" FROM data WHERE price = 49') == "sold on\n2024-01-06"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DESCRIBE data", "column_name | column_type\nitem | VARCHAR\nprice | DOUBLE\nsold on | DATE"),
        ("WITH d AS (SELECT price FROM data) SELECT max(price) AS m FROM d", "m\n49"),
        ("FROM data SELECT item LIMIT 1 -- the first", "item\nlamp"),
        ("SELECT item FROM data LIMIT 1; -- done", "item\nlamp"),
        ("SELECT NULL AS n, 0.1 + 0.2 AS x, 'a\nb' AS t", "n | x | t\nNULL | 0.3 | a b"),
        ("SELECT 1.0::DOUBLE / 3 AS third", "third\n0.333333333333"),
        ("SELECT 'from sales' AS t", "t\nfrom sales"),
    ],
)
def test_other_forms_of_question_work(context: ToolContext, sql: str, told: str) -> None:
    assert query(context, sql) == told


def test_summarize_and_show_work(context: ToolContext) -> None:
    assert "price | DOUBLE | 19.5 | 49.0" in query(context, "SUMMARIZE data")
    assert "data" in query(context, "SHOW TABLES")


def test_a_long_result_is_cut_with_a_count_of_the_rest(context: ToolContext) -> None:
    lines = query(context, "SELECT * FROM range(73)").splitlines()
    assert (len(lines), lines[-1]) == (52, "... and 23 more rows.")


def test_a_long_cell_is_cut(context: ToolContext) -> None:
    assert query(context, "SELECT repeat('x', 5000) AS t") == "t\n" + "x" * 200 + "..."


def test_no_rows_are_told_with_the_columns(context: ToolContext) -> None:
    assert query(context, "SELECT * FROM data WHERE price > 99") == f"No rows match. {COLUMNS}"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT price FROM data WHERE \"sold to\" = 'chair'", "No rows match. chair is in the column item. "),
        (
            "SELECT count(*) FROM data WHERE \"sold to\" ILIKE '%Chair%'",
            "count_star()\n0\nChair is in the column item.",
        ),
        ("SELECT count(*) FROM data WHERE \"sold to\" = 'sofa'", "count_star()\n0\nThe column sold to holds Ada, Ben."),
        (
            "SELECT count(*) FROM data WHERE item = 'lamp' AND price > 90",
            "count_star()\n0\nText is compared as a whole;",
        ),
    ],
)
def test_a_text_that_is_looked_for_in_the_wrong_column_is_shown_in_the_right_one(
    context: ToolContext, sql: str, told: str
) -> None:
    path = put(context, "sold.csv", "item,price,sold to\nlamp,19.5,Ada\nchair,49,Ben\n")
    assert query(context, sql, path).startswith(told)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("item FROM data WHERE paid IS NULL", "No rows match. The column paid holds No, Yes. The table "),
        ("sum(price) FROM data WHERE paid='' AND item='lamp'", "sum(price)\nNULL\nThe column paid holds No, Yes."),
        (
            "item FROM data WHERE item = 'a ''paid = ''x' OR \"sent to\" ILIKE '%Bonn%'",
            "No rows match. The column sent to holds Jena, Ulm. The table ",
        ),
        ("item FROM data WHERE paid = 'NO' AND price > 99", "No rows match. Text"),
        ("item FROM data WHERE \"sent to\" ILIKE '%jen%' AND price > 99", "No rows match. The table "),
        ("item FROM data WHERE \"sent to\" IS NULL AND paid = 'No' AND price > 99", "No rows match. Text"),
        ("item FROM data WHERE date paid = '2023-01-01' AND price > 99", "No rows match. Text"),
        ("sum(paid) FROM data WHERE paid IS NULL", "sum(paid)\nNULL"),
        ("item FROM data WHERE name = 'O''Neil' AND price > 99", "No rows match. Text"),
        ("item FROM data WHERE item = 'sofa'", "No rows match. Text"),  # of many values
        ("item FROM data WHERE remark = 'sofa'", "No rows match. Text"),  # of long ones
        ("item FROM data WHERE \"unsent to\" = 'x'", "No rows match. The column unsent to holds Brest. The table "),
        (
            "item FROM data WHERE paid = 'x' OR \"sent to\" = 'x' OR \"unsent to\" = 'x'",
            "No rows match. The column paid holds No, Yes. The column sent to holds Jena, Ulm. The table ",
        ),
    ],
)
def test_a_column_of_few_values_that_was_asked_for_another_tells_them(
    context: ToolContext, sql: str, told: str
) -> None:
    others = [("Yes", "Ulm"), ("No", "Jena"), ("Yes", ""), ("No", "")]
    rows = "".join(f"lamp {i},{i},{','.join(others[i % 4])},Brest,O'Neil,2024-01-01,{'long ' * 20}\n" for i in range(9))
    path = put(context, "sent.csv", f"item,price,paid,sent to,unsent to,name,date paid,remark\n{rows}")
    assert query(context, f"SELECT {sql}", path).startswith(told)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("count(*) FROM data WHERE voice ILIKE 'sopranos'", "count_star()\n2\nsopranos is Soprano in the table."),
        (
            "name FROM data WHERE voice='Basses' AND sings ILIKE '%hymn%'",
            "name\nBen\nBasses is Bass in the table.",
        ),
        ("count(*) FROM data WHERE voice = 'Melodies' OR voice = 'Melodys'", "count_star()\n1\nMelodies is Melody"),
        ("count(*) FROM data WHERE voice = 'Sopra'", "count_star()\n0\nThe column voice holds Bass, Melody, Soprano."),
        ("name FROM data WHERE voice = 'basses' AND name = 'Ann'", "No rows match. The column voice holds"),
    ],
)
def test_a_word_may_stand_in_another_number_than_in_its_column(context: ToolContext, sql: str, told: str) -> None:
    rows = "Ann,Soprano,hymns\nBen,Bass,hymns\nCid,Soprano,songs\nDot,Melody,songs\n"
    path = put(context, "choir.csv", f"name,voice,sings\n{rows}")
    assert query(context, f"SELECT {sql}", path).startswith(told)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("sum(amount) AS s FROM data WHERE status = 'open'", "s\n110"),
        ("count(*) AS n FROM data WHERE status IN ('OPEN', 'Paid')", "n\n3"),
        ("count(*) AS n FROM data WHERE status != 'OPEN' AND status LIKE '%AI%'", "n\n1"),
        ("count(DISTINCT status) AS n FROM data", "n\n2"),
        ("sum(CASE WHEN status = 'open' THEN 1 ELSE 0 END) AS n FROM data", "n\n2"),
        ("max(amount) AS m FROM data GROUP BY status ORDER BY m", "m\n9\n80"),
    ],
)
def test_texts_do_not_mind_their_case(context: ToolContext, sql: str, told: str) -> None:
    path = put(context, "bills.csv", "status,amount\nOpen,30\nopen,80\npaid,9\n")
    assert query(context, f"SELECT {sql}", path) == told


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("SELECT cost FROM data", "There is no column cost."),
        ("SELECT * FROM customers", "Table with name customers does not exist"),
        ("SELEC price", "syntax error"),
        ("SELECT sum(item) FROM data", "No function matches"),
        ("", "Only a single SELECT"),
    ],
)
def test_a_mistake_is_told_in_a_line_with_the_columns(context: ToolContext, sql: str, part: str) -> None:
    with pytest.raises(ToolError) as raised:
        query(context, sql)
    assert part in str(raised.value)
    assert str(raised.value).endswith(COLUMNS)
    assert "\n" not in str(raised.value)


# --- file formats


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "a\tb\n1\tx\n2\ty\n"),
        ("semicolons.csv", "a;b\n1;x\n2;y\n"),
        ("t.txt", "a,b\n1,x\n2,y\n"),
        ("title.csv", "Report for January\n\na,b\n1,x\n2,y\n"),
        ("t.json", json.dumps([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])),
        ("t.jsonl", '{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
        ("t[1].csv", "a,b\n1,x\n2,y\n"),
        ("w*.CSV", "a,b\n1,x\n2,y\n"),
    ],
)
def test_formats_are_read_by_their_suffix(context: ToolContext, name: str, content: str) -> None:
    put(context, "t1.csv", "a,b\n9,z\n")  # the pattern t[1].csv would match it
    put(context, "w1.CSV", "a,b\n9,z\n")
    assert query(context, "SELECT * FROM data ORDER BY a", put(context, name, content)) == "a | b\n1 | x\n2 | y"


def test_parquet_is_read(context: ToolContext) -> None:
    import duckdb

    target = context.workspace.root / "t.parquet"
    duckdb.connect().execute(f"COPY (SELECT 7 AS seven) TO '{target}' (FORMAT parquet)")
    assert query(context, "SELECT * FROM t", "t.parquet") == "seven\n7"


def test_times_with_a_zone_are_shown(context: ToolContext) -> None:
    path = put(context, "t.csv", "moment\n2024-01-05T10:00:00Z\n")
    assert query(context, "SELECT moment FROM data", path) == "moment\n2024-01-05 10:00:00+00"


def test_rows_of_different_length_are_kept(context: ToolContext) -> None:
    path = put(context, "ragged.csv", "a,b,c\n1,2,3\n4,5\n")
    assert query(context, "SELECT * FROM data", path) == "a | b | c\n1 | 2 | 3\n4 | 5 | NULL"


def test_a_column_that_turns_into_text_late_is_kept(context: ToolContext) -> None:
    path = put(context, "late.csv", "a,b\n" + "1,2\n" * 30_000 + "x,3\n")
    assert query(context, "SELECT count(*) AS n, max(a) AS m FROM data", path) == "n | m\n30001 | x"


def test_old_western_encodings_are_read(context: ToolContext) -> None:
    path = put(context, "latin.csv", "name,n\nJosé,1\n".encode("latin-1"))
    assert query(context, "SELECT name FROM data", path) == "name\nJosé"


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("picture.png", b"\x89PNG", "is no table; query_table reads CSV"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("broken.json", b"{not json", "Malformed JSON"),
        ("broken.parquet", b"PAR1 no PAR1 at all", "Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused(context: ToolContext, name: str, content: bytes, part: str) -> None:
    with pytest.raises(ToolError) as raised:
        query(context, "SELECT * FROM data", put(context, name, content))
    assert part.lower() in str(raised.value).lower()
    assert str(context.workspace.root) not in str(raised.value)


def test_a_bad_row_is_named_with_its_line(context: ToolContext) -> None:
    path = put(context, "bad.csv", "a,b\n" + "1,2\n" * 3000 + "3,4,5\n")
    with pytest.raises(ToolError, match=r"Line: 3002.*Expected Number of Columns: 2 Found: 3"):
        query(context, "SELECT * FROM data", path)


# --- what must not work


@pytest.mark.parametrize(
    "sql",
    [
        "COPY data TO '{out}/x.csv'",
        "COPY (SELECT 1) TO '{out}/x.csv'",
        "EXPORT DATABASE '{out}/x'",
        "ATTACH '{out}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO data VALUES ('x', 1, NULL)",
        "DELETE FROM data",
        "DROP TABLE data",
        "SELECT 1; COPY data TO '{out}/x.csv'",
        "WITH x AS (SELECT 1) INSERT INTO data SELECT 'x', 1, NULL FROM x",
        "EXPLAIN ANALYZE SELECT 1",
    ],
)
def test_only_a_single_question_is_run(context: ToolContext, sql: str) -> None:
    outside = context.workspace.root.parent
    before = sorted(outside.rglob("*"))
    with pytest.raises(ToolError, match="Only a single SELECT"):
        query(context, sql.format(out=outside))
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize(
    "source",
    [
        "'{out}/outside.csv'",
        "read_csv('{out}/outside.csv')",
        "read_text('{out}/outside.csv')",
        "read_blob('/etc/hostname')",
        "read_json_auto('{out}/outside.csv')",
        "read_parquet('{out}/*')",
        "glob('{out}/*')",
        "sniff_csv('{out}/outside.csv')",
        "'{out}/*.csv'",
        "'other.csv'",
        "other.csv",
        "read_csv('source.csv')",
        "'http://127.0.0.1:1/x.csv'",
        "query('COPY data TO ''{out}/x.csv''')",
        "(SELECT * FROM read_csv('{out}/outside.csv'))",
    ],
)
def test_no_question_reads_another_file(context: ToolContext, source: str) -> None:
    outside = context.workspace.root.parent
    before = sorted(outside.rglob("*"))
    with pytest.raises(ToolError) as raised:
        query(context, f"SELECT * FROM {source.format(out=outside)}")
    assert "open-sesame" not in str(raised.value)
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("path", ["../outside.csv", "link.csv"])
def test_no_path_reads_outside_the_workspace(context: ToolContext, path: str) -> None:
    (context.workspace.root / "link.csv").symlink_to(context.workspace.root.parent / "outside.csv")
    with pytest.raises(ToolError, match="lies outside the workspace"):
        query(context, "SELECT * FROM data", path)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 4000000000)",
        "SELECT list_sum(range(3000000000))",
        "SELECT list(range) FROM range(500000000)",
    ],
)
def test_a_question_that_needs_too_much_memory_ends_alone(context: ToolContext, sql: str) -> None:
    with pytest.raises(ToolError, match="too much memory"):
        query(context, sql)


def test_a_question_that_takes_too_long_is_stopped(context: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from umi_local.toolbox.sandbox import Limits
    from umi_local.tools import tables

    monkeypatch.setattr(tables, "LIMITS", Limits(wall_seconds=1.5, memory_bytes=3 << 30))
    with pytest.raises(ToolError, match=r"took longer than 1\.5 seconds"):
        query(context, "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT name FROM data WHERE paid ILIKE 'YES'", "name\nAnn\nCid"),
        ("SELECT name FROM data WHERE paid = 'yes'", "name\nAnn\nCid"),
        ("SELECT name, paid FROM data WHERE NOT ok", "name | paid\nBob | No"),
        ("SELECT name FROM data WHERE paid <> 'yes'", "name\nBob"),
        ("SELECT count(*) AS n FROM data WHERE paid = TRUE", "n\n2"),
        ("SELECT count(*) AS n FROM data WHERE paid", "n\n2"),
        ("SELECT sum(paid) AS n FROM data", "n\n2"),
        ("SELECT count(*) AS n FROM data WHERE paid = 1", "n\n2"),
        (
            "SELECT sum(paid) AS n FROM data WHERE name = 'yes'",
            "n\nNULL\nThe column name holds Ann, Bob, Cid.",
        ),
    ],
)
def test_yes_and_no_stay_words_and_are_truths_where_those_are_wanted(context: ToolContext, sql: str, told: str) -> None:
    path = put(context, "fees.csv", "name,paid,ok\nAnn,Yes,true\nBob,No,false\nCid,Yes,true\n")
    assert query(context, sql, path) == told


def test_a_table_of_words_alone_keeps_its_header_and_an_error_its_sentence(context: ToolContext) -> None:
    path = put(context, "guests.csv", "guest,comes\nAnn,yes\nBob,no\n")
    assert query(context, "SELECT comes FROM data WHERE guest = 'Bob'", path) == "comes\nno"
    with pytest.raises(ToolError, match="missing"):
        query(context, "SELECT missing FROM data", path)
