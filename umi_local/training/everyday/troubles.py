"""Requests in which a tool reports an error: recovered from where that is possible, told honestly where it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

from umi_local.toolbox.csv_text import in_sql
from umi_local.training.everyday.asked import Asked, asked
from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.dates import amount, spelled
from umi_local.training.everyday.files import add_folder, files_hit, joined, listing, reading, searching
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.table_files import add_table, schemas
from umi_local.training.everyday.tables import question_about, question_move, reported, table_mention
from umi_local.training.everyday.texts import add_text
from umi_local.training.everyday.units import conversion_move, dimensions, measure_pair, measured
from umi_local.training.everyday.values import pick, value, words


def troubles(scene: Scene) -> Ask:
    """A request that does not go smoothly."""
    kinds = [_no_unit, _zero, _no_date, _no_place, _a_folder, _no_folder, _shorter]
    often = [_wrong_name, _missing, _wrong_column, _wrong_label, _wrong_place, _wrong_value, _no_such_value]
    kinds += often * 2  # what people meet most often
    return scene.rng.choice(kinds)(scene)


def _wrong_name(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "wrong_name")
    while True:
        text = add_text(scene)
        folder = scene.root / "workspace" / text.path.rpartition("/")[0]
        if text.path in _seen(scene, text.path) or len(list(folder.iterdir())) > 30:
            break
    fact = rng.choice([fact for fact in text.facts if fact.key] or text.facts)
    wrong = _misspelt(rng, text.path)
    reads = lines_of("files", "read")
    slots = {"k": fact.key, "q": fact.question, "Q": upper_first(fact.question), "f": wrong}
    query = ask(rng, reads["key" if fact.key else "said"], **slots)
    answer = say(rng, lines["answers"], p=wrong, r=text.path, a=fact.answer)
    return Ask("troubles", query, [reading(wrong), reading(text.path)], lambda _: answer)


def _seen(scene: Scene, path: str) -> list[str]:
    """The paths that the error for a missing neighbour of `path` would list."""
    folder = (scene.root / "workspace" / path).parent
    names = sorted(entry.name for entry in folder.iterdir())[:12]
    return [f"{path.rpartition('/')[0]}/{name}".lstrip("/") for name in names]


def _misspelt(rng: Random, path: str) -> str:
    """A path that is nearly the right one."""
    stem, _, end = path.rpartition(".")
    other = {"txt": "md", "md": "txt"}[end]
    ways = [f"{stem}.{other}", f"{stem}s.{end}", f"{stem}_old.{end}", f"{stem[:-1]}.{end}", f"{stem}.{other}"]
    if "_" in stem:
        ways.append(f"{stem.replace('_', '-')}.{end}")
    return rng.choice(ways)


def _missing(scene: Scene) -> Ask:
    """A file that is not there, and nothing like it."""
    rng, lines = scene.rng, lines_of("troubles", "missing")
    stem = rng.choice(words("ghost"))
    if rng.random() < 0.6:
        path = f"{stem}.{rng.choice(('txt', 'md', 'md', 'txt', 'log'))}"
        query = ask(rng, lines["read"], p=path, k=rng.choice(words("detail")))
        move = reading(path)
    else:
        path, column = (
            f"{stem}.{rng.choice(('csv', 'csv', 'json'))}",
            rng.choice(("price", "amount", "score", "cost", "hours")),
        )
        template = rng.choice(lines["table"])
        query = ask(rng, [template], p=path, c=column)
        sql = f"SELECT sum({column}) FROM data"
        for word, function in (("average", "avg"), ("rows", "count"), ("highest", "max"), ("smallest", "min")):
            if word in template.lower():
                sql = "SELECT count(*) FROM data" if function == "count" else f"SELECT {function}({column}) FROM data"
        move = Move("query_table", {"path": path, "sql": sql})
    return _hopeless(query, move, say(rng, lines["answers"], p=path))


def _hopeless(query: str, move: Move, answer: str) -> Ask:
    """A request whose one step fails, of which the answer tells."""
    return Ask("troubles", query, [move], lambda _: answer)


def _no_unit(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "unit")
    one, other = rng.sample(list(dimensions()), 2)
    value, unknown = measured(rng, one), rng.random() < 0.5
    source = rng.choice(lines["units"]) if unknown else measure_pair(rng, one)[0]
    target = measure_pair(rng, other)[0]
    if {"pressure", "duration", "power"} & {one, other} and not unknown:
        source, target = "kilograms", "miles"
    query = ask(rng, lines_of("units", "any")["queries"], v=value, s=source, t=target, first=pick(rng, "first"))
    answer = upper_first(say(rng, lines["unknown" if unknown else "apart"], s=source, t=target))
    return _hopeless(query, conversion_move(value, source, target), answer)


def _zero(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "zero")
    a, b = rng.randint(2, 900), rng.randint(2, 90)
    query = ask(rng, lines["queries"], a=a, b=b)
    expression = f"{a} / ({b} - {b})" if "-" in query else f"{a} / 0"
    return _hopeless(query, sum_move(expression), say(rng, lines["answers"]))


def _no_date(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "date")
    year = rng.randint(2021, 2028)
    month, last = rng.choice(((2, 30), (2, 31), (4, 31), (6, 31), (9, 31), (11, 31), (13, 5), (2, 30)))
    wrong = f"{year}-{month:02d}-{last:02d}"
    if rng.random() < 0.5:
        right = f"{year}-12-{rng.randint(1, 28):02d}"
        query = ask(rng, lines["difference"], a=wrong, b=right)
        move = Move("date_difference", {"start": wrong, "end": right})
    else:
        unit, count = amount(rng)
        query = ask(rng, lines["add"], a=wrong, n=spelled(rng, unit, count))
        move = Move("add_to_date", {"date": wrong, unit: count})
    return _hopeless(query, move, say(rng, lines["answers"], a=wrong))


def _no_place(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "place")
    place = rng.choice(lines["places"])
    query = ask(rng, lines_of("dates", "clock")["city"], z=place, first=pick(rng, "first"))
    return _hopeless(query, Move("current_time", {"timezone": place}), say(rng, lines["answers"], z=place))


def _a_folder(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "folder")
    folder = add_folder(scene)

    def close(seen: Sequence[str]) -> str:
        names = joined([line.partition(" (")[0] for line in seen[-1].splitlines()])
        return say(rng, lines["answers"], d=folder, v=names)

    return Ask("troubles", ask(rng, lines["queries"], d=folder), [reading(folder), listing(folder)], close)


def _no_folder(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "folder")
    folder = rng.choice(words("ghost")).replace("_", "-")
    query = ask(rng, lines_of("files", "list")["sub"], d=folder)
    return _hopeless(query, listing(folder), say(rng, lines["no_folder"], d=folder))


def _wrong_column(scene: Scene) -> Ask:
    """A table whose columns are not known beforehand, asked about in other words than its own."""
    rng = scene.rng
    called = dict(entry.split() for entry in lines_of("troubles", "column")["called"])
    while True:
        table = add_table(scene, kind="json")
        question = (
            question_about(rng, table, rng.choice(("sum", "avg", "most", "least", "sum"))) if table.numbers else None
        )
        if question and question.column in called and called[question.column] not in table.columns:
            break
    column = question.column
    wrong = called[column]
    asked = {**question.slots, "c": wrong}
    query = ask(rng, question.queries, f=table_mention(rng, table.path), **asked)
    first = Move("query_table", {"path": table.path, "sql": re.sub(rf"\b{column}\b", wrong, question.sql)})
    moves = [first, question_move(table, question)]
    return Ask("troubles", query, moves, lambda seen: reported(rng, table, question, seen[-1]), untaught=0)


def _wrong_label(scene: Scene) -> Ask:
    """A table of unknown columns in which the rows are named by a column that is not called as the rows are."""
    rng = scene.rng
    while True:
        table = add_table(scene, kind="json")
        label, guess = table.label, table.row.replace(" ", "_")
        if table.numbers and label != guess and guess not in table.columns:
            break
    while True:
        question = question_about(rng, table, rng.choice(("most", "least", "top")))
        if question.sql.startswith(f"SELECT {label},"):  # a row with all its columns needs no name
            break
    query = ask(rng, question.queries, f=table_mention(rng, table.path), **question.slots)
    first = Move("query_table", {"path": table.path, "sql": question.sql.replace(label, guess, 1)})
    moves = [first, question_move(table, question)]
    return Ask("troubles", query, moves, lambda seen: reported(rng, table, question, seen[-1]), untaught=0)


def _wrong_place(scene: Scene) -> Ask:
    """A value that is looked for in another column than its own, which the tool's answer tells."""
    rng = scene.rng
    while True:
        table = add_table(scene)
        question = question_about(rng, table, rng.choice(("where_count", "which"))) if table.categories else None
        wanted = question.slots["w"] if question else ""
        texts = [name for name in table.texts if wanted.lower() not in map(str.lower, table.column(name))]
        if question and texts:
            break
    wrong = re.sub(r"(?<=WHERE ).*?(?= ILIKE)", lambda _: in_sql(rng.choice(texts)), question.sql)
    query = ask(
        rng,
        [line for line in question.queries if "{k}" not in line],
        f=table_mention(rng, table.path),
        **question.slots,
    )
    first = Move("query_table", {"path": table.path, "sql": wrong})
    moves = [first, question_move(table, question)]
    return Ask("troubles", query, moves, lambda seen: reported(rng, table, question, seen[-1]), untaught=0)


