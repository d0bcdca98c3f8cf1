"""Requests about tables, answered by SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from umi_local.training.everyday.asked import asked_of
from umi_local.training.everyday.columns import said
from umi_local.training.everyday.files import joined, upper_first_word
from umi_local.training.everyday.phrasing import ask, lines_of, say
from umi_local.training.everyday.questions import MAKERS
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.table_files import Question, Table, add_table

_IN_EVERYDAY_WORDS = 0.55  # of the questions


def query_table(scene: Scene) -> Ask:
    """A question about a table."""
    rng = scene.rng
    kind = "json" if rng.random() < 0.14 else "csv"
    table = add_table(scene, kind=kind)
    asked = asked_of(rng, table) if rng.random() < _IN_EVERYDAY_WORDS else None
    question = asked or question_about(rng, table)
    named = table_mention(rng, table.path)
    query = ask(rng, question.queries, f=named, **question.slots)
    moves = [question_move(table, question)]
    if kind == "json":  # of which nobody has told the columns
        moves.insert(0, Move("query_table", {"path": table.path, "sql": "DESCRIBE data"}))

    def close(seen: Sequence[str]) -> str:
        return reported(rng, table, question, seen[-1])

    return Ask("query_table", query, moves, close, facts={"table": table, "question": question})


def question_about(rng: Random, table: Table, kind: str = "") -> Question:
    """A question that the table can answer, of some kind or of any."""
    possible = [
        name
        for name, (numbers, categories, _) in MAKERS.items()
        if (table.numbers or not numbers) and (table.categories or not categories)
    ]
    question = MAKERS[kind or rng.choice(possible)][2](rng, table)
    named = {slot: said(rng, question.slots[slot]) for slot in ("c", "d", "k", "l") if slot in question.slots}
    return replace(question, slots={**question.slots, **named}, column=question.slots.get("c", ""))


def question_move(table: Table, question: Question) -> Move:
    """The step that asks it in SQL."""
    return Move("query_table", {"path": table.path, "sql": question.sql})


def reported(rng: Random, table: Table, question: Question, observation: str) -> str:
    """The answer of what the table gave back."""
    rows = [line.split(" | ") for line in observation.splitlines()[1:]]
    if not rows or rows[0][-1] == "NULL":
        return say(rng, lines_of("tables", "none")["answers"], f=table.path)
    listed = joined([f"{row[0]} ({row[1]})" if len(row) > 1 else row[0] for row in rows])
    slots = {**question.slots, "list": listed, "x": question.slots.get("x", rows[0][0]), "v": rows[0][-1]}
    if question.kind in ("most", "least"):
        row = dict(zip(observation.splitlines()[0].split(" | "), rows[0], strict=True))
        slots |= {"x": row[table.label], "v": row[question.column]}
    elif question.kind == "by_most":
        slots["x"] = rows[0][0]
    answer = say(rng, question.answers, f=table.path, **slots)
    answer = re.sub(r"\ba (?=[aeiou])", "an ", answer)
    if len(rows) == 1 and rows[0][-1] == "1":
        answer = answer.replace(f"1 {table.rows} have ", f"1 {table.row} has ").replace("There are 1", "There is 1")
        answer = answer.replace(f"1 {table.rows}", f"1 {table.row}")
    return upper_first_word(answer, table.path)


def table_mention(rng: Random, path: str) -> str:
    """A table as people name it."""
    if "/" in path or rng.random() < 0.6:
        return rng.choice((path, path, path, f"the table {path}", f'"{path}"', f"`{path}`"))
    stem = path.rpartition(".")[0].replace("_", " ").replace("-", " ")
    return rng.choice(
        (
            "the {} table",
            "my {} table",
            "my {} spreadsheet",
            "the {} file",
            "my {} list",
            "the {} data",
            "the {} sheet",
            "{}",
        )
    ).format(stem)
