"""Text files with known content: facts in lines, and the questions that they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from pydantic import BaseModel, ConfigDict, TypeAdapter

from umi_local.training.everyday.phrasing import data, upper_first
from umi_local.training.everyday.scene import Scene
from umi_local.training.everyday.values import day, person, pick, value

_KIND = re.compile(r"\{([^{}]+)\}")
_UNIT_AFTER = re.compile(r"((?:int|dec) \S+ \S+) (.+)")
_LINE_FORMS = (
    "{K}: {v}",
    "- {K}: {v}",
    "{K} - {v}",
    "* {k}: {v}",
    "{K}: {v}.",
    "- The {k} is {v}.",
    "{K} = {v}",
    "The {k} is {v}.",
)
# Kinds of which a line may name two, and what else may stand behind a value.
_TWICE = frozenset(("person", "date", "time", "code", "phone", "shop", "address", "weekday", "email"))
_REMARKS = (
    ", ask {person}",
    " (checked on {date})",
    ", from {month} on",
    " ({first} has a copy)",
    ", {weekday} and {weekday} only",
    " (new since {date})",
    ", phone {phone}",
    "; {first} and {first} know it, too",
)


class Theme(BaseModel):
    """What a kind of file is called and what may stand in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: str
    keys: list[str]
    says: list[str]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a file says. `key` is empty where it is said in a sentence of its own.

    `rest` is what the line adds to the value; an answer leaves none of it out.
    """

    line: str
    question: str
    answer: str
    value: str
    key: str = ""
    rest: str = ""

    @property
    def told(self) -> str:
        """The value with all that the line adds to it."""
        return self.value + self.rest


@dataclass(frozen=True, slots=True)
class Text:
    """A file that was written, and what it says."""

    path: str
    facts: tuple[Fact, ...]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


@cache
def themes() -> Mapping[str, Theme]:
    """The themes of the data file, by name."""
    return TypeAdapter(dict[str, Theme]).validate_python(data("themes"))


def add_text(scene: Scene, theme: str = "", size: int = 0, also: Sequence[Fact] = ()) -> Text:
    """A new file in the scene on some theme, of at most `size` facts and those of `also`, among free lines."""
    text, content = drafted(scene, theme, size, also)
    scene.add(text.path, content)
    return text


def drafted(scene: Scene, theme: str = "", size: int = 0, also: Sequence[Fact] = ()) -> tuple[Text, str]:
    """A text as `add_text` makes it and its content, which is not written anywhere."""
    rng = scene.rng
    while True:
        chosen = themes()[theme or rng.choice(list(themes()))]
        path = _path(rng, rng.choice(chosen.files.split(", ")))
        if scene.stem_is_free(path):
            break
    form = rng.choice(_LINE_FORMS)
    facts = [_keyed(rng, entry, form) for entry in chosen.keys] + [said(rng, entry) for entry in chosen.says]
    facts = [*rng.sample(facts, min(len(facts), size or rng.randint(2, 6))), *also]
    head = [_title(rng, path)] if rng.random() < 0.75 else []
    extra = [_filler(rng) for _ in range(rng.randint(1, 6))] if len(facts) < 4 or rng.random() < 0.35 else []
    body = [fact.line for fact in facts] + extra
    rng.shuffle(body)
    content = "\n".join([*head, *([""] if head and rng.random() < 0.3 else []), *body]) + "\n"
    return Text(path, tuple(facts)), content


def _keyed(rng: Random, entry: str, form: str) -> Fact:
    key, _, kind = entry.partition(" = ")
    unit = _UNIT_AFTER.fullmatch(kind)
    shown = f"{value(rng, unit[1])} {unit[2]}" if unit else value(rng, kind)
    rest = _rest(rng, kind, shown) if rng.random() < 0.25 else ""
    line = form.format(K=upper_first(key), k=key, v=shown + rest)
    article = "" if "'s " in key else "the "
    return Fact(line, f"what is {article}{key}", f"{upper_first(article + key)} is {shown}{rest}.", shown, key, rest)


def _rest(rng: Random, kind: str, shown: str) -> str:
    """What people put behind a value: another one of its kind, or a remark."""
    another = value(rng, kind) if kind in _TWICE else shown
    if another != shown and rng.random() < 0.5:
        return f" {rng.choice(('and', 'or'))} {another}"
    remark = rng.choice(_REMARKS)
    return _KIND.sub(lambda found: value(rng, found[1]), remark)


def said(rng: Random, entry: str) -> Fact:
    """A fact in a sentence. A kind that recurs in the question is the same value; {1} is the line's first one."""
    line, question, answer = (part.strip() for part in entry.split("|"))
    kinds = _KIND.findall(line)
    drawn = [value(rng, kind) for kind in kinds]
    by_kind = dict(zip(kinds, drawn, strict=True))

    def fill(text: str) -> str:
        return _KIND.sub(lambda found: drawn[int(found[1]) - 1] if found[1].isdigit() else by_kind[found[1]], text)

    queue = iter(drawn)
    told = _KIND.sub(lambda _: next(queue), line)
    asked = set(_KIND.findall(question))
    answered = [drawn[int(number) - 1] for number in _KIND.findall(answer) if number.isdigit()]
    free = [shown for shown in answered if shown not in {by_kind[kind] for kind in asked}] or answered or drawn
    return Fact(told, fill(question), upper_first(fill(answer)), free[0])


def _path(rng: Random, pattern: str) -> str:
    name = _KIND.sub(lambda found: re.sub(r"[^\w]+", rng.choice("-_"), pick_any(rng, found[1])).lower(), pattern)
    roll = rng.random()
    if roll < 0.15 and "/" not in name:
        return f"{pick(rng, 'folder')}/{name}"
    if roll < 0.3:
        stem, dot, end = name.rpartition(".")
        return f"{stem}{rng.choice(('_2024', '-2025', '_new', '-draft', '_final', '2', '-notes', '_v2'))}{dot}{end}"
    return name


def pick_any(rng: Random, kind: str) -> str:
    """A word for a file's name."""
    return value(rng, kind).strip(".'")


def _title(rng: Random, path: str) -> str:
    stem = path.rpartition("/")[2].rpartition(".")[0].replace("_", " ").replace("-", " ")
    return rng.choice(("# {}", "# {}", "{}", "{}:", "== {} ==", "{} (notes)")).format(upper_first(stem))


def _filler(rng: Random) -> str:
    """A line that no question is about, but that could be mistaken for an answer."""
    when = day(rng)
    return rng.choice(
        (
            f"Last changed on {when.isoformat()}.",
            f"Ask {person(rng)} if anything is unclear.",
            f"(copied from an old page of {pick(rng, 'first')})",
            f"To do: {pick(rng, 'task')}.",
            f"See also {pick(rng, 'part')}.",
            "Still to be checked.",
            f"{pick(rng, 'first')} thinks this can wait.",
            f"There was {pick(rng, 'weather')} again.",
            "---",
            f"Remember the {pick(rng, 'object')}.",
            f"Nothing new about {pick(rng, 'topic')}.",
        )
    )