_YES_OR_NO = re.compile(r"(?<= = ')(?:yes|no)(?=')")


def _takes_yes_or_no(question: Asked) -> bool:
    """Whether it compares one column with yes or no."""
    return len(_YES_OR_NO.findall(question.sql)) == 1


@cache
def _schemas_of_yes_and_no() -> list[str]:
    return [name for name, questions in asked().items() if any(map(_takes_yes_or_no, questions))]


_OPEN = ("first", "country", "project", "colour")  # of whose values a table has only a few


@cache
def _schemas_with_open_values() -> list[str]:
    return [
        name
        for name, (_, _, _, *others) in schemas().items()
        if any(each.partition(":")[2] in _OPEN for each in others)
    ]


def _no_such_value(scene: Scene) -> Ask:
    """A value that is in no row, whatever else its column holds."""
    rng = scene.rng
    while True:
        table = add_table(scene, name=rng.choice(_schemas_with_open_values()))
        columns = [name for name in table.categories if table.kinds[table.columns.index(name)] in _OPEN]
        if columns:
            break
    column = rng.choice(columns)
    held, other = set(table.column(column)), ""
    while not other or other in held:
        other = value(rng, table.kinds[table.columns.index(column)])
    while True:
        question = question_about(rng, table, rng.choice(("where_count", "which")))
        if f" {in_sql(column)} ILIKE " in question.sql:
            break
    query = ask(rng, question.queries, f=table_mention(rng, table.path), **{**question.slots, "w": other})
    sql = re.sub(r"(?<= ILIKE ')[^']*", other, question.sql)
    answer = say(rng, lines_of("tables", "none")["answers"], f=table.path)
    return Ask("troubles", query, [Move("query_table", {"path": table.path, "sql": sql})], lambda _: answer)


