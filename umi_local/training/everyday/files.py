"""Requests about text files and folders: read, list, search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.texts import Fact, Text, add_text, themes
from umi_local.training.everyday.values import pick, words

_SHORT_TEXT = 320  # characters that an answer may repeat


def read_file(scene: Scene) -> Ask:
    """Something that stands in a file of a known name."""
    rng = scene.rng
    roll = rng.random()
    if roll < 0.14:
        return _checklist(scene)
    text = add_text(scene, size=rng.choice((2, 3, 3)) if roll < 0.28 else 0)
    if roll < 0.28:
        return _whole(scene, text)
    if roll < 0.36:
        return _not_there(scene, text)
    return fact_in(rng, text, rng.choice(text.facts))


def fact_in(rng: Random, text: Text, fact: Fact) -> Ask:
    """One fact of a file."""
    lines = lines_of("files", "read")
    named = mention(rng, text.path)
    if fact.key:
        query = ask(rng, lines["key"], k=fact.key, f=named)
    else:
        query = ask(rng, lines["said"], q=fact.question, Q=upper_first(fact.question), f=named)
    answer = told(rng, fact, text.name)
    return Ask("read_file", query, [reading(text.path)], lambda _: answer, facts={"text": text, "fact": fact})


def told(rng: Random, fact: Fact, name: str) -> str:
    """A fact of a file as an answer."""
    lines = lines_of("files", "read")
    if fact.key and "'s " not in fact.key and rng.random() < 0.5:
        return upper_first_word(say(rng, lines["answer_key"], k=fact.key, v=fact.told, n=name), name)
    return say(rng, lines["answer_more"], a=fact.answer, n=name)


def upper_first_word(text: str, name: str) -> str:
    """The text with a capital, unless it begins with a file's name."""
    return text if text.startswith(name) else upper_first(text)


def reading(path: str) -> Move:
    """The step that reads a file."""
    return Move("read_file", {"path": path})


def mention(rng: Random, path: str) -> str:
    """A file as people name it: with its ending, in quotes, or by what it is about."""
    if "/" in path or rng.random() < 0.62:
        return rng.choice((path, path, path, path, f'"{path}"', f"'{path}'", f"the file {path}", f"`{path}`"))
    stem = re.sub(r"[_-]+", " ", path.rpartition(".")[0])
    return rng.choice(
        (
            "the {} file",
            "my {} file",
            "the {} document",
            "my {} text file",
            "the text file {}",
            "my file {}",
            "the {} text",
            "my {} document",
        )
    ).format(stem)


def _whole(scene: Scene, text: Text) -> Ask:
    rng = scene.rng
    short = rng.random() < 0.5
    query = ask(rng, lines_of("files", "read")["short" if short else "whole"], f=mention(rng, text.path))

    def close(seen: Sequence[str]) -> str:
        if not short and len(seen[-1]) < _SHORT_TEXT:
            head = rng.choice((f"{text.name} says", f"Here is {text.name}", "It says", "The file reads"))
            return f"{head}:\n{seen[-1].strip()}"
        return f"{text.name} says: {' '.join(fact.answer for fact in text.facts)}"

    return Ask("read_file", query, [reading(text.path)], close, facts={"text": text})


def _not_there(scene: Scene, text: Text) -> Ask:
    """A question that the file leaves open."""
    rng, lines = scene.rng, lines_of("files", "read")
    key = unmentioned(rng, (scene.root / "workspace" / text.path).read_text(encoding="utf-8"))
    query = ask(rng, lines["key"], k=key, f=mention(rng, text.path))
    answer = say(rng, lines["missing_answer"], k=key, n=text.name)
    return Ask("read_file", query, [reading(text.path)], lambda _: answer)


def unmentioned(rng: Random, content: str) -> str:
    """What some other text tells and this one does not: none of its words occurs in it."""
    keys = [entry.partition(" = ")[0] for theme in themes().values() for entry in theme.keys]
    found = set(re.findall(r"\w+", content.lower()))
    return rng.choice(
        [key for key in keys if len(key.split()) > 1 and "'" not in key and not set(key.lower().split()) & found]
    )


