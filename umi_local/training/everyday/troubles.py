"""Requests in which a tool reports an error: recovered from where that is possible, told honestly where it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.dates import amount, spelled
from umi_local.training.everyday.files import add_folder, files_hit, joined, listing, reading, searching
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.tables import (
    add_table,
    question_about,
    question_move,
    reported,
    table_mention,
    table_thoughts,
)
from umi_local.training.everyday.texts import add_text
from umi_local.training.everyday.units import conversion_move, dimensions, measure_pair, measured
from umi_local.training.everyday.values import pick, words


def troubles(scene: Scene) -> Ask:
    """A request that does not go smoothly."""
    kinds = [_no_unit, _zero, _no_date, _no_place, _a_folder, _no_folder, _shorter]
    kinds += [_wrong_name, _missing, _wrong_column] * 2  # what people meet most often
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

    def retry(_: Sequence[str]) -> Move:
        thought = say(rng, lines["retry"], p=wrong, r=text.path)
        return Move(thought, "read_file", {"path": text.path})

    def close(_: Sequence[str]) -> tuple[str, str]:
        answer = say(rng, lines["answers"], p=wrong, r=text.path, a=fact.answer)
        return say(rng, reads["final"], v=fact.value, p=text.path), answer

    return Ask("troubles", query, [reading(rng, wrong, fact.key), retry], close)


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
        move = reading(rng, path)
    else:
        path, column = (
            f"{stem}.{rng.choice(('csv', 'csv', 'json'))}",
            rng.choice(("price", "amount", "score", "cost", "hours")),
        )
        query = ask(rng, lines["table"], p=path, c=column)
        verb, sql = "sum", f"SELECT sum({column}) FROM data"
        for word, function in (("average", "avg"), ("rows", "count"), ("highest", "max"), ("smallest", "min")):
            if word in query.lower():
                verb = {
                    "avg": "average",
                    "count": "count the rows with",
                    "max": "find the highest",
                    "min": "find the lowest",
                }[function]
                sql = "SELECT count(*) FROM data" if function == "count" else f"SELECT {function}({column}) FROM data"
        need = "count the rows" if "count(" in sql else f"{verb} {column}"
        thought = say(rng, table_thoughts(".json"), need=need, p=path)
        move = Move(thought, "query_table", {"path": path, "sql": sql})

    def close(_: Sequence[str]) -> tuple[str, str]:
        return say(rng, lines["final"], p=path), say(rng, lines["answers"], p=path)

    return Ask("troubles", query, [move], close)


def _no_unit(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "unit")
    one, other = rng.sample(list(dimensions()), 2)
    value, unknown = measured(rng, one), rng.random() < 0.5
    source = rng.choice(lines["units"]) if unknown else measure_pair(rng, one)[0]
    target = measure_pair(rng, other)[0]
    if {"pressure", "duration", "power"} & {one, other} and not unknown:
        source, target = "kilograms", "miles"
    query = ask(rng, lines_of("units")["queries"], v=value, s=source, t=target, first=pick(rng, "first"))

    def close(_: Sequence[str]) -> tuple[str, str]:
        slots = {"s": source, "t": target}
        answer = say(rng, lines["unknown" if unknown else "apart"], **slots)
        return say(rng, lines["final"], **slots), upper_first(answer)

    return Ask("troubles", query, [conversion_move(rng, value, source, target)], close)


def _zero(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "zero")
    a, b = rng.randint(2, 900), rng.randint(2, 90)
    query = ask(rng, lines["queries"], a=a, b=b)
    expression = f"{a} / ({b} - {b})" if "-" in query else f"{a} / 0"
    move = sum_move(rng, f"divide {a} as asked", expression)
    return Ask("troubles", query, [move], lambda _: (say(rng, lines["final"]), say(rng, lines["answers"])))


def _no_date(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "date")
    year = rng.randint(2021, 2028)
    month, last = rng.choice(((2, 30), (2, 31), (4, 31), (6, 31), (9, 31), (11, 31), (13, 5), (2, 30)))
    wrong = f"{year}-{month:02d}-{last:02d}"
    if rng.random() < 0.5:
        right = f"{year}-12-{rng.randint(1, 28):02d}"
        query = ask(rng, lines["difference"], a=wrong, b=right)
        thought = say(rng, lines_of("dates", "difference")["thoughts"], x=wrong, y=right)
        move = Move(thought, "date_difference", {"start": wrong, "end": right})
    else:
        count, unit = amount(rng)
        shown = spelled(rng, count, unit)
        query = ask(rng, lines["add"], a=wrong, n=shown)
        slots = {"n": f"{count} {unit if count > 1 else unit[:-1]}", "x": wrong, "way": "after", "dir": "forward"}
        move = Move(
            say(rng, lines_of("dates", "add")["thoughts"], **slots), "add_to_date", {"date": wrong, unit: count}
        )
    return Ask(
        "troubles", query, [move], lambda _: (say(rng, lines["final"], a=wrong), say(rng, lines["answers"], a=wrong))
    )


def _no_place(scene: Scene) -> Ask:
    rng, lines, clock = scene.rng, lines_of("troubles", "place"), lines_of("dates", "clock")
    place = rng.choice(lines["places"])
    query = ask(rng, clock["city"], z=place, first=pick(rng, "first"))
    move = Move(say(rng, clock["city_thoughts"], z=place), "current_time", {"timezone": place})
    return Ask(
        "troubles", query, [move], lambda _: (say(rng, lines["final"], z=place), say(rng, lines["answers"], z=place))
    )


def _a_folder(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "folder")
    folder = add_folder(scene)

    def retry(_: Sequence[str]) -> Move:
        return Move(say(rng, lines["retry"], d=folder), "list_files", {"path": folder})

    def close(seen: Sequence[str]) -> tuple[str, str]:
        names = joined([line.partition(" (")[0] for line in seen[-1].splitlines()])
        final = say(rng, lines_of("files", "list")["final"], v=f"those in {folder}")
        return final, say(rng, lines["answers"], d=folder, v=names)

    return Ask("troubles", ask(rng, lines["queries"], d=folder), [reading(rng, folder), retry], close)


def _no_folder(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("troubles", "folder")
    folder = rng.choice(words("ghost")).replace("_", "-")
    query = ask(rng, lines_of("files", "list")["sub"], d=folder)
    final, answer = say(rng, lines["no_final"], d=folder), say(rng, lines["no_folder"], d=folder)
    return Ask("troubles", query, [listing(rng, folder)], lambda _: (final, answer))


def _wrong_column(scene: Scene) -> Ask:
    """A table whose columns are not known beforehand, asked about in other words than its own."""
    rng, lines = scene.rng, lines_of("troubles", "column")
    called = dict(entry.split() for entry in lines["called"])
    while True:
        table = add_table(scene, kind="json")
        question = (
            question_about(rng, table, rng.choice(("sum", "avg", "most", "least", "sum"))) if table.numbers else None
        )
        if question and question.slots["c"] in called and called[question.slots["c"]] not in table.columns:
            break
    column = question.slots["c"]
    wrong = called[column]
    asked = {**question.slots, "c": wrong}
    query = ask(rng, lines_of("tables", question.kind)["queries"], f=table_mention(rng, table.path), **asked)
    right = question_move(rng, table, question)
    first = Move(
        re.sub(rf"\b{column}\b", wrong, right.thought),
        "query_table",
        {"path": table.path, "sql": re.sub(rf"\b{column}\b", wrong, question.sql)},
    )

    def retry(_: Sequence[str]) -> Move:
        return Move(say(rng, lines["retry"], w=wrong, c=column, p=table.path), "query_table", dict(right.arguments))

    return Ask("troubles", query, [first, retry], lambda seen: reported(rng, table, question, seen[-1]))


def _shorter(scene: Scene) -> Ask:
    """A search that finds nothing until a word is left out."""
    rng, lines, search = scene.rng, lines_of("troubles", "search"), lines_of("files", "search")
    while True:
        text = add_text(scene)
        keyed = [fact for fact in text.facts if fact.key and scene.lines_with(fact.key)]
        if keyed:
            break
    fact = rng.choice(keyed)
    odd = rng.choice(("secret", "former", "tentative", "confidential", "preliminary", "borrowed", "unofficial"))
    long = f"{odd} {fact.key}"
    query = ask(rng, search["which"], x=long)

    def retry(_: Sequence[str]) -> Move:
        return Move(say(rng, lines["retry"], x=long, y=fact.key), "search_files", {"text": fact.key})

    def close(seen: Sequence[str]) -> tuple[str, str]:
        found = joined(files_hit(seen[-1]))
        answer = f"Nothing mentions {long}, but {fact.key} is in {found}."
        return say(rng, search["final"], x=fact.key, f=found), answer

    return Ask("troubles", query, [searching(rng, long), retry], close)