def _wrong_value(scene: Scene) -> Ask:
    """A column of yes and no that is compared with another word, until the tool's answer tells what it holds."""
    rng = scene.rng
    while True:  # a column may have been left out, and with it the question
        table = add_table(scene, name=rng.choice(_schemas_of_yes_and_no()))
        asked_for = [
            question for question in asked()[table.schema] if _takes_yes_or_no(question) and question.fits(table)
        ]
        if asked_for:
            break
    question = rng.choice(asked_for).of(rng, table)
    (marked,) = _YES_OR_NO.finditer(question.sql)
    guess = rng.choice(("done", "true", "ok", "not yet", "open", "all"))
    wrong = question.sql[: marked.start()] + guess + question.sql[marked.end() :]
    query = ask(rng, question.queries, f=table_mention(rng, table.path), **question.slots)
    first = Move("query_table", {"path": table.path, "sql": wrong})
    moves = [first, question_move(table, question)]
    return Ask("troubles", query, moves, lambda seen: reported(rng, table, question, seen[-1]), untaught=0)


def _shorter(scene: Scene) -> Ask:
    """A search that finds nothing until a word is left out."""
    rng = scene.rng
    while True:
        text = add_text(scene)
        keyed = [fact for fact in text.facts if fact.key and scene.lines_with(fact.key)]
        if keyed:
            break
    fact = rng.choice(keyed)
    odd = rng.choice(("secret", "former", "tentative", "confidential", "preliminary", "borrowed", "unofficial"))
    long = f"{odd} {fact.key}"
    query = ask(rng, lines_of("files", "search")["which"], x=long)

    def close(seen: Sequence[str]) -> str:
        return f"Nothing mentions {long}, but {fact.key} is in {joined(files_hit(seen[-1]))}."

    return Ask("troubles", query, [searching(long), searching(fact.key)], close)
