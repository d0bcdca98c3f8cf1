"""Requests that find a text first and then do something with what it says."""

from __future__ import annotations

import re

from umi_local.training.everyday.files import listing, mention, reading, searching
from umi_local.training.everyday.notes import noting, written
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.texts import Fact, Text, add_text
from umi_local.training.everyday.values import pick, words


def _keyed(scene: Scene, count: int = 1, folder: str = "") -> tuple[Text, list[Fact]]:
    """A file with that many keyed facts."""
    while True:
        text = add_text(scene)
        found = [fact for fact in text.facts if fact.key and "'" not in fact.key]
        if len(found) >= count and text.path.startswith(folder):
            return text, scene.rng.sample(found, count)


def search_read(scene: Scene) -> Ask:
    """Something in a file of which only another thing is known."""
    rng, lines = scene.rng, lines_of("several", "search_read")
    while True:
        text, (known, fact) = _keyed(scene, 2)
        if len(scene.lines_with(known.value)) == 1 and known.value not in fact.line:
            break
    query = ask(rng, lines["queries"], x=known.value, k=fact.key)
    answer = upper_first(say(rng, lines["answers"], x=known.value, k=fact.key, p=text.path, v=fact.told))
    return Ask("several", query, [searching(known.value), reading(text.path)], lambda _: answer)


def list_read(scene: Scene) -> Ask:
    """Something in a file of which only the folder and the subject are known."""
    rng, lines = scene.rng, lines_of("several", "list_read")
    while True:
        text, (fact,) = _keyed(scene)
        if "/" in text.path:
            break
    folder, _, name = text.path.rpartition("/")
    for other in rng.sample(words("filename"), rng.randint(1, 4)):
        scene.add(f"{folder}/{other}", f"{pick(rng, 'task')}\n")
    about = re.sub(r"[_-]+", " ", name.rpartition(".")[0])
    query = ask(rng, lines["queries"], w=about, d=folder, k=fact.key)
    answer = say(rng, lines["answers"], p=text.path, k=fact.key, v=fact.told)
    return Ask("several", query, [listing(folder), reading(text.path)], lambda _: answer)


def read_note(scene: Scene) -> Ask:
    """Something in a file that is to be noted."""
    rng, lines = scene.rng, lines_of("several", "read_note")
    text, (fact,) = _keyed(scene)
    note = f"the {fact.key} is {fact.told}"
    query = ask(rng, lines["queries"], k=fact.key, f=mention(rng, text.path))
    answer = say(rng, lines["answers"], k=fact.key, v=fact.told, note=note)
    return Ask("several", query, [reading(text.path), noting(note)], lambda _: answer)


def read_write(scene: Scene) -> Ask:
    """Something in a file that is to be written to another."""
    rng, lines = scene.rng, lines_of("several", "read_write")
    text, (fact,) = _keyed(scene)
    path = f"{re.sub(r'[^a-z]+', '_', fact.key.lower())}.{rng.choice(('txt', 'md'))}"
    path = path if scene.stem_is_free(path) else f"copy_of_{path}"
    query = ask(rng, lines["queries"], k=fact.key, f=mention(rng, text.path), p=path)
    scene.allowed = frozenset({"write_file"} if rng.random() < 0.75 else set())
    content = rng.choice((fact.told, f"{upper_first(fact.key)}: {fact.told}"))
    writing = Move("write_file", {"path": path, "content": content})
    return Ask("several", query, [reading(text.path), writing], written(rng, path, content))
