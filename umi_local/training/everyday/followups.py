"""Requests that build on the one before: and in pounds, add 10 % to that, note that down."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date

from umi_local.tools.arithmetic import evaluate, plain_number
from umi_local.training.everyday.calculator import calculator, sum_move
from umi_local.training.everyday.dates import (
    add_to_date,
    amount,
    current_time,
    date_difference,
    difference,
    moved,
    spelled,
)
from umi_local.training.everyday.dates import written as written_date
from umi_local.training.everyday.files import read_file, told
from umi_local.training.everyday.notes import noted, noting, written
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.tables import query_table, question_about, question_move, reported
from umi_local.training.everyday.units import conversion, convert_units, dimensions, measured
from umi_local.training.everyday.values import day, pick
from umi_local.trajectory import Trajectory

Family = Callable[[Scene], Ask]
FollowUp = Callable[[Scene, Ask, Trajectory], "Ask | None"]


def _calculator(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng, lines = scene.rng, lines_of("followups", "calculator")
    result = run.steps[0].observations[0].content.rpartition(" = ")[2].splitlines()[-1]
    if not re.fullmatch(r"\d+(\.\d{1,4})?", result):
        return None
    percent, n = rng.choice((5, 8, 10, 12, 15, 20, 25)), rng.randint(2, 12)
    template = rng.choice(lines["queries"])
    query = ask(rng, [template], p=percent, n=n)
    ways = (
        ("half", "/ 2"),
        ("divide", f"/ {n}"),
        ("plit", f"/ {n}"),
        ("ultiply", f"* {n}"),
        ("off", f"- {percent}%"),
        ("ubtract", f"- {n}"),
        ("% of", ""),
        ("%", f"+ {percent}%"),
    )
    operation = next((way for word, way in ways if word in template), f"+ {n}")
    expression = f"{result} {operation}" if operation else f"{percent}% of {result}"

    def close(seen: Sequence[str]) -> str:
        return say(rng, lines_of("calculator", "any")["answers"], r=seen[-1].rpartition(" = ")[2])

    facts = {"number": plain_number(evaluate(expression))}
    return Ask("calculator", query, [sum_move(expression)], close, facts=facts)


def _convert(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng, lines = scene.rng, lines_of("followups", "convert")
    value, source, target = (str(before.facts[name]) for name in ("value", "source", "target"))
    name, units = _dimension(source, target)
    others = [unit for ways in units for unit in ways[:1] if source not in ways and target not in ways]
    if not others or rng.random() < 0.3:
        value = measured(rng, name)
        return conversion(rng, value, source, target, ask(rng, lines["other"], v=value, s=source))
    target = rng.choice(others)
    return conversion(rng, value, source, target, ask(rng, lines["queries"], t=target))


def _dimension(source: str, target: str) -> tuple[str, list[list[str]]]:
    """What two units measure, and all units for it."""
    for name, dimension in dimensions().items():
        known = {way for ways in dimension.spoken for way in ways}
        if {source, target} <= known:
            return name, dimension.spoken
    raise KeyError(f"{source} and {target}")


def _clock(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    if not before.facts["city"]:
        return None
    rng = scene.rng
    while True:
        request = current_time(scene)
        if (
            request.facts["city"] not in ("", before.facts["city"])
            and request.facts["wanted"] == before.facts["wanted"]
        ):
            query = ask(rng, lines_of("followups", "clock")["queries"], z=request.facts["city"])
            return Ask(request.kind, query, request.moves, request.close, facts=request.facts)


def _difference(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng, (start, end) = scene.rng, (str(before.facts["start"]), str(before.facts["end"]))
    if end == "today":
        return None
    first = scene.now.date() if start == "today" else date.fromisoformat(start)
    last = day(rng, first.year + 1, first.year + 2)
    named = written_date(rng, last)
    query = ask(rng, lines_of("followups", "difference")["queries"], b=named)
    return difference(rng, "queries", query, (start, last.isoformat()), named)


def _add(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng = scene.rng
    unit, count = amount(rng)
    query = ask(rng, lines_of("followups", "add")["queries"], n=spelled(rng, unit, count))
    return moved(rng, str(before.facts["way"]), str(before.facts["start"]), {unit: count}, query)


def _read(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng = scene.rng
    if "fact" not in before.facts:
        return None
    text, fact = before.facts["text"], before.facts["fact"]
    others = [other for other in text.facts if other.key and other != fact and "'" not in other.key]
    if not others:
        return None
    other = rng.choice(others)
    query = ask(rng, lines_of("followups", "read")["queries"], k=other.key)
    return Ask("read_file", query, [], lambda _: told(rng, other, text.name))


def _table(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng = scene.rng
    table = before.facts["table"]
    questions = [question_about(rng, table) for _ in range(8)]
    last = before.facts["question"]
    others = [found for found in questions if (found.kind, found.column) != (last.kind, last.column)]
    if not others:  # of some tables nothing can be asked but how long they are
        return None
    question = others[0]
    named = rng.choice(lines_of("followups", "table")["names"])
    query = ask(rng, question.queries[:4], f=named, **question.slots)
    return Ask(
        "query_table",
        query,
        [question_move(table, question)],
        lambda seen: reported(rng, table, question, seen[-1]),
    )


def _note(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng = scene.rng
    fact = _said(run)
    if not fact:
        return None
    query = ask(rng, lines_of("followups", "note")["queries"])
    return Ask("add_note", query, [noting(fact)], noted(rng, fact), facts={"note": fact})


def _said(run: Trajectory) -> str:
    """What was answered, if it can stand by itself: the observation of a sum, or a full sentence."""
    seen = run.steps[0].observations[0].content if run.steps[0].observations else ""
    if re.fullmatch(r"[^\n]{3,80} = [^\n=]{1,40}", seen):
        return seen
    answer = run.answer.rstrip(".")
    return answer if len(answer.split()) > 4 and not re.match(r"It|That|You|There", answer) else ""


def _write(scene: Scene, before: Ask, run: Trajectory) -> Ask | None:
    rng = scene.rng
    content = _said(run)
    if not content:
        return None
    path = f"{rng.choice(('result', 'answer', 'saved', pick(rng, 'project').lower()))}{rng.randint(1, 99)}.txt"
    query = ask(rng, lines_of("followups", "write")["queries"], p=path)
    scene.allowed = frozenset({"write_file"} if rng.random() < 0.66 else set())
    return Ask(
        "write_file",
        query,
        [Move("write_file", {"path": path, "content": content})],
        written(rng, path, upper_first(content)),
    )


# Of each family: what may come before, and how the request is made of it.
FOLLOW_UPS: Mapping[str, Sequence[tuple[Family, FollowUp]]] = {
    "calculator": ((calculator, _calculator), (query_table, _calculator)),
    "convert_units": ((convert_units, _convert),),
    "current_time": ((current_time, _clock),),
    "date_difference": ((date_difference, _difference),),
    "add_to_date": ((add_to_date, _add),),
    "read_file": ((read_file, _read),),
    "query_table": ((query_table, _table),),
    "add_note": ((calculator, _note), (convert_units, _note), (read_file, _note), (query_table, _note)),
    "write_file": ((calculator, _write), (convert_units, _write), (read_file, _write)),
}
