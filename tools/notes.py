"""Notes that outlive a conversation: one line each, with the day, in a Markdown file that people can edit."""

from __future__ import annotations

import os
import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated

from umi_local.toolbox import Effect, ToolContext, ToolError, tool

from .words import stem, telling_words

MAX_NOTE = 2_000  # characters
MAX_FOUND = 10
_DATE = r"(?<!\d)\d{4}-\d\d(?:-\d\d)?(?!\d)"
_DAY = re.compile(r"^\d{4}-\d\d-\d\d:")  # when a note was made


@tool(effect=Effect.WRITES)
def add_note(context: ToolContext, text: Annotated[str, "what to remember, in full"]) -> str:
    """Save a fact when the user asks to note or remember it."""
    note = " ".join(text.split())
    if not note:
        raise ToolError("There is no text to note.")
    if len(note) > MAX_NOTE:
        raise ToolError(f"The note is too long: at most {MAX_NOTE} characters.")
    try:
        context.notes.parent.mkdir(parents=True, exist_ok=True)
        with context.notes.open("a+b") as file:
            held = file.seek(0, os.SEEK_END)
            file.seek(max(held - 1, 0))
            parted = b"" if file.read(1) in (b"\n", b"") else b"\n"  # not every editor ends the last line
            file.write(parted + f"- {date.today().isoformat()}: {note}\n".encode())
    except (OSError, UnicodeEncodeError) as error:
        raise ToolError(f"The note could not be saved: {getattr(error, 'strerror', None) or error}.") from None
    return f"Noted: {note}"


@tool(effect=Effect.READS)
def search_notes(context: ToolContext, query: Annotated[str, "words to look for; empty for the latest"]) -> str:
    """Look up what the user had noted or asked to remember before."""
    notes = _notes(context.notes)
    if not notes:
        return "There are no notes yet."
    days = re.findall(_DATE, query)
    words = [stem(word) for word in telling_words(re.sub(_DATE, " ", query))]
    if days:
        notes = [note for note in notes if any(day in note for day in days)]
        found = _ranked(notes, words) or notes[::-1]
    else:
        found = _ranked(notes, words) if words else notes[::-1]
    if not found:
        count = "the 1 note" if len(notes) == 1 else f"any of the {len(notes)} notes"
        return f"Nothing about {query.strip()!r} was found in {count}."
    more = [f"... and {len(found) - MAX_FOUND} more notes."] if len(found) > MAX_FOUND else []
    return "\n".join(found[:MAX_FOUND] + more)


def _notes(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ToolError(f"The notes could not be read: {error.strerror}.") from None
    return [line.removeprefix("- ").strip() for line in lines if line.strip() and not line.startswith("#")]


def _ranked(notes: list[str], words: list[str]) -> list[str]:
    """The notes that have at least half as many of the words as the best one; the best first, then the latest."""
    scores: Counter[int] = Counter()
    for at, note in enumerate(notes):
        there = re.findall(r"\w+", _DAY.sub("", note).lower())
        scores[at] = sum(any(_begins(each, word) for each in there) for word in words)
    best = max(scores.values(), default=0)
    kept = [at for at, score in scores.items() if score and 2 * score >= best]
    return [notes[at] for at in sorted(kept, key=lambda at: (-scores[at], -at))]


def _begins(there: str, word: str) -> bool:
    """Whether a note's word is one that is looked for, or begins so; a number is itself alone."""
    return there == word if word.isdecimal() else there.startswith(word)