def _checklist(scene: Scene) -> Ask:
    rng, lines = scene.rng, lines_of("files", "read")
    kind, names = rng.choice(
        (
            ("food", "supermarket.md, groceries.txt, market_list.md, to-buy.txt"),
            ("task", "todo.md, tasks.txt, weekend-jobs.md, chores.txt"),
            ("object", "to_repair.md, flea-market.txt, wishlist.md"),
        )
    )
    path = rng.choice(names.split(", "))
    if not scene.stem_is_free(path):
        path = f"{pick(rng, 'first').lower()}_{path}"
    items = rng.sample(words(kind), rng.randint(4, 9))
    ticked = [rng.random() < 0.45 for _ in items]
    ticked[0], ticked[-1] = True, False
    order = list(zip(items, ticked, strict=True))
    rng.shuffle(order)
    yes, no = rng.choice((("- [x] {}", "- [ ] {}"), ("[x] {}", "[ ] {}"), ("{} - done", "{} - open"), ("x {}", "o {}")))
    if yes.startswith("x"):
        yes, no = "- [X] {}", "- [ ] {}"
    scene.add(path, "\n".join((yes if tick else no).format(item) for item, tick in order) + "\n")
    wanted = rng.choice(("open", "open", "done", "count"))
    query = ask(rng, lines[wanted], f=mention(rng, path))
    chosen = [item for item, tick in order if tick == (wanted == "done")]
    shown = str(len(items)) if wanted == "count" else joined(chosen)
    answer = upper_first_word(say(rng, lines[f"{wanted}_answer"], v=shown, n=path), path)
    return Ask("read_file", query, [reading(path)], lambda _: answer)


def list_files(scene: Scene) -> Ask:
    """What lies in the workspace or in a folder of it."""
    rng, lines = scene.rng, lines_of("files", "list")
    folder = "" if rng.random() < 0.3 else add_folder(scene)
    wanted = rng.choice(("sub", "sub", "sub", "count", "largest")) if folder else "top"
    query = ask(rng, lines[wanted], d=folder)

    def close(seen: Sequence[str]) -> str:
        entries = [line.partition(" (")[0] for line in seen[-1].splitlines()]
        found = [entry for entry in entries if not entry.endswith("/")]
        slots: dict[str, object] = {"v": joined(entries), "d": folder, "n": len(found)}
        kind = {"count": "answers_count", "largest": "answers_largest"}.get(wanted, "answers")
        if wanted == "largest":
            slots["v"] = max(seen[-1].splitlines(), key=_size)
        return say(rng, lines[kind], **slots)

    return Ask("list_files", query, [listing(folder)], close, facts={"folder": folder})


def listing(folder: str) -> Move:
    """The step that lists a folder."""
    return Move("list_files", {"path": folder} if folder else {})


def add_folder(scene: Scene) -> str:
    """A new folder with a few files of different sizes."""
    rng = scene.rng
    names = [name for name in words("subfolder") if not (scene.root / "workspace" / name).exists()]
    folder = rng.choice(names)
    for name in rng.sample(words("filename"), rng.randint(2, 7)):
        line = f"{pick(rng, 'task')} / {pick(rng, 'first')}\n"
        scene.add(f"{folder}/{name}", line * rng.randint(1, 40) + "." * rng.randrange(20))
    return folder


def _size(line: str) -> float:
    number, unit = line.rpartition(" (")[2].rstrip(")").split()
    return float(number) * (1000 if unit == "kB" else 1)


def search_files(scene: Scene) -> Ask:
    """Where something is written."""
    rng, lines = scene.rng, lines_of("files", "search")
    text = add_text(scene)
    fact = rng.choice(text.facts)
    roll = rng.random()
    if fact.key and roll < 0.35 and len(scene.lines_with(fact.key)) == 1:
        return _found_fact(rng, text, fact)
    found = text.path
    if roll < 0.85:
        term = rng.choice([fact.key or fact.value, fact.value])
        term = term if len(term) > 3 else fact.key or fact.question.split()[-1]
    else:
        term = rng.choice((pick(rng, "last"), pick(rng, "object"), pick(rng, "city"), pick(rng, "food")))
    query = ask(rng, lines["which"], x=rng.choice((term, term, term, f'"{term}"')))

    def close(seen: Sequence[str]) -> str:
        found = files_hit(seen[-1])
        if not found:
            return upper_first(say(rng, lines["none_answer"], x=term))
        answer = say(rng, lines["answers"], x=term, f=joined(found))
        if len(found) > 1:
            return answer.replace(" mentions ", " mention ").replace(" contains ", " contain ")
        return answer

    return Ask("search_files", query, [searching(term)], close, facts={"path": found})


def searching(term: str) -> Move:
    """The step that looks for a text."""
    return Move("search_files", {"text": term})


def _found_fact(rng: Random, text: Text, fact: Fact) -> Ask:
    query = ask(rng, lines_of("files", "search")["fact"], k=fact.key)
    answer = told(rng, fact, text.path)
    return Ask("search_files", query, [searching(fact.key)], lambda _: answer, facts={"path": text.path})


def files_hit(observation: str) -> list[str]:
    """The files that a search names, in order."""
    hits = re.findall(r"^([^\s:][^:\n]*?)(?::\d+: | \(a file of this name)", observation, re.MULTILINE)
    return list(dict.fromkeys(hits))


def joined(items: Sequence[str]) -> str:
    """A list as a sentence has it."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
