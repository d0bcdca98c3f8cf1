"""Requests that keep something, in notes or in files, and requests for a program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from random import Random

from umi_local.training.everyday.files import joined
from umi_local.training.everyday.phrasing import ask, chosen, lines_of, say, upper_first
from umi_local.training.everyday.programs import program
from umi_local.training.everyday.scene import Ask, Closing, Move, Scene
from umi_local.training.everyday.values import day, value, words

_KIND = re.compile(r"\{([^{}]+)\}")
_APPROVED = 0.66  # of the requests that need approval


def with_values(rng: Random, template: str) -> str:
    """A template whose slots are kinds of values, with values."""
    return _KIND.sub(lambda found: value(rng, found[1]), template)


def add_note(scene: Scene) -> Ask:
    """Something to remember."""
    rng, lines = scene.rng, lines_of("notes", "add")
    fact = with_values(rng, rng.choice(lines["facts"]))
    query = ask(rng, lines["queries"], x=fact, X=upper_first(fact))
    return Ask("add_note", query, [noting(fact)], noted(rng, fact), facts={"note": fact})


def noting(fact: str) -> Move:
    """The step that saves a note. A note stands by itself, so it begins with a capital."""
    return Move("add_note", {"text": upper_first(fact)})


def noted(rng: Random, fact: str) -> Closing:
    """What is said once a note is saved."""
    return lambda _: say(rng, lines_of("notes", "add")["answers"], x=fact)


def prefill_notes(scene: Scene) -> None:
    """Notes from before, of the days before the scene."""
    rng, lines = scene.rng, lines_of("notes", "add")
    for _ in range(rng.randint(0, 6)):
        append_note(scene, with_values(rng, rng.choice(lines["facts"])))


def append_note(scene: Scene, fact: str) -> date:
    """One note from before; gives back its day."""
    when = min(day(scene.rng, 2021, 2024), scene.now.date())
    with scene.notes.open("a", encoding="utf-8") as file:
        file.write(f"- {when.isoformat()}: {upper_first(fact)}\n")
    return when


def search_notes(scene: Scene) -> Ask:
    """Something that was noted before, or was not."""
    rng, lines = scene.rng, lines_of("notes", "search")
    if rng.random() < 0.12:
        append_note(scene, with_values(rng, rng.choice(lines_of("notes", "add")["facts"])))
        return Ask("search_notes", ask(rng, lines["latest"]), [_recalling("")], _found(rng, ""))
    if rng.random() < 0.16:
        term = value(rng, rng.choice(("object", "last", "job", "book", "course")))
    else:
        template = rng.choice([fact for fact in lines_of("notes", "add")["facts"] if _TELLING.search(fact)])
        kind = rng.choice(_TELLING.findall(template))
        term = value(rng, kind)
        append_note(scene, with_values(rng, template.replace(f"{{{kind}}}", term, 1)))
        for _ in range(rng.randint(0, 2)):
            append_note(scene, with_values(rng, rng.choice(lines_of("notes", "add")["facts"])))
    shown = f"the {term}" if term in (*words("object"), *words("job")) else term
    query = ask(rng, lines["queries"], k=shown)
    return Ask("search_notes", query, [_recalling(term)], _found(rng, shown))


def note_looked_up(scene: Scene) -> Ask:
    """Something to remember, and then a look at what is noted about it."""
    rng, lines = scene.rng, lines_of("several", "note_search")
    template = rng.choice([fact for fact in lines_of("notes", "add")["facts"] if _TELLING.search(fact)])
    kind = rng.choice(_TELLING.findall(template))
    term = value(rng, kind)
    fact = with_values(rng, template.replace(f"{{{kind}}}", term, 1))
    shown = f"the {term}" if term in (*words("object"), *words("job")) else term
    query = ask(rng, lines["queries"], x=fact, X=upper_first(fact), k=shown)
    found = _found(rng, shown)
    return Ask(
        "several", query, [noting(fact), _recalling(term)], lambda seen: say(rng, lines["answers"], a=found(seen))
    )


_TELLING = re.compile(r"\{(person|object|first|job|shop|course|plant|book|pet|instrument|topic|room)\}")


def _recalling(term: str) -> Move:
    return Move("search_notes", {"query": term})


def _found(rng: Random, term: str) -> Closing:
    lines = lines_of("notes", "search")

    def close(seen: Sequence[str]) -> str:
        notes = [line.split(": ", 1) for line in seen[-1].splitlines() if re.match(r"\d{4}-\d\d-\d\d: ", line)]
        if not notes:
            return say(rng, lines["none"], k=term)
        if len(notes) > 1:
            listed = joined([f"{text} ({when})" for when, text in notes[:5]])
            return say(rng, lines["many"], list=listed, n=len(notes))
        when, text = notes[0]
        first = text.split()[0]
        lowered = text[0].lower() + text[1:] if first in ("The", "My", "We", "Order", "Dinner", "Flight") else text
        return say(rng, lines["answers"], d=when, x=lowered)

    return close


def write_file(scene: Scene) -> Ask:
    """A text to be saved as a file, which a person may or may not approve."""
    rng, lines = scene.rng, lines_of("notes", "write")
    path = re.sub(r"[^\w./-]+", "_", with_values(rng, rng.choice(lines["paths"])))
    path = path if rng.random() < 0.3 else path.lower()
    if rng.random() < 0.25:
        items = rng.sample(words(rng.choice(("food", "things", "object"))), rng.randint(2, 5))
        content = "\n".join(items)
        query, shown = ask(rng, lines["list_queries"], x=joined(items), p=path), ", ".join(items)
    else:
        content = shown = with_values(rng, rng.choice(lines["lines"]))
        query = ask(rng, lines["queries"], x=content, p=path)
    scene.allowed = frozenset({"write_file"} if rng.random() < _APPROVED else set())
    move = Move("write_file", {"path": path, "content": content})
    return Ask("write_file", query, [move], written(rng, path, shown))


def written(rng: Random, path: str, shown: str) -> Closing:
    """What is said of a file that was written, or was not since nobody approved it."""
    lines = lines_of("notes", "write")

    def close(seen: Sequence[str]) -> str:
        if not re.match(r"Created|Replaced", seen[-1]):
            return say(rng, lines["denied_answers"], p=path, tool="write_file")
        return say(rng, lines["answers"], p=path, x=shown, done=seen[-1].split()[0].lower())

    return close


def run_python(scene: Scene) -> Ask:
    """Something that only a program can compute, which a person may or may not approve."""
    rng, lines = scene.rng, lines_of("notes", "python")
    query, code = program(rng)
    scene.allowed = frozenset({"run_python"} if rng.random() < _APPROVED else set())

    def close(seen: Sequence[str]) -> str:
        if "needs approval" in seen[-1]:
            return say(rng, lines["denied_answers"])
        return upper_first(say(rng, lines["answers"], v=seen[-1].replace("\n", ", ")))

    return Ask("run_python", ask(rng, ["{q}"], q=chosen(rng, query)), [Move("run_python", {"code": code})], close)
