"""Sentences from templates: data files hold them, `[a|b]` stands for a choice and `{name}` for a value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

from pydantic import TypeAdapter

Lines = Mapping[str, list[str]]

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_LINES = TypeAdapter(dict[str, list[str]])


def data(name: str) -> Mapping[str, Any]:
    """A data file of this package as TOML gives it; whoever uses it says what form it must have."""
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def lines_of(name: str, table: str) -> Lines:
    """The templates of one table of a data file that has other tables, too.

    Raises:
        ValidationError: it holds something else.
    """
    return _LINES.validate_python(data(name)[table])


@cache
def lines(name: str) -> Lines:
    """A data file of templates by situation.

    Raises:
        ValidationError: it holds something else.
    """
    return _LINES.validate_python(data(name))


def say(rng: Random, templates: Sequence[str], /, **slots: object) -> str:
    """One of the templates, with its choices made and its slots filled."""
    return filled(chosen(rng, rng.choice(templates)), slots)


def chosen(rng: Random, template: str) -> str:
    """The template with one way taken at each `[a|b]`, the inner ones first."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), template)
    return re.sub(r" +([,.?!])", r"\1", re.sub(r" {2,}", " ", template)).strip()


def filled(template: str, slots: Mapping[str, object]) -> str:
    """The template with its slots filled, in one pass: values may hold braces."""
    return _SLOT.sub(lambda found: str(slots[found[1]]), template)


def upper_first(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


def ask(rng: Random, templates: Sequence[str], /, **slots: object) -> str:
    """A request in someone's manner of writing: formal, hurried, long-winded, with a slip of the finger.

    Only the template's own words are changed: values stay as they are, since tools must find them.
    """
    text = upper_first(chosen(rng, rng.choice(templates)))
    text = _decorated(rng, text)
    if rng.random() < 0.04:
        text = _mistyped(rng, text)
    if rng.random() < 0.22:
        text = "".join(part if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\{\w+\})", text)))
        text = re.sub(r"\bi\b", "I", text) if rng.random() < 0.4 else text
    if rng.random() < 0.15:
        text = text.rstrip(".?!")
    return filled(text, slots)


def _decorated(rng: Random, text: str) -> str:
    manners = lines("manners")
    roll = rng.random()
    if roll < 0.10:
        return f"{chosen(rng, rng.choice(manners['contexts']))} {text}"
    if roll < 0.22:
        opening = chosen(rng, rng.choice(manners["openings"]))
        return f"{opening} {text if opening[-1] in '.!?' else _lower_first(text)}"
    if roll < 0.32:
        return f"{text} {chosen(rng, rng.choice(manners['closings']))}"
    if roll < 0.37 and text.endswith("?"):
        return f"{text[:-1]}, please?"
    if roll < 0.40 and text.endswith("."):
        return f"{text[:-1]}, please."
    return text


def _lower_first(text: str) -> str:
    return text if re.match(r"I\b|[A-Z]{2}|\{", text) else text[:1].lower() + text[1:]


def _mistyped(rng: Random, text: str) -> str:
    words = list(re.finditer(r"(?<![\w{])[a-z]{5,}(?![\w}])", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return rng.choice((swapped, text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:]))
