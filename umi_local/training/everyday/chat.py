"""Requests without a tool: small talk, what is well known, and what cannot be done."""

from __future__ import annotations

from functools import cache
from random import Random

from pydantic import TypeAdapter

from umi_local.training.everyday.dates import current_time
from umi_local.training.everyday.files import list_files, read_file, search_files
from umi_local.training.everyday.notes import add_note, search_notes, with_values, write_file
from umi_local.training.everyday.phrasing import ask, chosen, data, say
from umi_local.training.everyday.scene import Ask, Scene
from umi_local.training.everyday.tables import query_table

_TABLES = TypeAdapter(dict[str, dict[str, list[str]]])
# What is missing where a tool is not listed.
_ABSENT = (
    (current_time, {"current_time", "run_python"}, "a look at the clock"),
    (read_file, {"read_file", "search_files", "query_table"}, "a tool that reads files"),
    (query_table, {"query_table", "read_file", "search_files"}, "a tool that reads tables"),
    (list_files, {"list_files", "search_files"}, "a tool that lists folders"),
    (search_files, {"search_files", "read_file", "list_files"}, "a search in files"),
    (add_note, {"add_note", "write_file"}, "a tool that keeps notes"),
    (search_notes, {"search_notes"}, "access to the notes"),
    (write_file, {"write_file", "run_python"}, "a tool that writes files"),
)
# Of the requests that cannot be done. More of them taught a planner to refuse what sounds like them, with the tool in
# its list (run 14 of TRAINING.md).
_WITHOUT_THEIR_TOOL = 0.15


@cache
def tables(name: str) -> dict[str, dict[str, list[str]]]:
    """A data file of requests by situation."""
    return _TABLES.validate_python(data(name))


def chat(scene: Scene) -> Ask:
    """Something to be answered at once."""
    rng = scene.rng
    if rng.random() < 0.52:
        situation = tables("chat")[rng.choice(list(tables("chat")))]
        query = _typed(rng, situation["queries"])
        return _direct("chat", query, say(rng, situation["answers"]))
    topics = [name for name in tables("knowledge") if name != "impossible"]
    topic = rng.choices(topics, (5, 2, 2, 2, 1))[0]
    queries, answer = rng.choice(tables("knowledge")[topic]["pairs"]).split(" | ")
    return _direct("chat", _typed(rng, queries.split(" / ")), answer)


def _typed(rng: Random, templates: list[str]) -> str:
    """A request with its values, in someone's manner of writing."""
    return ask(rng, [with_values(rng, chosen(rng, rng.choice(templates)))])


def _direct(kind: str, query: str, answer: str, absent: frozenset[str] = frozenset()) -> Ask:
    return Ask(kind, query, [], lambda _: answer, absent)


def impossible(scene: Scene) -> Ask:
    """What no listed tool can do: told honestly, or given up."""
    rng = scene.rng
    words = tables("knowledge")["impossible"]
    if rng.random() < _WITHOUT_THEIR_TOOL:
        family, absent, missing = rng.choice(_ABSENT)
        query = family(scene).query
        answer = say(rng, words["absent_answers"], x=missing)
        return _direct("impossible", query, answer, frozenset(absent))
    hopeless = [*words["pairs"], *tables("hopeless")["impossible"]["pairs"]]
    queries, what = rng.choice(hopeless).split(" | ")
    answer = say(rng, words["answers"], y=what)
    return _direct("impossible", _typed(rng, queries.split(" / ")), answer)
