"""Notes: written once, found by their words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from umi_local.toolbox import Tool, ToolContext, ToolError, Workspace
from umi_local.tools.notes import add_note, search_notes


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext(Workspace(tmp_path / "workspace"), tmp_path / "deep" / "notes.md")


def call(tool: Tool, context: ToolContext, **arguments: object) -> str:
    text: str = tool.call(context, tool.validate(arguments))
    return text


def noted(context: ToolContext, *texts: str) -> None:
    for text in texts:
        call(add_note, context, text=text)


TODAY = date.today().isoformat()


def test_a_note_is_a_dated_line_that_a_person_can_edit(context: ToolContext) -> None:
    assert call(add_note, context, text="  The bike key\nis in the shed ") == "Noted: The bike key is in the shed"
    assert context.notes.read_text(encoding="utf-8") == f"- {TODAY}: The bike key is in the shed\n"


def test_notes_are_found_by_words_in_any_case_and_number(context: ToolContext) -> None:
    noted(context, "The bike key is in the shed", "Milk is in the fridge")
    assert call(search_notes, context, query="Where are my KEYS?") == f"{TODAY}: The bike key is in the shed"


def test_the_note_with_most_words_comes_first_and_of_equals_the_latest(context: ToolContext) -> None:
    noted(context, "bike shop opens at 9", "the bike key is in the shed", "bike tour on Sunday")
    lines = [line.partition(": ")[2] for line in call(search_notes, context, query="bike key").splitlines()]
    assert lines == ["the bike key is in the shed", "bike tour on Sunday", "bike shop opens at 9"]


def test_a_word_is_not_found_inside_another(context: ToolContext) -> None:
    noted(context, "the cart is full")
    assert call(search_notes, context, query="art") == "Nothing about 'art' was found in the 1 note."


def test_nothing_found_is_said_with_the_number_of_notes(context: ToolContext) -> None:
    noted(context, "a", "b")
    assert call(search_notes, context, query="zebra") == "Nothing about 'zebra' was found in any of the 2 notes."


def test_an_empty_query_gives_the_latest(context: ToolContext) -> None:
    noted(context, *(f"number {n}" for n in range(12)))
    for query in ("", "all notes", "everything", "my latest notes"):
        lines = call(search_notes, context, query=query).splitlines()
        assert len(lines) == 11
        assert lines[0].endswith("number 11")
        assert lines[-1] == "... and 2 more notes."


def test_a_plural_finds_its_singular_and_the_other_way_round(context: ToolContext) -> None:
    noted(context, "strawberries in the cellar", "one key under the pot")
    assert "strawberries" in call(search_notes, context, query="strawberry")
    assert "one key" in call(search_notes, context, query="keys")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("boxes", "The box is in the attic"),
        ("buses", "The bus leaves at 8"),
        ("room 20", "Room 20 has the projector"),
        ("dishes", "The dish is Anna's"),
    ],
)
def test_endings_and_numbers_are_what_they_are_in_english(context: ToolContext, query: str, found: str) -> None:
    noted(context, "The box is in the attic", "The bus leaves at 8", "Room 20 has the projector", "The dish is Anna's")
    assert call(search_notes, context, query=query) == f"{TODAY}: {found}"


def test_notes_are_found_by_their_day_where_one_is_written(context: ToolContext) -> None:
    context.notes.parent.mkdir()
    context.notes.write_text("- 2026-03-02: Paint the fence\n- 2026-04-02: Call Anna\n", encoding="utf-8")
    noted(context, "Dentist on 2026-04-02")
    assert call(search_notes, context, query="2026-04-02 dentist") == f"{TODAY}: Dentist on 2026-04-02"
    assert call(search_notes, context, query="notes of 2026-03") == "2026-03-02: Paint the fence"
    assert call(search_notes, context, query="notes of 2025-03-02").startswith("Nothing about")


def test_the_digits_of_a_day_and_the_ends_of_words_are_nothing_to_look_for(context: ToolContext) -> None:
    context.notes.parent.mkdir()
    context.notes.write_text("- 2026-11-30: Buy milk\n- 2026-11-30: Dentist at 30 Main Street\n", encoding="utf-8")
    both = "2026-11-30: Dentist at 30 Main Street\n2026-11-30: Buy milk"
    assert call(search_notes, context, query="notes from 2026-11-30") == both
    for query in ("Anna's number", "Anna’s number", "I don't know Anna"):
        assert call(search_notes, context, query=query).startswith("Nothing about")
    assert call(search_notes, context, query="the milk's price") == "2026-11-30: Buy milk"
    assert call(search_notes, context, query="order 2026-1130").startswith("Nothing about")


def test_a_note_behind_a_last_line_without_an_end_is_a_line_of_its_own(context: ToolContext) -> None:
    context.notes.parent.mkdir()
    context.notes.write_text("- 2026-03-02: The code is 1234", encoding="utf-8")
    noted(context, "Anna's birthday is in May")
    assert len(call(search_notes, context, query="").splitlines()) == 2
    assert "1234\n- " in context.notes.read_text(encoding="utf-8")


def test_many_notes_are_cut_with_a_count_of_the_rest(context: ToolContext) -> None:
    noted(context, *(f"number {n}" for n in range(12)))
    assert call(search_notes, context, query="number").endswith("\n... and 2 more notes.")


def test_without_notes_it_says_so(context: ToolContext) -> None:
    assert call(search_notes, context, query="keys") == "There are no notes yet."


def test_lines_that_a_person_added_are_notes_too(context: ToolContext) -> None:
    noted(context, "a")
    context.notes.write_text("# My notes\n\nwater the plants\n- feed the cat\n", encoding="utf-8")
    assert call(search_notes, context, query="plants cats").splitlines() == ["feed the cat", "water the plants"]


@pytest.mark.parametrize(
    ("text", "part"), [(" \n ", "no text"), ("x" * 2001, "too long"), ("\ud800", "could not be saved")]
)
def test_what_is_no_note_is_refused(context: ToolContext, text: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        call(add_note, context, text=text)


def test_a_place_that_cannot_be_used_is_told_without_its_path(context: ToolContext) -> None:
    context.notes.mkdir(parents=True)
    for tool, argument in ((add_note, "text"), (search_notes, "query")):
        with pytest.raises(ToolError) as raised:
            call(tool, context, **{argument: "x"})
        assert str(context.notes) not in str(raised.value)
